/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracehouse-confine [--read PATH]... [--write PATH]... [--pipe PATH]... -- COMMAND [ARG]...
 *
 * Runs a command that sees of the file system only what is named, by Landlock: no root needed, no way back, children included.
 * --read: files and folders there may be read and run. --write: also made, changed, removed. A path that is missing is left out.
 * --pipe: a named pipe that holds much for as long as the command runs, because it stays open.
 * Where the kernel can, it opens no TCP connection, reaches no abstract Unix socket and signals no process outside.
 * Exit 125: this kernel has no Landlock; 127: the command cannot be run.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { UNSUPPORTED = 125, CANNOT_RUN = 127, PIPE_BYTES = 1 << 20 };

/* Headers are older than kernels: the layout as of ABI 6, and the bits by number. */
struct ruleset {
	uint64_t fs, net, scoped;
};

#define FS_FILE_READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE)
#define FS_READ (FS_FILE_READ | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_TRUNCATE (1ULL << 14)
#define FS_FILE_WRITE (LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)
#define FS_ALL_OF_ABI_1 ((1ULL << 13) - 1)
#define FS_WRITE (FS_READ | FS_FILE_WRITE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG)
#define NET_TCP 3ULL
#define SCOPED_ALL 3ULL

static uint64_t handled_by(long abi)
{
	uint64_t fs = FS_ALL_OF_ABI_1;

	if (abi >= 2)
		fs |= 1ULL << 13; /* moving files between folders */
	if (abi >= 3)
		fs |= FS_TRUNCATE;
	if (abi >= 5)
		fs |= 1ULL << 15; /* ioctl on devices */
	return fs;
}

/* Large answers go through it: fewer turns back and forth. Not to be had is no harm. */
static void widen(int pipe)
{
	if (pipe >= 0)
		fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES);
}

static int allow(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = rights };
	struct stat about;
	int done;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -1;
	if (fstat(rule.parent_fd, &about) == 0 && !S_ISDIR(about.st_mode))
		rule.allowed_access &= FS_FILE_READ | FS_FILE_WRITE;
	done = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return done;
}

int main(int argc, char **argv)
{
	struct ruleset wanted = { 0 };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	size_t size = sizeof(wanted.fs);
	int ruleset, i;

	if (abi < 1) {
		fprintf(stderr, "tracehouse-confine: this kernel has no Landlock\n");
		return UNSUPPORTED;
	}
	wanted.fs = handled_by(abi);
	if (abi >= 4) {
		wanted.net = NET_TCP;
		size = 2 * sizeof(uint64_t);
	}
	if (abi >= 6) {
		wanted.scoped = SCOPED_ALL;
		size = sizeof(wanted);
	}
	ruleset = syscall(SYS_landlock_create_ruleset, &wanted, size, 0);
	if (ruleset < 0) {
		perror("tracehouse-confine: landlock_create_ruleset");
		return UNSUPPORTED;
	}
	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i += 2) {
		if (i + 1 < argc && strcmp(argv[i], "--pipe") == 0) {
			widen(open(argv[i + 1], O_RDONLY | O_NONBLOCK));
			continue;
		}
		if (i + 1 >= argc || (strcmp(argv[i], "--read") != 0 && strcmp(argv[i], "--write") != 0)) {
			fprintf(stderr, "tracehouse-confine: '%s' is no option: --read PATH, --write PATH, --pipe PATH, then -- COMMAND\n", argv[i]);
			return CANNOT_RUN;
		}
		if (allow(ruleset, argv[i + 1], (argv[i][2] == 'w' ? FS_WRITE : FS_READ) & wanted.fs) != 0) {
			fprintf(stderr, "tracehouse-confine: %s: %s\n", argv[i + 1], strerror(errno));
			return CANNOT_RUN;
		}
	}
	if (i + 1 >= argc) {
		fprintf(stderr, "tracehouse-confine: no command\n");
		return CANNOT_RUN;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
		perror("tracehouse-confine: landlock_restrict_self");
		return UNSUPPORTED;
	}
	close(ruleset);
	widen(STDOUT_FILENO);
	execvp(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return CANNOT_RUN;
}
