/* SPDX-License-Identifier: Apache-2.0 */
/* What is traced: specs of the command line and of control frames become entries of the kernel's maps. */
#include "scope.h"
#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "shared.h"

static struct bpf_object *object;
static volatile struct th_live *live;
static char message[PATH_MAX + 200];

const char *cgroup_mount(void)
{
	static char path[PATH_MAX];
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct mntent *entry;

	path[0] = 0;
	while (mounts && (entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_type, "cgroup2")) {
			snprintf(path, sizeof(path), "%s", entry->mnt_dir);
			break;
		}
	if (mounts)
		endmntent(mounts);
	return path[0] ? path : NULL;
}

static int map_fd(const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static bool put(const char *map, const void *key)
{
	uint8_t one = 1;

	return bpf_map_update_elem(map_fd(map), key, &one, BPF_ANY) == 0;
}

volatile struct th_live *scope_open(struct bpf_object *opened)
{
	void *mapped;

	object = opened;
	mapped = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, map_fd(".data.live"), 0);
	if (mapped == MAP_FAILED)
		return NULL;
	live = mapped;
	live->generation = 1;
	live->tell_epoch = 1;
	return live;
}

static uint32_t parent_of(uint32_t pid)
{
	char path[64], line[1024], *after;
	uint32_t parent = 0;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	stat = fopen(path, "r");
	if (!stat)
		return 0;
	if (fgets(line, sizeof(line), stat) && (after = strrchr(line, ')')))
		sscanf(after + 1, " %*c %u", &parent);
	fclose(stat);
	return parent;
}

/* A process and all that descend from it; later ones are followed at fork. Twice, for those that forked meanwhile. */
static bool add_pid(uint32_t pid)
{
	char path[64];
	struct stat about;

	snprintf(path, sizeof(path), "/proc/%u", pid);
	if (stat(path, &about)) {
		snprintf(message, sizeof(message), "scope pid:%u: there is no such process", pid);
		return false;
	}
	if (!put("scope_pids", &pid)) {
		snprintf(message, sizeof(message), "scope pid:%u: %s", pid, strerror(errno));
		return false;
	}
	live->scope_pids++;
	for (int round = 0; round < 2; round++) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;
		while (proc && (entry = readdir(proc))) {
			if (!isdigit((unsigned char)entry->d_name[0]))
				continue;
			uint32_t one = atoi(entry->d_name), ancestor = one;
			for (int depth = 0; depth < 64 && ancestor > 1 && ancestor != pid; depth++)
				ancestor = parent_of(ancestor);
			if (ancestor == pid)
				put("scope_pids", &one);
		}
		if (proc)
			closedir(proc);
	}
	return true;
}

static bool add_netns(const char *name)
{
	char path[PATH_MAX];
	struct stat about;
	uint32_t inum;

	snprintf(path, sizeof(path), strchr(name, '/') ? "%s" : "/run/netns/%s", name);
	if (stat(path, &about)) {
		snprintf(message, sizeof(message), "scope netns:%s: %s: %s (`ip netns list` shows the names)", name, path, strerror(errno));
		return false;
	}
	inum = about.st_ino;
	if (!put("scope_netns", &inum)) {
		snprintf(message, sizeof(message), "scope netns:%s: %s", name, strerror(errno));
		return false;
	}
	live->scope_netns++;
	return true;
}

static bool add_cgroup(const char *name)
{
	const char *mount = cgroup_mount();
	char path[PATH_MAX];
	struct stat about;
	uint64_t id;

	if (!mount) {
		snprintf(message, sizeof(message), "scope cgroup:%s: no cgroup v2 is mounted (mount -t cgroup2 none /sys/fs/cgroup/unified)", name);
		return false;
	}
	if (!strncmp(name, mount, strlen(mount)))
		snprintf(path, sizeof(path), "%s", name);
	else
		snprintf(path, sizeof(path), "%s/%s", mount, name);
	if (stat(path, &about)) {
		snprintf(message, sizeof(message), "scope cgroup:%s: %s: %s", name, path, strerror(errno));
		return false;
	}
	id = about.st_ino;
	if (!put("scope_cgroups", &id)) {
		snprintf(message, sizeof(message), "scope cgroup:%s: %s", name, strerror(errno));
		return false;
	}
	live->scope_cgroups++;
	return true;
}

bool scope_add(const char *spec, const char **why)
{
	char *rest = NULL;
	bool done;

	*why = message;
	if (!strcmp(spec, "all")) {
		live->scope_all = 1;
		done = true;
	} else if (!strncmp(spec, "netns:", 6) && spec[6]) {
		done = add_netns(spec + 6);
	} else if (!strncmp(spec, "cgroup:", 7) && spec[7]) {
		done = add_cgroup(spec + 7);
	} else if (!strncmp(spec, "pid:", 4) && strtoul(spec + 4, &rest, 10) > 0 && rest && !*rest) {
		done = add_pid(strtoul(spec + 4, NULL, 10));
	} else {
		snprintf(message, sizeof(message), "scope '%s' is none of: all, netns:NAME_OR_PATH, cgroup:PATH, pid:N", spec);
		done = false;
	}
	__atomic_add_fetch(&live->generation, 1, __ATOMIC_RELEASE);
	return done;
}

void scope_exclude(uint32_t pid)
{
	put("excluded_pids", &pid);
	__atomic_add_fetch(&live->generation, 1, __ATOMIC_RELEASE);
}

void scope_follow(uint64_t socket_id, bool on)
{
	static bool complained;
	int map = map_fd("followed_sockets");
	uint8_t one = 1;

	if (on) {
		/* Counted first: the programs let go of a socket that ends, but only look while there is one. */
		__atomic_add_fetch(&live->followed, 1, __ATOMIC_RELEASE);
		if (!bpf_map_update_elem(map, &socket_id, &one, BPF_NOEXIST))
			return;
		if (errno != EEXIST && !complained) {
			fprintf(stderr, "tracehouse-loader: no more sockets can be followed: %s; of some calls less payload is captured than their parsing needs\n", strerror(errno));
			complained = true;
		}
		__atomic_sub_fetch(&live->followed, 1, __ATOMIC_RELEASE);
	} else if (!bpf_map_delete_elem(map, &socket_id)) {
		__atomic_sub_fetch(&live->followed, 1, __ATOMIC_RELEASE);
	}
}
