/* SPDX-License-Identifier: Apache-2.0 */
#include "processes.h"
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "output.h"
#include "records.h"
#include "scope.h"
#include "task-identity.h"

/* As much of a command line or environment as is read. */
#define CMDLINE_BYTES 4096
#define ENVIRON_BYTES (256 << 10)
#define ENDED_NS 10000000000ull

enum { EXE, CMDLINE, CONTAINER, CGROUP, SERVICE, COMM, CWD, STRINGS };

/* A process that lives, with what was told of it, so that its end can be told whole. */
struct known {
	struct th_process record;
	char *strings[STRINGS];
};

static struct known **table;
static size_t capacity, entries;
/* Events come in runs of one process. */
static uint64_t last_known;

static size_t slot_of(uint64_t id)
{
	size_t at = (id * 0x9e3779b97f4a7c15ull) >> 20 & (capacity - 1);

	while (table[at] && table[at]->record.process_id != id)
		at = (at + 1) & (capacity - 1);
	return at;
}

static struct known *find(uint64_t id)
{
	return capacity ? table[slot_of(id)] : NULL;
}

static void insert(struct known *known)
{
	if (entries * 2 >= capacity) {
		struct known **old = table;
		size_t before = capacity;
		capacity = capacity ? capacity * 2 : 1024;
		table = calloc(capacity, sizeof(*table));
		for (size_t i = 0; i < before; i++)
			if (old[i])
				table[slot_of(old[i]->record.process_id)] = old[i];
		free(old);
	}
	table[slot_of(known->record.process_id)] = known;
	entries++;
}

static void remove_known(uint64_t id)
{
	size_t hole = slot_of(id);
	struct known *known = table[hole];

	if (!known)
		return;
	for (int i = 0; i < STRINGS; i++)
		free(known->strings[i]);
	free(known);
	table[hole] = NULL;
	entries--;
	last_known = 0;
	/* Linear probing: move up what stood behind. */
	for (size_t at = (hole + 1) & (capacity - 1); table[at]; at = (at + 1) & (capacity - 1)) {
		struct known *one = table[at];
		table[at] = NULL;
		table[slot_of(one->record.process_id)] = one;
	}
}

static ssize_t read_file(uint32_t pid, const char *name, char *to, size_t size)
{
	char path[64];
	ssize_t length = 0, part;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while ((size_t)length < size - 1 && (part = read(fd, to + length, size - 1 - length)) > 0)
		length += part;
	close(fd);
	to[length] = 0;
	return length;
}

static char *read_target(uint32_t pid, const char *name)
{
	char path[64], target[PATH_MAX];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return strdup("");
	target[length] = 0;
	char *deleted = strstr(target, " (deleted)");
	if (deleted && !deleted[10])
		*deleted = 0;
	return strdup(target);
}

static uint64_t inode_of(uint32_t pid, const char *name)
{
	char path[64];
	struct stat about;

	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	return stat(path, &about) ? 0 : about.st_ino;
}

/* Runtimes name a container's cgroup after its id: 64 hex digits, whatever stands around them. */
static char *container_of_path(const char *text)
{
	for (const char *at = text; *at; at++) {
		size_t digits = 0;
		while (isdigit((unsigned char)at[digits]) || (at[digits] >= 'a' && at[digits] <= 'f'))
			digits++;
		if (digits == 64)
			return strndup(at, 64);
		if (digits)
			at += digits - 1;
	}
	return strdup("");
}

static uint64_t now_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void read_stat(uint32_t pid, struct th_process *record, bool want_start)
{
	char text[4096], *at;
	unsigned long long ticks = 0;
	unsigned parent = 0;

	if (read_file(pid, "stat", text, sizeof(text)) <= 0 || !(at = strrchr(text, ')')))
		return;
	/* Field 4 is the parent, 22 the start, in ticks since boot; the clock that counts suspended time. */
	sscanf(at + 1, " %*c %u %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &parent, &ticks);
	record->ppid = parent;
	if (want_start)
		record->started_mono_ns = ticks * (1000000000ull / sysconf(_SC_CLK_TCK)) - (now_of(CLOCK_BOOTTIME) - now_of(CLOCK_MONOTONIC));
}

static uint32_t inner_pid(uint32_t pid)
{
	static char text[8192];
	uint32_t inner = pid;
	char *line, *end;

	if (read_file(pid, "status", text, sizeof(text)) <= 0 || !(line = strstr(text, "\nNSpid:")))
		return pid;
	line += 7;
	while (*line && *line != '\n') {
		unsigned long number = strtoul(line, &end, 10);
		if (end == line)
			break;
		inner = number;
		line = end;
	}
	return inner;
}

static char *service_name(uint32_t pid)
{
	static char text[ENVIRON_BYTES];
	ssize_t length = read_file(pid, "environ", text, sizeof(text));

	for (ssize_t at = 0; at < length; at += strlen(text + at) + 1)
		if (!strncmp(text + at, "OTEL_SERVICE_NAME=", 18)) {
			text[at + 18 + strnlen(text + at + 18, 255)] = 0;
			return strdup(text + at + 18);
		}
	return strdup("");
}

static void read_process(struct known *known, const struct seen_process *seen)
{
	struct th_process *record = &known->record;
	static char text[CMDLINE_BYTES];
	char path[PATH_MAX];
	struct stat about;
	ssize_t length;
	static const char *mount;

	if (!mount)
		mount = cgroup_mount();
	for (int i = 0; i < STRINGS; i++)
		free(known->strings[i]);
	record->pid = seen->pid;
	record->ns_pid = inner_pid(seen->pid);
	record->netns = inode_of(seen->pid, "ns/net");
	read_stat(seen->pid, record, !record->started_mono_ns);
	known->strings[EXE] = read_target(seen->pid, "exe");
	known->strings[CWD] = read_target(seen->pid, "cwd");
	length = read_file(seen->pid, "cmdline", text, sizeof(text));
	while (length > 0 && !text[length - 1])
		length--;
	for (ssize_t i = 0; i < length; i++)
		if (!text[i])
			text[i] = ' ';
	known->strings[CMDLINE] = strndup(text, length > 0 ? length : 0);
	known->strings[SERVICE] = service_name(seen->pid);
	length = read_file(seen->pid, "comm", text, sizeof(text));
	known->strings[COMM] = length > 0 ? strndup(text, strcspn(text, "\n")) : strdup(seen->comm ? seen->comm : "");
	length = read_file(seen->pid, "cgroup", text, sizeof(text));
	known->strings[CONTAINER] = container_of_path(length > 0 ? text : "");
	const char *unified = length > 0 ? strstr(text, "0::/") : NULL;
	known->strings[CGROUP] = unified ? strndup(unified + 3, strcspn(unified + 3, "\n")) : strdup("");
	record->cgroup_id = seen->cgroup_id;
	if (!record->cgroup_id && unified && mount) {
		snprintf(path, sizeof(path), "%s%s", mount, known->strings[CGROUP]);
		if (!stat(path, &about))
			record->cgroup_id = about.st_ino;
	}
}

static void write_record(const struct known *known)
{
	output_frame(TH_RECORD_PROCESS, &known->record, sizeof(known->record), (const char *const *)known->strings, STRINGS);
}

bool process_known(uint64_t process_id)
{
	if (process_id == last_known)
		return true;
	if (!find(process_id))
		return false;
	last_known = process_id;
	return true;
}

void process_seen(const struct seen_process *seen, bool again)
{
	struct known *known = find(seen->process_id);

	if (known && !again)
		return;
	if (!known) {
		known = calloc(1, sizeof(*known));
		known->record.process_id = seen->process_id;
		known->record.started_mono_ns = seen->started_mono_ns;
		insert(known);
	}
	read_process(known, seen);
	write_record(known);
	task_identity_seen(seen->pid);
}

void process_ended(const struct seen_process *seen, uint64_t ended_mono_ns)
{
	struct known *known;

	process_seen(seen, false);
	known = find(seen->process_id);
	known->record.ended_mono_ns = ended_mono_ns;
	write_record(known);
	task_identity_ended(seen->pid);
	/* Kept for a while: its sockets are closed after its exit is told. */
}

void processes_sweep(uint64_t now_mono_ns)
{
	for (size_t i = 0; i < capacity && output_room() > OUTPUT_MARGIN; i++) {
		struct known *known = table[i];
		char path[64];
		if (!known)
			continue;
		if (!known->record.ended_mono_ns) {
			snprintf(path, sizeof(path), "/proc/%u", known->record.pid);
			if (!access(path, F_OK))
				continue;
			known->record.ended_mono_ns = now_mono_ns;
			write_record(known);
			task_identity_ended(known->record.pid);
		} else if (now_mono_ns - known->record.ended_mono_ns > ENDED_NS) {
			remove_known(known->record.process_id);
		}
	}
}
