/* SPDX-License-Identifier: Apache-2.0 */
#include "task-identity.h"
#include <bpf/bpf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "go-binary.h"

/* A file by what it is, not by its name: containers have names of their own. */
struct binary {
	dev_t device;
	ino_t inode;
	struct timespec changed;
	struct go_binary go;
	struct bpf_link *link;
	uint32_t processes;
};

struct user {
	uint32_t pid;
	uint32_t binary;
};

static struct binary *binaries;
static size_t binary_count;
static struct user *users; /* processes whose program is Go's */
static size_t user_count;
static struct bpf_program *program;
static volatile struct th_live *live;
static void (*say)(const char *line);
static int map_fd = -1;

void tasks_open(struct bpf_object *object, volatile struct th_live *shared, void (*complain)(const char *line))
{
	program = bpf_object__find_program_by_name(object, "go_round_trip");
	map_fd = bpf_object__find_map_fd_by_name(object, "go_processes");
	live = shared;
	say = complain;
}

static void leave(size_t at)
{
	struct binary *binary = &binaries[users[at].binary];

	bpf_map_delete_elem(map_fd, &users[at].pid);
	users[at] = users[--user_count];
	live->go_processes = user_count;
	if (--binary->processes == 0 && binary->link) {
		bpf_link__destroy(binary->link);
		binary->link = NULL;
	}
}

void tasks_ended(uint32_t pid)
{
	for (size_t i = 0; i < user_count; i++)
		if (users[i].pid == pid) {
			leave(i);
			return;
		}
}

static void tell(const char *path, const struct go_binary *go, const char *why)
{
	char target[PATH_MAX], line[PATH_MAX + 256];
	ssize_t length = readlink(path, target, sizeof(target) - 1);

	target[length > 0 ? length : 0] = 0;
	snprintf(line, sizeof(line), "%s (%s): not all is known of it: %s; links rest on other evidence", target, *go->version ? go->version : "Go", why);
	say(line);
}

static struct binary *binary_of(const char *path)
{
	struct binary *binary;
	struct stat about;

	if (stat(path, &about))
		return NULL;
	for (size_t i = 0; i < binary_count; i++) {
		binary = &binaries[i];
		if (binary->device == about.st_dev && binary->inode == about.st_ino && !memcmp(&binary->changed, &about.st_ctim, sizeof(about.st_ctim)))
			return binary;
	}
	/* Forgotten when nobody runs it any more, so that a machine that compiles all day fills no memory. */
	binary = NULL;
	for (size_t i = 0; i < binary_count && binary_count >= 4096 && !binary; i++)
		if (!binaries[i].processes)
			binary = &binaries[i];
	if (!binary) {
		if (binary_count % 64 == 0)
			binaries = realloc(binaries, (binary_count + 64) * sizeof(*binaries));
		binary = &binaries[binary_count++];
	}
	*binary = (struct binary){.device = about.st_dev, .inode = about.st_ino, .changed = about.st_ctim};
	go_binary_read(path, &binary->go);
	if (binary->go.is_go && binary->go.lacks)
		tell(path, &binary->go, binary->go.lacks);
	return binary;
}

static void attach(struct binary *binary, const char *path)
{
	LIBBPF_OPTS(bpf_uprobe_opts, options);

	if (binary->link || !binary->go.round_trip || !program || bpf_program__fd(program) < 0)
		return;
	binary->link = bpf_program__attach_uprobe_opts(program, -1, path, binary->go.round_trip, &options);
	if (!binary->link) {
		tell(path, &binary->go, "outgoing calls: the kernel refused the probe");
		binary->go.round_trip = 0;
	}
}

void tasks_process(uint32_t pid)
{
	struct binary *binary;
	char path[64];

	if (map_fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%u/exe", pid);
	binary = binary_of(path);
	for (size_t i = 0; i < user_count; i++)
		if (users[i].pid == pid && &binaries[users[i].binary] == binary)
			return;
	tasks_ended(pid);
	if (!binary || !binary->go.layout.goid || user_count == TH_GO_PROCESSES || bpf_map_update_elem(map_fd, &pid, &binary->go.layout, BPF_ANY))
		return;
	if (user_count % 64 == 0)
		users = realloc(users, (user_count + 64) * sizeof(*users));
	users[user_count++] = (struct user){.pid = pid, .binary = binary - binaries};
	binary->processes++;
	live->go_processes = user_count;
	attach(binary, path);
}

void tasks_close(void)
{
	while (map_fd >= 0 && user_count)
		leave(user_count - 1);
	free(users);
	free(binaries);
}
