/* SPDX-License-Identifier: Apache-2.0 */
#include "task-identity.h"
#include <bpf/bpf.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "go-binary.h"

#define BINARIES 512
/* A probe outlives the last process by this, as programs that are started again and again would cost one each time. */
#define LINGER_NS 2000000000ull

/* A file that Go programs run from. */
struct binary {
	dev_t device;
	ino_t inode;
	struct timespec changed;
	struct go_binary go;
	struct bpf_link *link;
	unsigned users;
	bool taken;
	uint64_t idle_since; /* 0 = not noticed yet */
};

struct member {
	uint32_t pid;
	uint16_t binary;
};

static struct bpf_program *program;
static volatile struct th_live *live;
static int map = -1;
static struct binary binaries[BINARIES];
static struct member *members;
static size_t member_count, member_room;

/* Once for each path and trouble. */
static void tell(uint32_t pid, const char *version, const char *what)
{
	static uint64_t told[256];
	static size_t count;
	char path[64], target[PATH_MAX] = "";
	uint64_t hash = 0xcbf29ce484222325ull;

	snprintf(path, sizeof(path), "/proc/%u/exe", pid);
	if (readlink(path, target, sizeof(target) - 1) < 0)
		return;
	for (const char *at = target; *at; at++) {
		/* A line is a line. */
		hash = (hash ^ (uint8_t)*at) * 0x100000001b3ull;
		if ((uint8_t)*at < ' ')
			target[at - target] = '?';
	}
	for (size_t i = 0; i < count; i++)
		if (told[i] == hash)
			return;
	if (count == sizeof(told) / sizeof(told[0]))
		return;
	told[count++] = hash;
	fprintf(stderr, "tracehouse-loader: task identity: %s%s%s%s: %s\n", target, *version ? " (" : "", version, *version ? ")" : "", what);
}

const char *task_identity_lacks(const struct bpf_object *object)
{
#if defined(__x86_64__)
	struct bpf_program *hook = bpf_object__find_program_by_name(object, "round_trip");

	if (!hook || !bpf_program__autoload(hook))
		return "The kernel did not take the program for it: calls of Go programs are told apart by time alone.";
	if (access("/sys/bus/event_source/devices/uprobe/type", R_OK))
		return "This kernel has no uprobes (CONFIG_UPROBE_EVENTS): calls of Go programs are told apart by time alone.";
	return NULL;
#else
	return "It is there for amd64 only: calls of Go programs are told apart by time alone.";
#endif
}

void task_identity_open(struct bpf_object *object, volatile struct th_live *shared)
{
	program = bpf_object__find_program_by_name(object, "round_trip");
	map = bpf_object__find_map_fd_by_name(object, "go_processes");
	live = shared;
}

static void changed(void)
{
	live->go_processes = member_count;
	__atomic_add_fetch(&live->go_generation, 1, __ATOMIC_RELEASE);
}

static void attach(struct binary *binary, uint32_t pid, const char *path)
{
	LIBBPF_OPTS(bpf_uprobe_opts, options);

	if (binary->go.round_trip) {
		/* By the file, so that all processes of it share one. */
		binary->link = bpf_program__attach_uprobe_opts(program, -1, path, binary->go.round_trip, &options);
		if (!binary->link)
			tell(pid, binary->go.version, "no uprobe can be attached to it: who makes its HTTP calls is told by time alone");
	}
	if (binary->go.guessed)
		tell(pid, binary->go.version, "newer than this tracehouse knows: read as the newest version that it knows, or not at all where that does not fit");
}

static void *destroy(void *link)
{
	bpf_link__destroy(link);
	return NULL;
}

/* The kernel waits for its CPUs when a probe goes, for a tenth of a second: not where events wait to be drained. */
static void forget(struct binary *binary)
{
	pthread_attr_t detached;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (binary->link && pthread_create(&thread, &detached, destroy, binary->link))
		bpf_link__destroy(binary->link);
	pthread_attr_destroy(&detached);
	binary->link = NULL;
	binary->taken = false;
}

static struct binary *binary_of(uint32_t pid)
{
	struct binary *room = NULL;
	struct go_binary go;
	enum go_verdict verdict;
	const char *why = NULL;
	struct stat about;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/exe", pid);
	if (stat(path, &about))
		return NULL;
	for (size_t i = 0; i < BINARIES; i++) {
		struct binary *one = &binaries[i];
		if (one->taken && one->inode == about.st_ino && one->device == about.st_dev && !memcmp(&one->changed, &about.st_ctim, sizeof(one->changed)))
			return one;
		if (!one->taken ? !room || room->taken : !one->users && !room)
			room = one;
	}
	verdict = go_binary_read(path, &go, &why);
	if (verdict == GO_UNUSABLE) {
		char what[160];
		snprintf(what, sizeof(what), "%s: its calls are told apart by time alone", why);
		tell(pid, go.version, what);
	}
	if (verdict != GO_USABLE || !room)
		return NULL;
	if (room->taken)
		forget(room);
	*room = (struct binary){.device = about.st_dev, .inode = about.st_ino, .changed = about.st_ctim, .go = go, .taken = true};
	attach(room, pid, path);
	return room;
}

static void leave(size_t at)
{
	uint32_t pid = members[at].pid;

	bpf_map_delete_elem(map, &pid);
	binaries[members[at].binary].users--;
	members[at] = members[--member_count];
}

static size_t find(uint32_t pid)
{
	size_t at = 0;

	while (at < member_count && members[at].pid != pid)
		at++;
	return at;
}

void task_identity_seen(uint32_t pid)
{
	size_t before = member_count ? find(pid) : 0;
	struct binary *binary;

	if (!program)
		return;
	binary = binary_of(pid);
	if (binary && member_count < TH_GO_PROCESSES) {
		if (member_count == member_room) {
			member_room = member_room ? member_room * 2 : 16;
			members = realloc(members, member_room * sizeof(*members));
		}
		members[member_count++] = (struct member){.pid = pid, .binary = binary - binaries};
		binary->users++;
		binary->idle_since = 0;
	} else {
		binary = NULL;
	}
	if (before < member_count - (binary ? 1 : 0)) {
		leave(before);
		changed();
	}
	if (binary) {
		bpf_map_update_elem(map, &pid, &binary->go.layout, BPF_ANY);
		changed();
	}
}

void task_identity_ended(uint32_t pid)
{
	size_t at = member_count ? find(pid) : 0;

	if (at < member_count) {
		leave(at);
		changed();
	}
}

void task_identity_sweep(uint64_t now_mono_ns)
{
	for (size_t i = 0; i < BINARIES; i++) {
		struct binary *one = &binaries[i];
		if (!one->taken || one->users)
			continue;
		if (!one->idle_since)
			one->idle_since = now_mono_ns;
		else if (now_mono_ns - one->idle_since > LINGER_NS)
			forget(one);
	}
}

void task_identity_close(void)
{
	for (size_t i = 0; i < BINARIES; i++)
		if (binaries[i].link)
			bpf_link__destroy(binaries[i].link);
	program = NULL;
}
