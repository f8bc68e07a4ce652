/* SPDX-License-Identifier: Apache-2.0 */
#include "hook-table.h"

/* A tracepoint of a system call makes every call of every process slower, an fentry program only the call that it is on. */
#define ON_CALL(fentry, how, program, call) \
	{fentry, TP | FEXIT, 'f', SYSCALL(call), true}, {program, ANY, 's', how call, true, {SYSCALL(call)}}

const struct hook hook_table[] = {
	{"send_length", TP, 'b', "sock_send_length", false},
	{"recv_length", TP, 'b', "sock_recv_length", false},
	{"splice_exit", TP | FEXIT, 'f', "tcp_splice_read", true},
	{"zerocopy_exit", TP | FEXIT, 'f', "tcp_getsockopt", true},
	{"splice_return", ANY, 's', "sys_exit_splice", true, {"tcp_splice_read"}},
	{"splice_return", ANY, 's', "sys_exit_getsockopt", true, {"tcp_getsockopt"}},
	{"space_adjust", ANY, 'b', "tcp_rcv_space_adjust", true, {"tcp_splice_read", "sys_exit_splice"}},
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
	{"accept_exit", ANY, 's', "sys_exit_accept", true, {"fd_install"}},
	{"accept_exit", ANY, 's', "sys_exit_accept4", true, {"fd_install"}},
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
const size_t hook_count = sizeof(hook_table) / sizeof(hook_table[0]);
_Static_assert(sizeof(hook_table) / sizeof(hook_table[0]) <= HOOKS_MOST, "HOOKS_MOST");
