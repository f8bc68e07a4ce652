/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What was there before the collector: processes in scope, and their open connections. */
#include "socket-event.bpf.h"

SEC("iter/task")
int existing_processes(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct th_task_line line = {};
	struct task_state *state;
	u32 reader;
	u8 one = 1;

	if (!task || (task->flags & PF_KTHREAD))
		return 0;
	/* Who reads this is the loader, whatever its number is in a namespace of its own. */
	if (ctx->meta->seq_num == 0) {
		reader = bpf_get_current_pid_tgid() >> 32;
		bpf_map_update_elem(&excluded_pids, &reader, &one, BPF_ANY);
	}
	if (task_excluded(task->tgid))
		return 0;
	line.netns = netns_of_task(task);
	if (!task_wanted(task) && !netns_wanted(line.netns))
		return 0;
	state = bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (state)
		decide(task, state);
	if (task->pid != task->tgid)
		return 0;
	line.process_id = process_id_of(task);
	line.start_mono_ns = task->start_time;
	line.cgroup_id = cgroup_id_of(task);
	line.pid = task->tgid;
	bpf_seq_write(ctx->meta->seq, &line, sizeof(line));
	return 0;
}

/* In place of a thread; 0 = the ring has no room. */
static __always_inline u64 send_process(struct task_struct *task, u32 epoch)
{
	struct th_ring_thread *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	u64 thread;

	if (!record)
		return 0;
	__builtin_memset(record, 0, sizeof(*record));
	record->head.kind = TH_RING_THREAD;
	record->head.epoch = epoch;
	record->process_id = process_id_of(task);
	record->thread = thread = record->process_id | 1ull << 63; /* no thread has it */
	record->cgroup_id = cgroup_id_of(task);
	record->pid = task->tgid;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return thread;
}

SEC("iter/task_file")
int existing_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sock_state *state;
	struct th_ring_event event = {.head = {.kind = TH_RING_EVENT, .epoch = live.tell_epoch}};
	struct socket *socket;
	struct sock *sk;
	u16 family;
	u8 told = 1;

	if (!task || !file || (task->flags & PF_KTHREAD))
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	family = stream_family(sk, true);
	if (!family || task_excluded(task->tgid))
		return 0;
	u8 tcp_state = sk->__sk_common.skc_state;
	if (family != AF_UNIX && (tcp_state == TCP_CLOSE || tcp_state == TCP_LISTEN))
		return 0;
	u32 netns = netns_of_sock(sk, true);
	if (!task_wanted(task) && !netns_wanted(netns))
		return 0;
	if (family == AF_UNIX && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_unix_sock)) {
		struct unix_sock *us = (struct unix_sock *)bpf_skc_to_unix_sock(sk);
		if (!us || !us->peer)
			return 0;
	}
	state = sock_of(sk, family, bpf_get_socket_cookie(sk), netns);
	if (!state)
		return 0;
	if (!(state->state & SOCK_LEARNT)) {
		if (family == AF_UNIX) {
			state->state |= SOCK_PREEXISTING | SOCK_RELATIVE;
			learn_unix(sk, true, state);
		} else {
			struct tcp_sock *tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
			if (!tp)
				return 0;
			learn_tcp(sk, state, tcp_state);
		}
	}
	state->state |= SOCK_OURS;
	if (family != AF_UNIX) {
		struct tcp_sock *tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
		struct positions at = {};
		if (tp && (state->state & SOCK_LEARNT)) {
			tcp_positions(sk, tp, true, state, tcp_state, &at);
			event.stream_offset = at.sent;
			event.other_offset = at.received;
			event.tcp_seq = at.sent_seq;
			event.other_tcp_seq = at.received_seq;
		}
		event.new_state = tcp_state;
	}
	event.op = TH_OP_EXIST;
	/* Which of the process's threads uses it is not known. */
	event.flags = TH_FLAG_NO_THREAD;
	event.thread = send_process(task, event.head.epoch);
	event.socket_id = state->socket_id;
	event.fd = ctx->fd;
	event.syscall = -1;
	if (event.thread && tell_socket(state, event.head.epoch))
		send_plain(&event);
	else
		count_loss(TH_LOSS_RING_FULL);
	/* A byte for each, so that the loader can drain the ring between reads. */
	bpf_seq_write(ctx->meta->seq, &told, 1);
	return 0;
}
