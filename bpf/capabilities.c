/* SPDX-License-Identifier: Apache-2.0 */
#include "capabilities.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "hook-table.h"
#include "scope.h"
#include "task-identity.h"
#include "trace-folder.h"

__attribute__((format(printf, 6, 7))) static void say(struct hooks *hooks, const char *name, bool required, bool ok, const char *mend, const char *format, ...)
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
}

/* A capability that one of two programs gives: on the entry or return of functions, or else on tracepoints. */
static void say_either(struct hooks *hooks, const char *name, const char *program, const char *functions, const char *fallback, const char *tracepoints, const char *mend)
{
	const char *how = hooks_attached(program) ? functions : hooks_attached(fallback) ? tracepoints : "none";

	say(hooks, name, false, strcmp(how, "none"), mend, "%s", how);
}

void capabilities_say_first(struct hooks *hooks, bool root, bool types)
{
	say(hooks, "root", true, root, "Run it as root (sudo).", "%s", root ? "user id 0" : "user id is not 0");
	say(hooks, "kernel type information (BTF)", true, types, "This kernel is built without CONFIG_DEBUG_INFO_BTF: run a distribution's kernel of the last years (Debian 11, Ubuntu 20.10 or later).", "%s",
	    types ? "/sys/kernel/btf/vmlinux" : "missing");
}

void capabilities_say(struct hooks *hooks, int kind, const struct th_settings *settings)
{
	const char *tracefs_mend = "Mount tracefs: mount -t tracefs tracefs /sys/kernel/tracing";
	const char *syscall_mend = trace_folder() ? "This kernel is built without CONFIG_FTRACE_SYSCALLS; a distribution's kernel has it." : tracefs_mend;
	bool loaded = hooks->object != NULL;
	const char *cgroups = cgroup_mount();

	say(hooks, "socket reads and writes", true, loaded,
	    "None of the three ways to see socket I/O works: it needs Linux 6.3 or later, or fentry programs, or CONFIG_KPROBES. Run a distribution's kernel, or allow BPF programs to attach (lockdown and container runtimes may forbid it).", "%s",
	    !loaded		? "none"
	    : kind == TP	? "tracepoints sock_send_length, sock_recv_length"
	    : kind == FEXIT ? "fexit on tcp_sendmsg, tcp_recvmsg, unix_stream_sendmsg, unix_stream_recvmsg"
			    : "kprobe and kretprobe on tcp_sendmsg, tcp_recvmsg, unix_stream_sendmsg, unix_stream_recvmsg");
	if (hooks_attached("space_adjust"))
		say(hooks, "reads by splice", false, true, "", "tracepoint tcp_rcv_space_adjust");
	else
		say_either(hooks, "reads by splice", "splice_exit", "fexit on tcp_splice_read, tcp_getsockopt", "splice_return", "system call tracepoints sys_exit_splice, sys_exit_getsockopt", syscall_mend);
	say(hooks, "connections", true, hooks_attached("set_state"), "The tracepoint inet_sock_set_state is missing: Linux 5.15 or later is needed.", "%s",
	    hooks_attached("set_state") ? "tracepoint inet_sock_set_state" : "none");
	say_either(hooks, "accept", "accept_install", "fentry on fd_install", "accept_exit", "system call tracepoints sys_exit_accept, sys_exit_accept4", syscall_mend);
	say_either(hooks, "connect of Unix sockets", "connect_return", "fexit on " SYSCALL("connect"), "connect_exit", "system call tracepoint sys_exit_connect", syscall_mend);
	say_either(hooks, "close of Unix sockets", "close_call", "fentry on " SYSCALL("close"), "close_enter", "system call tracepoint sys_enter_close", syscall_mend);
	if (settings->turns)
		say_either(hooks, "turns of event loops", "turn_ppoll", "fentry on " SYSCALL("epoll_wait") " and poll, select and kin", "turn_enter", "system call tracepoints epoll_wait, poll, select and kin", syscall_mend);
	else
		say(hooks, "turns of event loops", false, true, "", "%s", "left out by --no-turns");
	say(hooks, "life of threads", true, hooks_attached("process_fork"), "The scheduler's tracepoints cannot be attached: Linux 5.15 or later is needed.", "%s",
	    hooks_attached("process_fork") ? "tracepoints sched_process_fork, exec, exit" : "none");
	say(hooks, "wakes between threads", false, hooks_attached("waking") || !settings->wakes, "The tracepoint sched_waking cannot be attached: hand-overs between threads are not seen.", "%s",
	    hooks_attached("waking") ? "tracepoint sched_waking" : settings->wakes ? "none" : "left out by --no-wakes");
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
	say(hooks, "tracefs", false, trace_folder() != NULL, tracefs_mend, "%s", trace_folder() ? trace_folder() : "not mounted");
	say(hooks, "cgroup v2", false, cgroups != NULL, "No cgroup v2 is mounted, so a scope by cgroup is not possible: mount -t cgroup2 none /sys/fs/cgroup/unified", "%s", cgroups ? cgroups : "not mounted");
}
