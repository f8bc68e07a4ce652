/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Connections: connect, accept, shutdown, close, and what becomes of them in between. */
#include "socket-event.bpf.h"

/* System calls that let go of descriptors: in these a closing socket is the caller's doing. */
static __always_inline bool closes(int nr)
{
	return nr == TH_NR_close || nr == TH_NR_exit || nr == TH_NR_exit_group || nr == TH_NR_dup2 || nr == TH_NR_dup3 || nr == TH_NR_close_range ||
	       nr == TH_NR_execve || nr == TH_NR_execveat;
}

/* By nobody: NULL. */
static __always_inline void send_state(struct th_ring_event *event, struct sock_state *state, struct task_struct *task, struct task_state *who)
{
	if (connection_shed(state->conn_id, ask_ring())) {
		count_loss(TH_LOSS_CONNECTION_SHED);
		return;
	}
	event->head.kind = TH_RING_EVENT;
	event->head.epoch = live.tell_epoch;
	event->socket_id = state->socket_id;
	if ((who && !tell_thread(task, who, event->head.epoch)) || !tell_socket(state, event->head.epoch)) {
		count_loss(TH_LOSS_RING_FULL);
		return;
	}
	send_plain(event);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock *sk, int old_state, int new_state)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct task_state *who = NULL;
	struct positions at = {};
	struct sock_state *state;
	struct th_ring_event event = {};
	struct tcp_sock *tp;
	int nr = -1;
	u16 family;

	family = stream_family(sk, true);
	if (!family || family == AF_UNIX)
		return 0;
	if (new_state == TCP_LISTEN || old_state == TCP_LISTEN)
		return 0;
	tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	/* Current is the caller only outside of interrupts; a packet may finish anybody's system call. */
	if (!in_interrupt() && task->pid && !(task->flags & (PF_KTHREAD | PF_IO_WORKER))) {
		nr = is_compat(task) ? -1 : TH_SYSCALL_NR((struct pt_regs *)bpf_task_pt_regs(task));
		who = current_state(task);
		if (who && who->excluded)
			who = NULL;
	}
	state = find_sock(sk);
	u64 cookie = bpf_get_socket_cookie(sk);
	if (!state || state->cookie != cookie) {
		u32 netns = netns_of_sock(sk, true);
		bool opening = old_state == TCP_CLOSE && new_state == TCP_SYN_SENT;
		if (opening) {
			struct socket *socket = sk->sk_socket;
			if (!who || !socket || !socket->file || !(who->in_scope || netns_wanted(netns)))
				return 0;
		} else if (new_state != TCP_ESTABLISHED || !(live.scope_all || live.scope_pids || live.scope_cgroups || netns_wanted(netns))) {
			return 0;
		}
		state = sock_of(sk, family, cookie, netns);
		if (!state)
			return 0;
	}
	if (who && !wants_socket(state, who))
		who = NULL;

	if (new_state == TCP_SYN_SENT) {
		/* A socket may connect again after it failed. */
		state->role = TH_ROLE_CLIENT;
		state->state &= SOCK_OURS;
		state->conn_id = 0;
		state->phase_used[0] = state->phase_used[1] = 0;
		state->phase_other[0] = state->phase_other[1] = 0;
		read_addresses(sk, state);
		event.op = TH_OP_CONNECT;
	} else if (new_state == TCP_ESTABLISHED) {
		state->role = old_state == TCP_SYN_SENT ? TH_ROLE_CLIENT : TH_ROLE_SERVER;
		state->state &= ~(SOCK_LEARNT | SOCK_PREEXISTING);
		learn_tcp(sk, state, new_state);
		/* The accept tells of this one. */
		if (old_state != TCP_SYN_SENT)
			return 0;
		event.op = TH_OP_STATE;
	} else {
		event.op = TH_OP_STATE;
		if (!(state->state & SOCK_LEARNT) && old_state != TCP_SYN_SENT)
			learn_tcp(sk, state, old_state);
		if (who && !(state->state & SOCK_CLOSED)) {
			if (nr == TH_NR_shutdown && (new_state == TCP_FIN_WAIT1 || new_state == TCP_LAST_ACK || new_state == TCP_CLOSE)) {
				event.op = TH_OP_SHUTDOWN;
			} else if (closes(nr) || (task->flags & PF_EXITING) || ((new_state == TCP_FIN_WAIT1 || new_state == TCP_LAST_ACK) && nr != TH_NR_shutdown)) {
				event.op = TH_OP_CLOSE;
				state->state |= SOCK_CLOSED;
			}
		}
	}
	if (state->state & SOCK_LEARNT)
		tcp_positions(sk, tp, true, state, old_state, &at);
	if (fin_queued(new_state))
		state->state |= SOCK_FIN;
	if (!(state->state & SOCK_OURS))
		return 0;
	event.stream_offset = at.sent;
	event.other_offset = at.received;
	event.tcp_seq = at.sent_seq;
	event.other_tcp_seq = at.received_seq;
	event.old_state = old_state;
	event.new_state = new_state;
	event.error = sk->sk_err;
	event.fd = -1;
	event.syscall = nr;
	if (event.op == TH_OP_STATE || !who) {
		event.flags |= TH_FLAG_NO_THREAD;
		event.syscall = -1;
		who = NULL;
	} else {
		event_by(&event, task, who);
		if (nr == TH_NR_connect || nr == TH_NR_shutdown || nr == TH_NR_close || nr == TH_NR_sendto || nr == TH_NR_sendmsg)
			event.fd = TH_ARG1((struct pt_regs *)bpf_task_pt_regs(task));
	}
	send_state(&event, state, task, who);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroy_sock, struct sock *sk)
{
	forget_sock(sk);
	return 0;
}

/* Connect and accept as their system call saw them end. */
static __always_inline int connected(struct file *file, s32 fd, u8 op, s32 syscall)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct task_state *who = current_state(task);
	struct sock_state *state;
	struct th_ring_event event = {};
	struct sock *sk;
	u16 family;

	if (!who || who->excluded || (!who->in_scope && !live.scope_netns))
		return 0;
	sk = sock_of_file(file);
	if (!sk)
		return 0;
	family = stream_family(sk, false);
	/* TCP tells of a connect by its change of state, when the caller is known too. */
	if (!family || (op == TH_OP_CONNECT && family != AF_UNIX))
		return 0;
	u32 netns = netns_of_sock(sk, false);
	if (!who->in_scope && !netns_wanted(netns))
		return 0;
	state = sock_of(sk, family, cookie_of(sk, false), netns);
	if (!state)
		return 0;
	if (!wants_socket(state, who))
		return 0;
	state->role = op == TH_OP_ACCEPT ? TH_ROLE_SERVER : TH_ROLE_CLIENT;
	if (family == AF_UNIX) {
		if (!(state->state & SOCK_LEARNT))
			learn_unix(sk, false, state);
		state->state &= ~SOCK_RELATIVE;
		event.stream_offset = state->counted[1];
		event.other_offset = state->counted[0];
	} else {
		struct positions at = {};
		u8 tcp_state = BPF_CORE_READ(sk, __sk_common.skc_state);
		if (!(state->state & SOCK_LEARNT))
			learn_tcp(sk, state, tcp_state);
		state->state &= ~SOCK_PREEXISTING;
		if (state->state & SOCK_LEARNT)
			tcp_positions(sk, (struct tcp_sock *)sk, false, state, tcp_state, &at);
		event.stream_offset = at.sent;
		event.other_offset = at.received;
		event.tcp_seq = at.sent_seq;
		event.other_tcp_seq = at.received_seq;
		event.new_state = tcp_state;
	}
	event.op = op;
	event.fd = fd;
	event.syscall = syscall;
	event_by(&event, task, who);
	send_state(&event, state, task, who);
	return 0;
}

/* Every new descriptor comes by here, after the waiting is over: who was in accept() when the collector began is seen, too. */
SEC("fentry/fd_install")
int BPF_PROG(accept_install, unsigned int fd, struct file *file)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	int nr = TH_SYSCALL_NR((struct pt_regs *)bpf_task_pt_regs(task));

	if ((nr != TH_NR_accept && nr != TH_NR_accept4) || is_compat(task))
		return 0;
	return connected(file, fd, TH_OP_ACCEPT, nr);
}

static __always_inline int connect_ended(s64 result)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	s32 fd = TH_ARG1((struct pt_regs *)bpf_task_pt_regs(task));

	if (result != 0 || is_compat(task))
		return 0;
	return connected(file_of(task, fd), fd, TH_OP_CONNECT, TH_NR_connect);
}

SEC("fexit/" TH_SYSCALL(connect))
int BPF_PROG(connect_return, const struct pt_regs *regs, long result)
{
	return connect_ended(result);
}

SEC("tp/syscalls/sys_exit_accept4")
int accept_exit(struct exit_args *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();

	return ctx->result < 0 ? 0 : connected(file_of(task, ctx->result), ctx->result, TH_OP_ACCEPT, (s32)ctx->nr);
}

SEC("tp/syscalls/sys_exit_connect")
int connect_exit(struct exit_args *ctx)
{
	return connect_ended(ctx->result);
}

/* The descriptor that is closed is the last one of its file. */
static __always_inline bool last_reference(struct file *file)
{
	if (bpf_core_field_exists(struct file___ref, f_ref))
		return BPF_CORE_READ((struct file___ref *)file, f_ref.refcnt.counter) == 0;
	return BPF_CORE_READ((struct file___count *)file, f_count.counter) == 1;
}

/* The closes that change no TCP state any more: Unix sockets, and connections that were shut down or reset before. */
static __always_inline int closing(s32 fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct positions at = {};
	struct task_state *who;
	struct sock_state *state;
	struct th_ring_event event = {};
	struct file *file;
	struct sock *sk;

	/* No socket of a thread that has had no event can be known here, unless another thread used it. */
	file = file_of(task, fd);
	sk = sock_of_file(file);
	if (!sk)
		return 0;
	state = find_sock(sk);
	if (!state || (state->state & SOCK_CLOSED) || !last_reference(file))
		return 0;
	if (state->cookie && state->cookie != cookie_of(sk, false))
		return 0;
	who = current_state(task);
	if (!who || !wants_socket(state, who))
		return 0;
	if (state->family == AF_UNIX) {
		at.sent = state->counted[1];
		at.received = state->counted[0];
	} else {
		u8 tcp_state = BPF_CORE_READ(sk, __sk_common.skc_state);
		if (tcp_state != TCP_CLOSE && tcp_state != TCP_FIN_WAIT1 && tcp_state != TCP_FIN_WAIT2 && tcp_state != TCP_CLOSING && tcp_state != TCP_LAST_ACK)
			return 0;
		if (state->state & SOCK_LEARNT)
			tcp_positions(sk, (struct tcp_sock *)sk, false, state, tcp_state, &at);
		event.old_state = event.new_state = tcp_state;
	}
	state->state |= SOCK_CLOSED;
	event.op = TH_OP_CLOSE;
	event.stream_offset = at.sent;
	event.other_offset = at.received;
	event.tcp_seq = at.sent_seq;
	event.other_tcp_seq = at.received_seq;
	event.fd = fd;
	event.syscall = TH_NR_close;
	event.error = BPF_CORE_READ(sk, sk_err);
	event_by(&event, task, who);
	send_state(&event, state, task, who);
	if (state->family == AF_UNIX)
		forget_sock(sk);
	return 0;
}

SEC("fentry/" TH_SYSCALL(close))
int BPF_PROG(close_call, const struct pt_regs *regs)
{
	return closing(TH_ARG1(regs));
}

SEC("tp/syscalls/sys_enter_close")
int close_enter(struct enter_args *ctx)
{
	return closing(ctx->args[0]);
}
