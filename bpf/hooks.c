/* SPDX-License-Identifier: Apache-2.0 */
#include "hooks.h"
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>
#include <malloc.h>
#include "records.h"
#include "return-probe.h"
#include "scope.h"
#include "task-identity.h"

/* The BPF object is part of this file, so that one file is all there is to install. */
asm(".section .rodata\n"
    ".balign 16\n"
    "bpf_object_begin: .incbin \"" BPF_OBJECT "\"\n"
    "bpf_object_end: .byte 0\n"
    ".previous\n");
extern const char bpf_object_begin[], bpf_object_end[];

enum { TP = 1, FEXIT = 2, KPROBE = 4, ANY = 7 };
static const struct {
	int bit;
	const char *name;
} kinds[] = {{TP, "tp"}, {FEXIT, "fexit"}, {KPROBE, "kprobe"}};

/* How a program hangs on the kernel, and what must be there for it. */
struct hook {
	const char *program;
	int kinds;
	char how; /* b: BTF tracepoint, f: fexit, k: kprobe, r: kretprobe, s: syscall tracepoint, i: iterator, u: uprobe, attached later */
	const char *on;
	bool optional;
	const char *instead_of; /* if there is one: the program is only for kernels where nothing can hang on this function */
};

#if defined(__x86_64__)
#define SYSCALL(name) "__x64_sys_" name
#else
#define SYSCALL(name) "__arm64_sys_" name
#endif
/* A tracepoint of a system call makes every call of every process slower, an fentry program only the call that it is on. */
#define ON_CALL(fentry, how, program, call) \
	{fentry, TP | FEXIT, 'f', SYSCALL(call), true}, {program, ANY, 's', how call, true, SYSCALL(call)}

static const struct hook hook_table[] = {
	{"send_length", TP, 'b', "sock_send_length", false},
	{"recv_length", TP, 'b', "sock_recv_length", false},
	{"splice_exit", TP | FEXIT, 'f', "tcp_splice_read", true},
	{"zerocopy_exit", TP | FEXIT, 'f', "tcp_getsockopt", true},
	{"space_adjust", ANY, 'b', "tcp_rcv_space_adjust", true, "tcp_splice_read"},
	/* 6.3 and 6.4 have the length tracepoints, yet sendfile still passes by sendpage. */
	{"tcp_sendpage_exit", TP | FEXIT, 'f', "tcp_sendpage", true},
	{"unix_sendpage_exit", TP | FEXIT, 'f', "unix_stream_sendpage", true},
	{"tcp_sendmsg_exit", FEXIT, 'f', "tcp_sendmsg", false},
	{"tcp_recvmsg_exit", FEXIT, 'f', "tcp_recvmsg", false},
	{"tcp_recvmsg_exit_nonblock", FEXIT, 'f', "tcp_recvmsg", false},
	{"unix_sendmsg_exit", FEXIT, 'f', "unix_stream_sendmsg", false},
	{"unix_recvmsg_exit", FEXIT, 'f', "unix_stream_recvmsg", false},
	{"tcp_sendmsg_enter", KPROBE, 'k', "tcp_sendmsg", false},
	{"tcp_sendpage_enter", KPROBE, 'k', "tcp_sendpage", true},
	{"tcp_recvmsg_enter", KPROBE, 'k', "tcp_recvmsg", false},
	{"tcp_recvmsg_enter_nonblock", KPROBE, 'k', "tcp_recvmsg", false},
	{"unix_sendmsg_enter", KPROBE, 'k', "unix_stream_sendmsg", false},
	{"unix_sendpage_enter", KPROBE, 'k', "unix_stream_sendpage", true},
	{"unix_recvmsg_enter", KPROBE, 'k', "unix_stream_recvmsg", false},
	{"send_return", KPROBE, 'r', "tcp_sendmsg", false},
	{"send_return", KPROBE, 'r', "tcp_sendpage", true},
	{"send_return", KPROBE, 'r', "unix_stream_sendmsg", false},
	{"send_return", KPROBE, 'r', "unix_stream_sendpage", true},
	{"recv_return", KPROBE, 'r', "tcp_recvmsg", false},
	{"recv_return", KPROBE, 'r', "unix_stream_recvmsg", false},
	{"set_state", ANY, 'b', "inet_sock_set_state", false},
	{"destroy_sock", ANY, 'b', "tcp_destroy_sock", true},
	{"accept_install", TP | FEXIT, 'f', "fd_install", true},
	{"accept_exit", ANY, 's', "sys_exit_accept", true, "fd_install"},
	{"accept_exit", ANY, 's', "sys_exit_accept4", true, "fd_install"},
	ON_CALL("connect_return", "sys_exit_", "connect_exit", "connect"),
	ON_CALL("close_call", "sys_enter_", "close_enter", "close"),
	ON_CALL("turn_epoll_wait", "sys_enter_", "turn_enter", "epoll_wait"),
	ON_CALL("turn_epoll_pwait", "sys_enter_", "turn_enter", "epoll_pwait"),
	ON_CALL("turn_epoll_pwait2", "sys_enter_", "turn_enter", "epoll_pwait2"),
	ON_CALL("turn_poll", "sys_enter_", "turn_enter", "poll"),
	ON_CALL("turn_ppoll", "sys_enter_", "turn_enter", "ppoll"),
	ON_CALL("turn_select", "sys_enter_", "turn_enter", "select"),
	ON_CALL("turn_pselect6", "sys_enter_", "turn_enter", "pselect6"),
	{"process_fork", ANY, 'b', "sched_process_fork", false},
	{"process_exec", ANY, 'b', "sched_process_exec", false},
	{"process_exit", ANY, 'b', "sched_process_exit", false},
	{"waking", ANY, 'b', "sched_waking", true},
#if defined(__x86_64__)
	{"round_trip", ANY, 'u', NULL, true},
#endif
	{"existing_processes", ANY, 'i', NULL, true},
	{"existing_sockets", ANY, 'i', NULL, true},
};
#define HOOKS (sizeof(hook_table) / sizeof(hook_table[0]))

static struct bpf_link *links[HOOKS];
static struct btf *kernel;
static const char *trace_folder;
static char log_tail[8192];
static size_t log_length;

static int keep_log(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[1024];
	size_t length;

	if (level == LIBBPF_DEBUG)
		return 0;
	if (getenv("TRACEHOUSE_LOADER_LOG")) {
		va_list copy;
		va_copy(copy, args);
		vfprintf(stderr, format, copy);
		va_end(copy);
	}
	vsnprintf(line, sizeof(line), format, args);
	length = strlen(line);
	if (log_length + length < sizeof(log_tail)) {
		memcpy(log_tail + log_length, line, length + 1);
		log_length += length;
	}
	return 0;
}

static bool has_tracepoint(const char *name)
{
	char type[128];

	snprintf(type, sizeof(type), "btf_trace_%s", name);
	return kernel && btf__find_by_name_kind(kernel, type, BTF_KIND_TYPEDEF) > 0;
}

/* Number of arguments, -1 = no such function. */
static int arguments_of(const char *name)
{
	int id = kernel ? btf__find_by_name_kind(kernel, name, BTF_KIND_FUNC) : -1;

	return id < 0 ? -1 : btf_vlen(btf__type_by_id(kernel, btf__type_by_id(kernel, id)->type));
}

static bool has_syscall_hook(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/events/syscalls/%s/id", trace_folder ? trace_folder : "/nowhere", name);
	return trace_folder && access(path, R_OK) == 0;
}

static bool has_hook(const struct hook *hook)
{
	int arguments;

	switch (hook->how) {
	case 'b':
		return has_tracepoint(hook->on);
	case 's':
		return has_syscall_hook(hook->on);
	case 'i':
	case 'u':
		return true;
	}
	arguments = arguments_of(hook->on);
	if (!strcmp(hook->on, "tcp_recvmsg") && hook->how != 'r')
		return arguments == (strstr(hook->program, "nonblock") ? 6 : 5);
	return arguments >= 0;
}

static int member_offset(const struct btf_type *type, const char *name)
{
	const struct btf_member *members = btf_members(type);

	for (int i = 0; i < btf_vlen(type); i++) {
		const char *here = btf__name_by_offset(kernel, members[i].name_off);
		int offset = btf_member_bit_offset(type, i) / 8;
		const struct btf_type *inner = btf__type_by_id(kernel, members[i].type);
		if (!strcmp(here, name))
			return offset;
		if (!*here && btf_is_composite(inner)) {
			int deeper = member_offset(inner, name);
			if (deeper >= 0)
				return offset + deeper;
		}
	}
	return -1;
}

/* From a CPU's run queue to its preempt count, out of the kernel's own layout of per-CPU memory; see preempt_count(). */
static int64_t preempt_delta(void)
{
	int64_t queue = -1, count = -1;
	int id = kernel ? btf__find_by_name_kind(kernel, ".data..percpu", BTF_KIND_DATASEC) : -1;

	if (id > 0) {
		const struct btf_type *section = btf__type_by_id(kernel, id);
		const struct btf_var_secinfo *vars = btf_var_secinfos(section);
		for (int i = 0; i < btf_vlen(section); i++) {
			const struct btf_type *var = btf__type_by_id(kernel, vars[i].type);
			const char *name = btf__name_by_offset(kernel, var->name_off);
			if (!strcmp(name, "runqueues"))
				queue = vars[i].offset;
			else if (!strcmp(name, "__preempt_count"))
				count = vars[i].offset;
			else if (!strcmp(name, "pcpu_hot")) {
				int inside = member_offset(btf__type_by_id(kernel, btf__resolve_type(kernel, var->type)), "preempt_count");
				if (inside >= 0)
					count = (int64_t)vars[i].offset + inside;
			}
		}
	}
	return queue >= 0 && count >= 0 ? count - queue : 0;
}

/* tracefs is mounted for us alone when the machine has none; the host's mounts stay as they are. Returns a descriptor of the
 * namespace to go back to, or -1. */
static int find_tracefs(void)
{
	static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	int home;

	for (size_t i = 0; i < 2; i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/events", places[i]);
		if (!access(path, R_OK)) {
			trace_folder = places[i];
			return -1;
		}
	}
	home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (home < 0 || unshare(CLONE_NEWNS)) {
		if (home >= 0)
			close(home);
		return -1;
	}
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (!mount("tracefs", places[0], "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		trace_folder = places[0];
	return home;
}

/* How much is tried: if the kernel refuses all programs, those come off that can be done without. */
enum { ALL, NO_TRAMPOLINES, NO_TASKS, BARE, LEVELS };

/* On some kernels and machines no program can hang on a function's entry, though it is in the type information. */
static bool can_hang_on(const char *function, int kind, int level)
{
	return kind != KPROBE && (kind == FEXIT || level == ALL) && arguments_of(function) >= 0;
}

static bool wants(const struct hook *hook, int kind, int level, const struct th_settings *settings)
{
	if (!(hook->kinds & kind) || (level == BARE && hook->optional))
		return false;
	if (hook->how == 'f' && !can_hang_on(hook->on, kind, level))
		return false;
	if (hook->instead_of && can_hang_on(hook->instead_of, kind, level))
		return false;
	if (hook->how == 'u' && (level == NO_TASKS || !settings->task_identity))
		return false;
	if (!strncmp(hook->program, "turn_", 5) && !settings->turns)
		return false;
	if (!strcmp(hook->program, "waking") && !settings->wakes)
		return false;
	return has_hook(hook);
}

static int attach(const struct hook *hook, struct bpf_program *program, struct bpf_link **link)
{
	switch (hook->how) {
	case 'k':
		*link = bpf_program__attach_kprobe(program, false, hook->on);
		break;
	case 'r':
		*link = return_probe_attach(program, hook->on);
		break;
	case 's':
		*link = bpf_program__attach_tracepoint(program, "syscalls", hook->on);
		break;
	case 'i':
	case 'u':
		return 0;
	default:
		*link = bpf_program__attach(program);
	}
	return *link ? 0 : -errno;
}

static void detach_all(void)
{
	for (size_t i = 0; i < HOOKS; i++) {
		bpf_link__destroy(links[i]);
		links[i] = NULL;
	}
	return_probe_close();
}

/* One try with one kind of hooks. Returns 0, or a negative errno. */
static int try_kind(struct hooks *hooks, int kind, int level, size_t ring_bytes, const struct th_settings *settings, void (*prepare)(struct bpf_object *))
{
	struct bpf_program *program;
	struct bpf_map *map;
	size_t size;
	int error;

	log_length = 0;
	log_tail[0] = 0;
	hooks->object = bpf_object__open_mem(bpf_object_begin, bpf_object_end - bpf_object_begin, NULL);
	if (!hooks->object)
		return -errno;
	bpf_object__for_each_program(program, hooks->object)
		bpf_program__set_autoload(program, false);
	for (size_t i = 0; i < HOOKS; i++)
		if (wants(&hook_table[i], kind, level, settings))
			bpf_program__set_autoload(bpf_object__find_program_by_name(hooks->object, hook_table[i].program), true);
	map = bpf_object__find_map_by_name(hooks->object, "ring");
	bpf_map__set_max_entries(map, ring_bytes);
	map = bpf_object__find_map_by_name(hooks->object, ".rodata.settings");
	memcpy((void *)bpf_map__initial_value(map, &size), settings, sizeof(*settings));
	error = bpf_object__load(hooks->object);
	if (!error && prepare)
		prepare(hooks->object);
	for (size_t i = 0; i < HOOKS && !error; i++) {
		if (!wants(&hook_table[i], kind, level, settings))
			continue;
		program = bpf_object__find_program_by_name(hooks->object, hook_table[i].program);
		error = attach(&hook_table[i], program, &links[i]);
		/* Where a tracepoint does the same it is worth another try. */
		if (error && hook_table[i].optional && !(hook_table[i].how == 'f' && kind == TP))
			error = 0;
	}
	if (error) {
		detach_all();
		bpf_object__close(hooks->object);
		hooks->object = NULL;
	}
	return error;
}

static const struct hook *attached(const char *program)
{
	for (size_t i = 0; i < HOOKS; i++)
		if (links[i] && !strcmp(hook_table[i].program, program))
			return &hook_table[i];
	return NULL;
}

static struct capability *say(struct hooks *hooks, const char *name, bool required, bool ok, const char *mend, const char *format, ...)
{
	struct capability *one = &hooks->capabilities[hooks->count++];
	va_list args;

	one->name = name;
	one->required = required;
	one->ok = ok;
	one->mend = ok ? "" : mend;
	va_start(args, format);
	vsnprintf(one->hook, sizeof(one->hook), format, args);
	va_end(args);
	return one;
}

/* A capability that one of two programs gives: on the entry or return of functions, or else on tracepoints. */
static void say_either(struct hooks *hooks, const char *name, const char *program, const char *functions, const char *fallback, const char *tracepoints, const char *mend)
{
	const char *how = attached(program) ? functions : attached(fallback) ? tracepoints : "none";

	say(hooks, name, false, strcmp(how, "none"), mend, "%s", how);
}

static bool kind_possible(int kind)
{
	for (size_t i = 0; i < HOOKS; i++)
		if ((hook_table[i].kinds & kind) && hook_table[i].kinds != ANY && !hook_table[i].optional && !strstr(hook_table[i].program, "nonblock") &&
		    strcmp(hook_table[i].on, "tcp_recvmsg") && !has_hook(&hook_table[i]))
			return false;
	return true;
}

static void describe(struct hooks *hooks, int kind, const struct th_settings *settings)
{
	const char *tracefs_mend = "Mount tracefs: mount -t tracefs tracefs /sys/kernel/tracing";
	const char *syscall_mend = trace_folder ? "This kernel is built without CONFIG_FTRACE_SYSCALLS; a distribution's kernel has it." : tracefs_mend;
	bool loaded = hooks->object != NULL;
	const char *cgroups = cgroup_mount();

	say(hooks, "socket reads and writes", true, loaded,
	    "None of the three ways to see socket I/O works: it needs Linux 6.3 or later, or fentry programs, or CONFIG_KPROBES. Run a distribution's kernel, or allow BPF programs to attach (lockdown and container runtimes may forbid it).", "%s",
	    !loaded		? "none"
	    : kind == TP	? "tracepoints sock_send_length, sock_recv_length"
	    : kind == FEXIT ? "fexit on tcp_sendmsg, tcp_recvmsg, unix_stream_sendmsg, unix_stream_recvmsg"
			    : "kprobe and kretprobe on tcp_sendmsg, tcp_recvmsg, unix_stream_sendmsg, unix_stream_recvmsg");
	say_either(hooks, "reads by splice", "splice_exit", "fexit on tcp_splice_read, tcp_getsockopt", "space_adjust", "tracepoint tcp_rcv_space_adjust",
		   "This kernel lacks the tracepoint tcp_rcv_space_adjust: reads by splice() are not seen.");
	say(hooks, "connections", true, attached("set_state"), "The tracepoint inet_sock_set_state is missing: Linux 5.15 or later is needed.", "%s",
	    attached("set_state") ? "tracepoint inet_sock_set_state" : "none");
	say_either(hooks, "accept", "accept_install", "fentry on fd_install", "accept_exit", "system call tracepoints sys_exit_accept, sys_exit_accept4", syscall_mend);
	say_either(hooks, "connect of Unix sockets", "connect_return", "fexit on " SYSCALL("connect"), "connect_exit", "system call tracepoint sys_exit_connect", syscall_mend);
	say_either(hooks, "close of Unix sockets", "close_call", "fentry on " SYSCALL("close"), "close_enter", "system call tracepoint sys_enter_close", syscall_mend);
	if (settings->turns)
		say_either(hooks, "turns of event loops", "turn_ppoll", "fentry on " SYSCALL("epoll_wait") " and poll, select and kin", "turn_enter", "system call tracepoints epoll_wait, poll, select and kin", syscall_mend);
	else
		say(hooks, "turns of event loops", false, true, "", "%s", "left out by --no-turns");
	say(hooks, "life of threads", true, attached("process_fork"), "The scheduler's tracepoints cannot be attached: Linux 5.15 or later is needed.", "%s",
	    attached("process_fork") ? "tracepoints sched_process_fork, exec, exit" : "none");
	say(hooks, "wakes between threads", false, attached("waking") || !settings->wakes, "The tracepoint sched_waking cannot be attached: hand-overs between threads are not seen.", "%s",
	    attached("waking") ? "tracepoint sched_waking" : settings->wakes ? "none" : "left out by --no-wakes");
	const char *lacks = loaded ? task_identity_lacks(hooks->object) : "No kernel programs are loaded.";
	say(hooks, "goroutines", false, !lacks || !settings->task_identity, lacks, "%s",
	    !settings->task_identity ? "left out by --task-identity off" : lacks ? "none" : "register of Go's system calls, uprobe on net/http's roundTrip");
	say(hooks, "telling interrupts from callers", false, settings->preempt_delta != 0, "The kernel's type information does not tell where the preempt count lies: wakes from interrupts are told by a guess.", "%s",
	    settings->preempt_delta ? "preempt count of the CPU" : "system call number");
	say(hooks, "connections older than the collector", false, loaded, "The iterators over tasks and files are missing: older connections appear with their first event.", "%s",
	    loaded ? "iterators task and task_file" : "none");
	struct stat about;
	/* The first pid namespace has a fixed number. */
	bool first = !stat("/proc/self/ns/pid", &about) && about.st_ino == 0xEFFFFFFCu;
	say(hooks, "process ids of the host", false, first, "The collector runs in a pid namespace of its own: processes cannot be looked up by the numbers that the kernel tells. Start it in the host's (docker run --pid=host).", "%s",
	    first ? "first pid namespace" : "another pid namespace");
	say(hooks, "tracefs", false, trace_folder != NULL, tracefs_mend, "%s", trace_folder ? trace_folder : "not mounted");
	say(hooks, "cgroup v2", false, cgroups != NULL, "No cgroup v2 is mounted, so a scope by cgroup is not possible: mount -t cgroup2 none /sys/fs/cgroup/unified", "%s", cgroups ? cgroups : "not mounted");
}

bool hooks_open(struct hooks *hooks, const char *kind, size_t ring_bytes, const struct th_settings *wanted, void (*prepare)(struct bpf_object *))
{
	struct th_settings settings = *wanted;
	int chosen = 0, error = 0, home;
	bool auto_kind = !strcmp(kind, "auto");

	libbpf_set_print(keep_log);
	say(hooks, "root", true, geteuid() == 0, "Run it as root (sudo).", "%s", geteuid() == 0 ? "user id 0" : "user id is not 0");
	kernel = access("/sys/kernel/btf/vmlinux", R_OK) == 0 ? btf__load_vmlinux_btf() : NULL;
	if (kernel && libbpf_get_error(kernel))
		kernel = NULL;
	say(hooks, "kernel type information (BTF)", true, kernel != NULL, "This kernel is built without CONFIG_DEBUG_INFO_BTF: run a distribution's kernel of the last years (Debian 11, Ubuntu 20.10 or later).", "%s",
	    kernel ? "/sys/kernel/btf/vmlinux" : "missing");
	if (geteuid() != 0 || !kernel) {
		snprintf(hooks->error, sizeof(hooks->error), "%s: %s", geteuid() ? "tracing the kernel needs root" : "the kernel has no type information (/sys/kernel/btf/vmlinux is missing)",
			 geteuid() ? "run it with sudo" : "run a distribution's kernel, which is built with CONFIG_DEBUG_INFO_BTF");
		return false;
	}
	home = find_tracefs();
	if (trace_folder)
		return_probe_open(trace_folder);
	settings.preempt_delta = preempt_delta();
	for (int level = ALL; level < LEVELS && !hooks->object; level++)
		for (size_t i = 0; i < 3 && !hooks->object; i++) {
			if (!auto_kind && strcmp(kind, kinds[i].name))
				continue;
			/* Tracepoints without programs on functions come before kprobes, and fexit without them is nothing new. */
			if (auto_kind && (level == ALL ? kinds[i].bit == KPROBE : level == NO_TRAMPOLINES && kinds[i].bit == FEXIT))
				continue;
			if (!kind_possible(kinds[i].bit)) {
				if (!auto_kind)
					error = -ENOENT;
				continue;
			}
			chosen = kinds[i].bit;
			error = try_kind(hooks, chosen, level, ring_bytes, &settings, prepare);
		}
	/* Only the attaching needed tracefs; names of network namespaces are looked up where the host mounts them. */
	if (home >= 0) {
		if (setns(home, CLONE_NEWNS))
			snprintf(hooks->error, sizeof(hooks->error), "cannot return to the mount namespace: %s", strerror(errno));
		close(home);
	}
	describe(hooks, chosen, &settings);
	/* Some 20 MiB that nothing looks into any more. */
	btf__free(kernel);
	kernel = NULL;
	malloc_trim(0);
	if (!hooks->object) {
		char *first = strtok(log_tail, "\n");
		snprintf(hooks->error, sizeof(hooks->error), "no way to see socket I/O works on this kernel%s%s (%s; %.200s): run the loader with --probe, or `tracehouse doctor`, for what is missing",
			 auto_kind ? "" : " with --hooks ", auto_kind ? "" : kind, strerror(-error), first ? first : "no log");
		return false;
	}
	return true;
}

static int cause_of_miss(const char *program)
{
	if (!strcmp(program, "waking"))
		return TH_LOSS_WAKE_SHED;
	if (!strcmp(program, "set_state") || !strcmp(program, "destroy_sock"))
		return TH_LOSS_STATE_MISSED;
	return TH_LOSS_HOOK_MISSED;
}

void hooks_missed(const struct hooks *hooks, unsigned long long missed[TH_LOSS_SLOTS])
{
	struct bpf_program *program;

	memset(missed, 0, TH_LOSS_SLOTS * sizeof(*missed));
	missed[TH_LOSS_HOOK_MISSED] = return_probe_missed();
	bpf_object__for_each_program(program, hooks->object) {
		struct bpf_prog_info info = {};
		__u32 size = sizeof(info);
		int fd = bpf_program__fd(program);
		/* It makes no event. */
		if (!strcmp(bpf_program__name(program), "round_trip"))
			continue;
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size))
			missed[cause_of_miss(bpf_program__name(program))] += info.recursion_misses;
	}
}

void hooks_close(struct hooks *hooks)
{
	detach_all();
}
