/* SPDX-License-Identifier: Apache-2.0 */
/* The only privileged process: attaches, drains the ring, reads /proc, writes frames to standard output and takes control
 * frames on standard input. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "control.h"
#include "expand.h"
#include "give-way.h"
#include "hooks.h"
#include "ids.h"
#include "losses.h"
#include "options.h"
#include "output.h"
#include "pace.h"
#include "processes.h"
#include "records.h"
#include "ring-records.h"
#include "ring.h"
#include "scope.h"
#include "spill.h"
#include "task-identity.h"

#define REPORT_NS 100000000ull
#define EPOCH_NS 1000000000ull
#define SWEEP_NS 30000000000ull
#define FLUSH_MS 5000

static struct options options;
static const char *scope_error;

static struct hooks hooks;
static struct ring ring;
static struct bpf_object *object;
static volatile struct th_live *live;
static uint64_t watermark_ns, events_seen;
static int64_t time_namespace_ns; /* what this process's CLOCK_MONOTONIC is ahead of the kernel's */
static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	stopping = 1;
}

static int complain(int code, const char *format, ...)
{
	va_list args;

	fputs("tracehouse-loader: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

static uint64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* The kernel's monotonic time, as the events carry it. */
static uint64_t mono_now(void)
{
	return read_clock(CLOCK_MONOTONIC) - time_namespace_ns;
}

static void read_time_namespace(void)
{
	FILE *file = fopen("/proc/self/timens_offsets", "r");
	long long seconds, nanoseconds;

	if (file && fscanf(file, "monotonic %lld %lld", &seconds, &nanoseconds) == 2)
		time_namespace_ns = seconds * 1000000000ll + nanoseconds;
	if (file)
		fclose(file);
}

static uint64_t hash_text(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ull;
	return hash;
}

static void read_line(const char *path, char *to, size_t size)
{
	FILE *file = fopen(path, "r");

	to[0] = 0;
	if (file && fgets(to, size, file))
		to[strcspn(to, "\n")] = 0;
	if (file)
		fclose(file);
}

/* The best of a few tries: an interrupt between the readings makes a pair worthless. */
static void write_clock(void)
{
	struct th_clock best = {.error_ns = ~0ull};

	for (int i = 0; i < 5; i++) {
		uint64_t before = read_clock(CLOCK_REALTIME);
		uint64_t mono = mono_now();
		uint64_t after = read_clock(CLOCK_REALTIME);
		uint64_t error = after > before ? (after - before + 1) / 2 : 1;
		if (after >= before && error < best.error_ns)
			best = (struct th_clock){.mono_ns = mono, .utc_ns = before + (after - before) / 2, .error_ns = error};
	}
	output_frame(TH_RECORD_CLOCK, &best, sizeof(best), NULL, 0);
}

static void write_watermark(void)
{
	struct th_watermark mark = {.mono_ns = watermark_ns};

	if (watermark_ns)
		output_frame(TH_RECORD_WATERMARK, &mark, sizeof(mark), NULL, 0);
}

static void see_thread_event(const struct th_thread_event *event)
{
	struct seen_process seen = {.process_id = event->process_id, .pid = event->pid, .comm = (const char *)event->comm};

	if (event->op == TH_THREAD_FORK && event->target_pid != event->pid) {
		if (!process_known(seen.process_id))
			process_seen(&seen, false);
		seen.process_id = event->target_process_id;
		seen.pid = event->target_pid;
		seen.started_mono_ns = event->mono_ns;
		process_seen(&seen, false);
	} else if (event->op == TH_THREAD_EXEC) {
		process_seen(&seen, true);
	} else if (event->op == TH_THREAD_EXIT && event->exit_process) {
		process_ended(&seen, event->mono_ns);
	} else if (!process_known(seen.process_id)) {
		process_seen(&seen, false);
	}
}

/* The kernel puts a frame's status first, the record last. */
static void take_stack(const struct th_frame *frame)
{
	struct {
		struct th_frame frame;
		uint8_t bytes[4096];
	} copy;
	size_t at = sizeof(struct th_stack);

	if (frame->length > sizeof(copy.bytes))
		return;
	memcpy(&copy, frame, sizeof(*frame) + frame->length);
	for (; at + sizeof(struct bpf_stack_build_id) <= frame->used; at += sizeof(struct bpf_stack_build_id)) {
		struct bpf_stack_build_id one;
		uint32_t status;
		memcpy(&one, copy.bytes + at, sizeof(one));
		status = one.status;
		memcpy(copy.bytes + at, one.build_id, 20);
		memcpy(copy.bytes + at + 20, &status, 4);
		memcpy(copy.bytes + at + 24, &one.offset, 8);
	}
	output_raw(&copy, sizeof(*frame) + frame->length);
}

static bool take(const void *record, size_t length)
{
	const struct th_frame *frame = record;
	const struct th_ring_thread *thread = record;
	size_t used;

	if (output_room() < OUTPUT_MARGIN)
		return false;
	used = item_length(record, length);
	if (!used)
		return true;
	switch (frame->magic) {
	case TH_RING_THREAD:
		if (thread->process_id && !process_known(thread->process_id)) {
			char comm[17] = "";
			memcpy(comm, thread->comm, 16);
			process_seen(&(struct seen_process){.process_id = thread->process_id, .cgroup_id = thread->cgroup_id, .pid = thread->pid, .comm = comm}, false);
		}
		break;
	case TH_RING_EVENT:
	case TH_RING_WAKE:
		events_seen++;
		break;
	case TH_FRAME_MAGIC:
		if (frame->type == TH_RECORD_STACK) {
			take_stack(frame);
			return true;
		}
		events_seen++;
		see_thread_event((const void *)(frame + 1));
		break;
	}
	output_raw(record, used);
	return true;
}

/* What has no space in the ring yet will carry a later time than now (the kernel takes the time after the space), and what has
 * is before the producers' position of now. So once that is reached, now is the watermark. */
static bool drain(void)
{
	uint64_t now = mono_now();
	bool all = ring_drain(&ring, take);

	if (all)
		watermark_ns = now;
	return all;
}

/* Reads an iterator to its end, draining the ring between its pieces. */
static void run_iterator(const char *name, size_t piece, void (*each)(const void *))
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	uint8_t buffer[4096];
	struct bpf_link *link;
	ssize_t length;
	int fd;

	if (!bpf_program__autoload(program))
		return;
	link = bpf_program__attach_iter(program, NULL);
	if (!link)
		return;
	fd = bpf_iter_create(bpf_link__fd(link));
	while (fd >= 0 && !stopping) {
		length = read(fd, buffer, piece == 1 ? 64 : sizeof(buffer) / piece * piece);
		if (length < 0 && errno == EAGAIN)
			continue;
		if (length <= 0)
			break;
		if (each)
			for (ssize_t at = 0; at + (ssize_t)piece <= length; at += piece)
				each(buffer + at);
		drain();
		/* While the reader is given nothing there is no waiting for it. */
		if (!output_flush() || (output_room() < OUTPUT_MARGIN && !output_flush_all(FLUSH_MS)))
			break;
	}
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
}

static void see_task_line(const void *bytes)
{
	struct th_task_line line;

	memcpy(&line, bytes, sizeof(line));
	process_seen(&(struct seen_process){.process_id = line.process_id, .started_mono_ns = line.start_mono_ns, .cgroup_id = line.cgroup_id, .pid = line.pid}, false);
}

static void find_existing(void)
{
	run_iterator("existing_processes", sizeof(struct th_task_line), see_task_line);
	run_iterator("existing_sockets", 1, NULL);
}

static void write_capabilities(void)
{
	for (size_t i = 0; i < hooks.count; i++) {
		const struct capability *one = &hooks.capabilities[i];
		struct th_capability fixed = {.ok = one->ok, .required = one->required};
		output_frame(TH_RECORD_CAPABILITY, &fixed, sizeof(fixed), (const char *[]){one->name, one->hook, one->mend}, 3);
	}
}

static void prepare(struct bpf_object *loaded)
{
	const char *why;

	object = loaded;
	live = scope_open(loaded);
	if (!live) {
		scope_error = "cannot map the settings of the kernel programs";
		return;
	}
	losses_open(loaded, live);
	scope_exclude(getpid());
	for (size_t i = 0; i < options.excluded_count; i++)
		scope_exclude(options.excluded[i]);
	for (size_t i = 0; i < options.scope_count && !scope_error; i++)
		if (!scope_add(options.scopes[i], &why))
			scope_error = why;
}

/* What the reader makes of it can wait: while others need the processors it sleeps, as long as there is room for what it misses. */
static void yield_to_others(void)
{
	bool busy = machine_busy();

	output_hold(busy && spill_used() < spill_capacity() / 2);
}

int main(int argc, char **argv)
{
	char boot_id[64], hostname[256] = "";
	struct th_settings settings;
	struct sigaction action = {.sa_handler = on_signal};
	uint64_t reported = 0, swept = 0, epoch_began = 0, yielded = 0, drained_at, position;
	struct utsname kernel;
	bool drained = true, stop = false;
	int code = 0, pause_ms = 0, wakes;

	if (!options_read(argc, argv, &options, &settings))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	read_time_namespace();
	read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
	gethostname(hostname, sizeof(hostname) - 1);
	uname(&kernel);
	settings.salt = th_mix(hash_text(options.node ? options.node : hostname), hash_text(boot_id));
	/* The kernel wants a power of two, in pages. */
	size_t size = sysconf(_SC_PAGESIZE);
	while (size < options.ring_bytes)
		size *= 2;
	settings.ring_half = size / 2;
	settings.ring_wakes = size / 100 * 65;
	settings.ring_most = size / 10 * 8;
	settings.ring_full = size / 10 * 9;

	output_open();
	if (options.spill && !spill_open(options.spill, options.spill_bytes))
		complain(0, "what its reader cannot take at once is dropped, because there can be no file in %s: %s", options.spill, strerror(errno));
	bool collecting = hooks_open(&hooks, options.hooks, size, &settings, prepare);
	if (options.probe || !collecting) {
		write_capabilities();
		output_flush_all(FLUSH_MS);
		hooks_close(&hooks);
		return collecting ? 0 : complain(1, "%s", hooks.error);
	}
	if (scope_error) {
		hooks_close(&hooks);
		return complain(1, "%s", scope_error);
	}
	struct bpf_map *map = bpf_object__find_map_by_name(object, "ring");
	if (!ring_open(&ring, bpf_map__fd(map), bpf_map__max_entries(map))) {
		hooks_close(&hooks);
		return complain(1, "cannot map the ring buffer: %s", strerror(errno));
	}
	/* The run begins with its hooks: nobody watched before. */
	struct th_hello hello = {.run_id = read_clock(CLOCK_REALTIME), .abi_version = TH_ABI_VERSION, .cpus = libbpf_num_possible_cpus(), .ring_bytes = bpf_map__max_entries(map), .started_mono_ns = mono_now()};
	output_frame(TH_RECORD_HELLO, &hello, sizeof(hello), (const char *[]){boot_id, hostname, kernel.release}, 3);
	if (settings.task_identity && !task_identity_lacks(object))
		task_identity_open(object, live);
	write_capabilities();
	write_clock();
	find_existing();
	wakes = pace_open(bpf_map__fd(map));
	drained_at = mono_now();
	position = *ring.consumer;

	while (!stop && !stopping) {
		struct pollfd watched[3] = {
			{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = output_waiting() ? STDOUT_FILENO : -1, .events = POLLOUT}, {.fd = wakes, .events = POLLIN}};
		/* With room in the pipe and more in the ring there is nothing to wait for. */
		poll(watched, 3, !drained && output_room() > OUTPUT_MARGIN ? 0 : pause_ms);
		if (watched[2].revents)
			pace_woken();
		if (watched[0].revents) {
			int asked = control_read(find_existing);
			if (asked < 0) {
				code = complain(1, "standard input carries something that is no control frame: a newer or older tracehouse may be talking to this loader, or a terminal");
				break;
			}
			stop = asked > 0;
		}
		uint64_t now = mono_now();
		drained = drain();
		pause_ms = pace_ms(*ring.consumer - position, now - drained_at);
		position = *ring.consumer;
		drained_at = now;
		if (now - reported >= REPORT_NS && output_room() > OUTPUT_MARGIN) {
			write_clock();
			losses_report(&hooks, mono_now());
			write_watermark();
			task_identity_sweep(now);
			reported = now;
			if (now - epoch_began >= EPOCH_NS) {
				live->tell_epoch++;
				epoch_began = now;
			}
			if (now - swept >= SWEEP_NS) {
				processes_sweep(now);
				swept = now;
			}
		}
		/* Also while its output has no room: it may be held, and the file for what waits be full. */
		if (options.gives_way && now - yielded >= REPORT_NS) {
			yield_to_others();
			yielded = now;
		}
		if (!output_flush()) {
			hooks_close(&hooks);
			return complain(1, "%s", output_failure());
		}
	}

	output_hold(false);
	task_identity_close();
	hooks_close(&hooks);
	/* What was being written when the hooks went is complete after a moment; all else is there. Long may it take only while the
	 * reader takes what waited before. */
	uint64_t reached = *ring.consumer, deadline = mono_now() + FLUSH_MS * 1000000ull;
	bool taken = true;
	do {
		uint64_t now = mono_now();
		bool all = ring_drain(&ring, take);
		if (all && *ring.consumer == __atomic_load_n(ring.producer, __ATOMIC_ACQUIRE)) {
			watermark_ns = now;
			break;
		}
		if (*ring.consumer != reached)
			deadline = mono_now() + FLUSH_MS * 1000000ull;
		else if (mono_now() > deadline)
			break;
		reached = *ring.consumer;
		taken = output_flush_all(FLUSH_MS);
	} while (taken);
	taken = taken && output_flush_all(FLUSH_MS);
	if (!taken)
		return complain(1, "%s", output_failure());
	write_clock();
	losses_report(&hooks, mono_now());
	write_watermark();
	struct th_bye bye = {.events_seen = events_seen, .events_lost = losses_told() + expand_lost(), .waited_bytes = spill_most()};
	output_frame(TH_RECORD_BYE, &bye, sizeof(bye), NULL, 0);
	if (!output_flush_all(FLUSH_MS))
		return complain(1, "%s", output_failure());
	return code;
}
