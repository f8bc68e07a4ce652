// SPDX-License-Identifier: Apache-2.0
// The one privileged process: attaches the programs, drains the ring, reads /proc, writes frames to standard output,
// takes control frames on standard input.
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <linux/types.h>
#include "records.h"

/* The compiled programs, embedded so that one file is all that ships. */
__asm__(".section .rodata\n.balign 16\n.global th_object\nth_object:\n.incbin \"" TH_OBJECT "\"\n.global th_object_end\nth_object_end:\n.previous\n");
extern const unsigned char th_object[], th_object_end[];

#define FLUSH_BYTES (256 << 10)
#define MAX_CPUS 1024

static struct {
	const char *node, *hooks;
	unsigned long ring_bytes;
	unsigned payload;
	bool wakes, stacks, probe;
	const char *scopes[256];
	int scope_count;
	unsigned excluded[256];
	int excluded_count;
} options = { .hooks = "auto", .ring_bytes = 32 << 20, .payload = 256, .wakes = true };

static volatile sig_atomic_t stopping;
static char boot_id[64];
static __u64 salt, boot_to_mono;
static unsigned long events_seen, events_lost;

static void __attribute__((format(printf, 2, 3), noreturn)) die(int code, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	exit(code);
}

static __u64 clock_now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* ---- frames ---- */

static unsigned char *out;
static size_t out_used, out_room;

static void flush(void)
{
	size_t done = 0;
	while (done < out_used) {
		ssize_t n = write(STDOUT_FILENO, out + done, out_used - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die(1, "standard output is gone: %s", strerror(errno));
		done += n;
	}
	out_used = 0;
}

static unsigned char *frame(unsigned type, size_t used)
{
	size_t length = (used + 7) & ~7UL, need = sizeof(struct th_frame) + length;
	if (out_used + need > out_room) {
		out_room = (out_used + need) * 2;
		out = realloc(out, out_room);
		if (!out)
			die(1, "out of memory");
	}
	struct th_frame *f = (void *)(out + out_used);
	*f = (struct th_frame){ .magic = TH_FRAME_MAGIC, .type = type, .length = length, .used = used };
	unsigned char *body = (unsigned char *)(f + 1);
	memset(body + used, 0, length - used);
	out_used += need;
	return body;
}

static void frame_with_strings(unsigned type, const void *fixed, size_t size, const char **strings, int count)
{
	size_t used = size;
	for (int i = 0; i < count; i++)
		used += 4 + strlen(strings[i]);
	unsigned char *body = frame(type, used);
	memcpy(body, fixed, size);
	body += size;
	for (int i = 0; i < count; i++) {
		__u32 n = strlen(strings[i]);
		memcpy(body, &n, 4);
		memcpy(body + 4, strings[i], n);
		body += 4 + n;
	}
}

static void send_clock(void)
{
	__u64 a = clock_now(CLOCK_REALTIME), m = clock_now(CLOCK_MONOTONIC), b = clock_now(CLOCK_REALTIME);
	struct th_clock c = { .mono_ns = m, .utc_ns = a + (b - a) / 2, .error_ns = (b - a) / 2 + 1 };
	memcpy(frame(TH_RECORD_CLOCK, sizeof(c)), &c, sizeof(c));
}

static void send_watermark(__u64 mono_ns)
{
	struct th_watermark w = { .mono_ns = mono_ns };
	memcpy(frame(TH_RECORD_WATERMARK, sizeof(w)), &w, sizeof(w));
}

/* ---- ids, as the kernel programs make them ---- */

static __u64 mix64(__u64 x)
{
	x ^= x >> 33; x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33; x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ (x >> 33);
}

static __u64 id63(__u64 a, __u64 b, __u64 c)
{
	__u64 x = mix64(mix64(mix64(a) + b) + c) & 0x7fffffffffffffffULL;
	return x ? x : 1;
}

static __u64 hash_text(__u64 h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
	return h;
}

/* ---- processes ---- */

static ssize_t read_file(const char *path, char *to, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, used = 0;
	if (fd < 0)
		return -1;
	while ((size_t)used < room - 1 && (n = read(fd, to + used, room - 1 - used)) > 0)
		used += n;
	close(fd);
	to[used] = 0;
	return used;
}

struct known { __u64 process_id; __u64 started; };
static struct known *known_table;
static size_t known_room, known_count;

static struct known *known_slot(__u64 id)
{
	if (known_count * 2 >= known_room) {
		struct known *old = known_table;
		size_t room = known_room;
		known_room = room ? room * 2 : 4096;
		known_table = calloc(known_room, sizeof(*known_table));
		if (!known_table)
			die(1, "out of memory");
		for (size_t i = 0; i < room; i++)
			if (old[i].process_id)
				*known_slot(old[i].process_id) = old[i];
		free(old);
	}
	size_t at = id & (known_room - 1);
	while (known_table[at].process_id && known_table[at].process_id != id)
		at = (at + 1) & (known_room - 1);
	return &known_table[at];
}

/* start time of /proc/PID/stat is in ticks: too coarse for ids, so ids come from events alone; times from here */
static __u64 start_ticks(const char *stat)
{
	const char *p = strrchr(stat, ')');
	unsigned long long start = 0;
	if (p)
		sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start);
	return start;
}

static void clean(char *s, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++)
		if (s[i] == 0 || s[i] == '\n')
			s[i] = ' ';
	while (n > 0 && s[n - 1] == ' ')
		s[--n] = 0;
}

/* The last run of 64 hex digits in a cgroup path is how every runtime writes a container's id. */
static void container_of(const char *cgroup, char *to)
{
	to[0] = 0;
	for (const char *p = cgroup; *p; p++) {
		size_t n = strspn(p, "0123456789abcdef");
		if (n == 64) {
			memcpy(to, p, 64);
			to[64] = 0;
		}
		if (n)
			p += n - 1;
	}
}

static void send_process(__u64 process_id, unsigned pid, const char *comm_hint, __u64 ended)
{
	static char path[64], pstat[2048], cmdline[4096], environ_[65536], status[4096], cgroup[4096], exe[PATH_MAX], cwd[PATH_MAX], container[65], comm[64], otel[256];
	struct th_process p = { .process_id = process_id, .pid = pid, .ns_pid = pid, .ended_mono_ns = ended };
	ssize_t n;
	exe[0] = cwd[0] = cmdline[0] = container[0] = otel[0] = cgroup[0] = 0;
	snprintf(comm, sizeof(comm), "%s", comm_hint);
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	if (read_file(path, pstat, sizeof(pstat)) > 0) {
		const char *close = strrchr(pstat, ')');
		p.started_mono_ns = start_ticks(pstat) * (1000000000ULL / sysconf(_SC_CLK_TCK)) - boot_to_mono;
		if (close)
			sscanf(close + 2, "%*c %u", &p.ppid);
		snprintf(path, sizeof(path), "/proc/%u/comm", pid);
		if ((n = read_file(path, comm, sizeof(comm))) > 0)
			clean(comm, n);
		snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
		if ((n = read_file(path, cmdline, sizeof(cmdline))) > 0)
			clean(cmdline, n);
		snprintf(path, sizeof(path), "/proc/%u/exe", pid);
		n = readlink(path, exe, sizeof(exe) - 1);
		exe[n > 0 ? n : 0] = 0;
		snprintf(path, sizeof(path), "/proc/%u/cwd", pid);
		n = readlink(path, cwd, sizeof(cwd) - 1);
		cwd[n > 0 ? n : 0] = 0;
		snprintf(path, sizeof(path), "/proc/%u/status", pid);
		if (read_file(path, status, sizeof(status)) > 0) {
			char *line = strstr(status, "\nNSpid:");
			if (line) {
				char *save, *last = NULL, *end = strchr(line + 1, '\n');
				if (end)
					*end = 0;
				for (char *w = strtok_r(line + 7, " \t", &save); w; w = strtok_r(NULL, " \t", &save))
					last = w;
				if (last)
					p.ns_pid = atoi(last);
			}
		}
		snprintf(path, sizeof(path), "/proc/%u/cgroup", pid);
		if (read_file(path, environ_, sizeof(environ_)) > 0) {
			char *line = strstr(environ_, "0::");
			if (line) {
				char *end = strchr(line, '\n');
				if (end)
					*end = 0;
				snprintf(cgroup, sizeof(cgroup), "%s", line + 3);
			}
			container_of(environ_, container);
			if (!container[0])
				container_of(cgroup, container);
		}
		snprintf(path, sizeof(path), "/proc/%u/environ", pid);
		if ((n = read_file(path, environ_, sizeof(environ_))) > 0)
			for (char *e = environ_; e < environ_ + n; e += strlen(e) + 1)
				if (!strncmp(e, "OTEL_SERVICE_NAME=", 18))
					snprintf(otel, sizeof(otel), "%s", e + 18);
		struct stat st;
		snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
		if (!stat(path, &st))
			p.netns = st.st_ino;
	}
	const char *strings[] = { exe, cmdline, container, cgroup, otel, comm, cwd };
	frame_with_strings(TH_RECORD_PROCESS, &p, sizeof(p), strings, 7);
}

/* ---- the ring ---- */

static void seen_process(__u64 process_id, unsigned pid, const char *comm)
{
	if (!process_id || !pid)
		return;
	struct known *k = known_slot(process_id);
	if (k->process_id)
		return;
	k->process_id = process_id;
	known_count++;
	send_process(process_id, pid, comm, 0);
}

static int on_record(void *context, void *data, size_t size)
{
	char comm[17] = "";
	(void)context;
	events_seen++;
	if (size == sizeof(struct th_thread_event)) {
		struct th_thread_event *e = data;
		memcpy(comm, e->comm, 16);
		seen_process(e->process_id, e->pid, comm);
		if (e->op == TH_THREAD_EXEC)
			send_process(e->process_id, e->pid, comm, 0);
		if (e->op == TH_THREAD_EXIT && e->exit_process)
			send_process(e->process_id, e->pid, comm, e->mono_ns);
		memcpy(frame(TH_RECORD_THREAD_EVENT, sizeof(*e)), e, sizeof(*e));
	} else {
		struct th_socket_event *e = data;
		size_t used = sizeof(*e) + e->payload_length;
		memcpy(comm, e->comm, 16);
		if (used > size)
			used = size;
		seen_process(e->process_id, e->pid, comm);
		memcpy(frame(TH_RECORD_SOCKET_EVENT, used), e, used);
	}
	if (out_used >= FLUSH_BYTES)
		flush();
	return 0;
}

struct loss { __u64 count, from_ns, to_ns; };

static void send_losses(int map, int cpus)
{
	static struct loss before[16][MAX_CPUS];
	struct loss now[MAX_CPUS];
	for (__u32 cause = 1; cause < 16; cause++) {
		if (bpf_map_lookup_elem(map, &cause, now))
			continue;
		for (int cpu = 0; cpu < cpus; cpu++) {
			struct loss *b = &before[cause][cpu];
			if (now[cpu].count == b->count)
				continue;
			struct th_loss l = { .from_mono_ns = b->count ? b->to_ns : now[cpu].from_ns, .to_mono_ns = now[cpu].to_ns, .events_lost = now[cpu].count - b->count, .cpu = cpu, .cause = cause };
			if (cause == TH_LOSS_RING_FULL || cause == TH_LOSS_CONNECTION_SHED || cause == TH_LOSS_WAKE_SHED)
				events_lost += l.events_lost;
			*b = now[cpu];
			memcpy(frame(TH_RECORD_LOSS, sizeof(l)), &l, sizeof(l));
		}
	}
}

/* ---- scope ---- */

static unsigned long cgroup_or_netns_inode(const char *path)
{
	struct stat st;
	return stat(path, &st) ? 0 : st.st_ino;
}

static bool add_scope(struct bpf_object *object, const char *spec)
{
	__u8 one = 1;
	if (!strncmp(spec, "netns:", 6)) {
		char path[PATH_MAX];
		snprintf(path, sizeof(path), spec[6] == '/' ? "%s" : "/run/netns/%s", spec + 6);
		__u32 inode = cgroup_or_netns_inode(path);
		if (!inode)
			die(1, "scope %s: there is no network namespace at %s (`ip netns list` shows the named ones)", spec, path);
		return !bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "scope_netns"), &inode, &one, BPF_ANY);
	}
	if (!strncmp(spec, "pid:", 4)) {
		__u32 pid = atoi(spec + 4);
		char path[64];
		snprintf(path, sizeof(path), "/proc/%u", pid);
		if (access(path, F_OK))
			die(1, "scope %s: there is no such process", spec);
		return !bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "scope_pids"), &pid, &one, BPF_ANY);
	}
	return !strcmp(spec, "all");
}

/* ---- main ---- */

static void on_signal(int signal) { (void)signal; stopping = 1; }

static int quiet(enum libbpf_print_level level, const char *format, va_list list)
{
	if (level > LIBBPF_WARN || !getenv("TRACEHOUSE_DEBUG"))
		return 0;
	return vfprintf(stderr, format, list);
}

static void private_tracefs(void)
{
	if (!access("/sys/kernel/tracing/events", F_OK) || !access("/sys/kernel/debug/tracing/events", F_OK))
		return;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL))
		fprintf(stderr, "tracefs could not be mounted (%s): run `mount -t tracefs tracefs /sys/kernel/tracing`\n", strerror(errno));
}

static void read_control(struct bpf_object *object)
{
	static unsigned char buffer[65536];
	static size_t have;
	ssize_t n = read(STDIN_FILENO, buffer + have, sizeof(buffer) - have);
	if (n == 0) {
		stopping = 1;
		return;
	}
	if (n < 0)
		return;
	have += n;
	size_t at = 0;
	while (have - at >= sizeof(struct th_frame)) {
		struct th_frame *f = (void *)(buffer + at);
		if (f->magic != TH_FRAME_MAGIC || f->length > 8192)
			die(1, "garbage on standard input: control frames are expected there");
		if (have - at < sizeof(*f) + f->length)
			break;
		void *body = f + 1;
		__u8 one = 1;
		if (f->type == TH_RECORD_CONTROL_STOP)
			stopping = 1;
		else if (f->type == TH_RECORD_CONTROL_EXCLUDE) {
			__u32 pid = ((struct th_control_exclude *)body)->pid;
			bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "excluded"), &pid, &one, BPF_ANY);
		} else if (f->type == TH_RECORD_CONTROL_FOLLOW) {
			struct th_control_follow *c = body;
			int map = bpf_object__find_map_fd_by_name(object, "followed");
			if (c->on)
				bpf_map_update_elem(map, &c->socket_id, &one, BPF_ANY);
			else
				bpf_map_delete_elem(map, &c->socket_id);
		}
		at += sizeof(*f) + f->length;
	}
	memmove(buffer, buffer + at, have - at);
	have -= at;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "node", 1, 0, 'n' }, { "ring-bytes", 1, 0, 'r' }, { "payload", 1, 0, 'p' }, { "scope", 1, 0, 's' }, { "exclude-pid", 1, 0, 'x' },
		{ "no-wakes", 0, 0, 'w' }, { "stacks", 0, 0, 'k' }, { "hooks", 1, 0, 'h' }, { "probe", 0, 0, 'P' }, {},
	};
	char hostname[256] = "localhost";
	gethostname(hostname, sizeof(hostname) - 1);
	options.node = hostname;
	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (c) {
		case 'n': options.node = optarg; break;
		case 'r': options.ring_bytes = strtoul(optarg, NULL, 10); break;
		case 'p': options.payload = strtoul(optarg, NULL, 10); break;
		case 's': if (options.scope_count < 256) options.scopes[options.scope_count++] = optarg; break;
		case 'x': if (options.excluded_count < 256) options.excluded[options.excluded_count++] = atoi(optarg); break;
		case 'w': options.wakes = false; break;
		case 'k': options.stacks = true; break;
		case 'h': options.hooks = optarg; break;
		case 'P': options.probe = true; break;
		default: die(2, "usage: tracehouse-loader [--node NAME] [--ring-bytes N] [--payload N] [--scope SPEC]... [--exclude-pid N]... [--no-wakes] [--stacks] [--hooks KIND] [--probe]");
		}
	}
	if (geteuid())
		die(1, "eBPF needs root: run this with sudo");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	libbpf_set_print(quiet);
	private_tracefs();
	read_file("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
	boot_id[strcspn(boot_id, "\n")] = 0;
	salt = mix64(hash_text(hash_text(0xcbf29ce484222325ULL, options.node), boot_id));
	boot_to_mono = clock_now(CLOCK_BOOTTIME) - clock_now(CLOCK_MONOTONIC);

	struct bpf_object *object = bpf_object__open_mem(th_object, th_object_end - th_object, NULL);
	if (!object)
		die(1, "the embedded eBPF object cannot be opened: %s", strerror(errno));
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
	size_t rodata_size = 0;
	struct { __u64 salt; __u32 payload; __u32 pad; __u64 ring; bool all; char pad2[3]; __u32 self; } *ro = NULL;
	ro = (void *)bpf_map__initial_value(map, &rodata_size);
	ro->salt = salt; ro->payload = options.payload; ro->ring = options.ring_bytes; ro->self = getpid();
	ro->all = options.scope_count == 0;
	for (int i = 0; i < options.scope_count; i++)
		if (!strcmp(options.scopes[i], "all"))
			ro->all = true;
	bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "ring"), options.ring_bytes);
	if (bpf_object__load(object))
		die(1, "the kernel refused the eBPF programs: %s (run `tracehouse doctor`)", strerror(errno));
	for (int i = 0; i < options.scope_count; i++)
		add_scope(object, options.scopes[i]);
	for (int i = 0; i < options.excluded_count; i++) {
		__u8 one = 1;
		__u32 pid = options.excluded[i];
		bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "excluded"), &pid, &one, BPF_ANY);
	}
	struct bpf_program *program;
	bpf_object__for_each_program(program, object) {
		if (libbpf_get_error(bpf_program__attach(program)))
			fprintf(stderr, "cannot attach %s: %s\n", bpf_program__name(program), strerror(errno));
	}
	struct ring_buffer *ring = ring_buffer__new(bpf_object__find_map_fd_by_name(object, "ring"), on_record, NULL, NULL);
	if (!ring)
		die(1, "the ring buffer cannot be mapped: %s", strerror(errno));

	struct utsname u;
	uname(&u);
	struct th_hello hello = { .run_id = clock_now(CLOCK_REALTIME), .abi_version = TH_ABI_VERSION, .cpus = libbpf_num_possible_cpus(), .ring_bytes = options.ring_bytes, .started_mono_ns = clock_now(CLOCK_MONOTONIC) };
	const char *strings[] = { boot_id, hostname, u.release };
	frame_with_strings(TH_RECORD_HELLO, &hello, sizeof(hello), strings, 3);
	send_clock();
	flush();

	int losses = bpf_object__find_map_fd_by_name(object, "losses"), pause_ms = 5;
	__u64 last = 0;
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	while (!stopping) {
		struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
		if (poll(&in, 1, pause_ms) > 0)
			read_control(object);
		__u64 now = clock_now(CLOCK_MONOTONIC);
		int n = ring_buffer__consume(ring);
		pause_ms = n > 0 ? 5 : pause_ms < 20 ? pause_ms + 1 : 20;
		if (n > 0 || now - last > 50000000) {
			if (now - last > 50000000) {
				send_losses(losses, hello.cpus);
				send_clock();
				last = now;
			}
			send_watermark(now - 1000000);
			flush();
		}
	}
	bpf_object__for_each_program(program, object)
		bpf_program__unload(program);
	ring_buffer__consume(ring);
	send_losses(losses, hello.cpus);
	send_clock();
	send_watermark(clock_now(CLOCK_MONOTONIC));
	struct th_bye bye = { .events_seen = events_seen, .events_lost = events_lost };
	memcpy(frame(TH_RECORD_BYE, sizeof(bye)), &bye, sizeof(bye));
	flush();
	return 0;
}
