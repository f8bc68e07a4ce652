/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Reads and writes. One body for every kind of hook; the loader loads the newest kind that the kernel has. */
#include "socket-event.bpf.h"
#include "stacks.bpf.h"

static __always_inline bool transient_error(int error)
{
	return error == TH_EAGAIN || error == TH_EINTR || error == TH_EINPROGRESS || error == TH_EALREADY || error >= TH_ERESTARTSYS;
}

/* How much payload this event may carry: `settings.payload` bytes from where the direction began to move after the other one
 * had moved, over as many calls as that takes. */
static __always_inline u32 payload_budget(struct sock_state *state, bool writing, u64 other_offset, u32 bytes)
{
	u32 used, room;

	if (live.followed && bpf_map_lookup_elem(&followed_sockets, &state->socket_id))
		return bytes < settings.payload ? bytes : settings.payload;
	if (state->phase_other[writing] != other_offset) {
		state->phase_other[writing] = other_offset;
		state->phase_used[writing] = 0;
	}
	used = state->phase_used[writing];
	room = used < settings.payload ? settings.payload - used : 0;
	state->phase_used[writing] = bytes > settings.payload ? settings.payload : used + bytes;
	return bytes < room ? bytes : room;
}

static __always_inline int socket_io(void *ctx, struct sock *sk, const bool direct, const bool writing, int result, u32 flags)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct positions at = {};
	struct sock_state *state;
	struct task_state *who;
	struct pt_regs *regs;
	struct call call = {};
	struct th_ring_event event = {.head = {.kind = TH_RING_EVENT, .epoch = live.tell_epoch}};
	u32 bytes, want = 0;
	u64 used;
	u16 family;

	if (result < 0 && transient_error(-result))
		return 0;
	if (result == 0 && writing)
		return 0;
	family = stream_family(sk, direct);
	if (!family)
		return 0;
	/* Unix sockets know neither of these flags. */
	if (family == AF_UNIX)
		flags = 0;
	if (flags & MSG_ERRQUEUE)
		return 0;
	who = current_state(task);
	if (!who) {
		count_loss(TH_LOSS_HOOK_MISSED);
		return 0;
	}
	if (who->excluded || (!who->in_scope && !live.scope_netns))
		return 0;
	state = find_sock(sk);
	u64 cookie = cookie_of(sk, direct);
	if (!state || state->cookie != cookie) {
		/* Sockets of the kernel itself (NFS and the like) have no file. */
		struct socket *socket = GET(direct, sk, sk_socket);
		if (!socket || !GET(direct, socket, file))
			return 0;
		u32 netns = netns_of_sock(sk, direct);
		if (!who->in_scope && !netns_wanted(netns))
			return 0;
		state = sock_of(sk, family, cookie, netns);
		if (!state) {
			count_loss(TH_LOSS_HOOK_MISSED);
			return 0;
		}
		/* Without its connect or accept seen, its beginning is not known. */
		if (family == AF_UNIX && !state->role)
			state->state |= SOCK_RELATIVE;
	}
	if (!wants_socket(state, who))
		return 0;

	bytes = result > 0 ? result : 0;
	event.socket_id = state->socket_id;
	if (family == AF_UNIX) {
		event.flags = TH_FLAG_UNIX;
		if (!(state->state & SOCK_LEARNT))
			learn_unix(sk, direct, state);
		if (writing) {
			at.sent = __sync_fetch_and_add(&state->counted[1], bytes) + bytes;
			at.received = state->counted[0];
		} else {
			at.received = __sync_fetch_and_add(&state->counted[0], bytes) + bytes;
			at.sent = state->counted[1];
		}
	} else {
		struct tcp_sock *tp = tcp_of(sk, direct);
		u8 tcp_state = GET(direct, sk, __sk_common.skc_state);
		if (!tp)
			return 0;
		if (!(state->state & SOCK_LEARNT))
			learn_tcp(sk, state, tcp_state);
		if (state->state & SOCK_LEARNT)
			tcp_positions(sk, tp, direct, state, tcp_state, &at);
		if (!writing)
			state->read_seq = at.received_seq;
	}

	if (result == 0) {
		/* A read of zero bytes into an empty buffer is not the end. */
		if (!(GET(direct, sk, sk_shutdown) & RCV_SHUTDOWN) || (state->state & SOCK_EOF))
			return 0;
		state->state |= SOCK_EOF;
		event.flags |= TH_FLAG_EOF;
	}
	used = ring_used(who);
	if (connection_shed(state->conn_id, used)) {
		count_loss(TH_LOSS_CONNECTION_SHED);
		return 0;
	}
	if (!tell_thread(task, who, event.head.epoch) || !tell_socket(state, event.head.epoch)) {
		count_loss(TH_LOSS_RING_FULL);
		return 0;
	}
	event.op = writing ? TH_OP_WRITE : TH_OP_READ;
	event.bytes = bytes;
	event.error = result < 0 ? -result : 0;
	if (writing) {
		event.stream_offset = at.sent - bytes;
		event.other_offset = at.received;
		event.tcp_seq = family == AF_UNIX ? 0 : at.sent_seq - bytes;
		event.other_tcp_seq = at.received_seq;
	} else {
		event.stream_offset = at.received - bytes;
		event.other_offset = at.sent;
		event.tcp_seq = family == AF_UNIX ? 0 : at.received_seq - bytes;
		event.other_tcp_seq = at.sent_seq;
	}
	event_by(&event, task, who);
	/* An answer ends what its request's caller has written. */
	if (!writing && state->caller_told)
		state->caller_id = state->caller_told = 0;
	if (writing && state->caller_id) {
		event.task_id = state->caller_id;
		event.parent_task_id = state->caller_parent_id;
		event.flags |= TH_FLAG_TASK_OF_CALLER;
		state->caller_told = 1;
	}
	if (task->flags & (PF_KTHREAD | PF_IO_WORKER)) {
		call.syscall = -1;
		call.fd = -1;
		event.flags |= TH_FLAG_NO_THREAD | (task->flags & PF_IO_WORKER ? TH_FLAG_IO_URING : 0);
	} else {
		regs = (struct pt_regs *)bpf_task_pt_regs(task);
		read_call(&call, task, regs, writing);
		if (call.syscall == TH_NR_io_uring_enter)
			event.flags |= TH_FLAG_IO_URING;
	}
	event.fd = call.fd;
	event.syscall = call.syscall;
	/* Where a request begins: the first write since anything was read. */
	if (settings.stacks && writing && bytes && state->role == TH_ROLE_CLIENT && (!state->phase_used[1] || state->phase_other[1] != event.other_offset) && !(event.flags & TH_FLAG_NO_THREAD))
		event.stack_id = take_stack(ctx);
	/* With MSG_TRUNC they are thrown away, whatever the buffer holds. */
	if (bytes && !(flags & MSG_TRUNC)) {
		want = payload_budget(state, writing, event.other_offset, bytes);
		if (want && used > settings.ring_half) {
			want = 0;
			event.flags |= TH_FLAG_PAYLOAD_SHED;
			count_loss(TH_LOSS_PAYLOAD_SHED);
		}
		if (want < bytes && settings.payload && (call.base || call.iov_count > 1))
			event.tail_length = read_tail(&call, bytes, &event.tail);
	}
	send_event(&event, &call, want);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(send_length, struct sock *sk, int result, int flags)
{
	return socket_io(ctx, sk, true, true, result, 0);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(recv_length, struct sock *sk, int result, int flags)
{
	return flags & MSG_PEEK ? 0 : socket_io(ctx, sk, true, false, result, flags);
}

SEC("fexit/tcp_sendmsg")
int BPF_PROG(tcp_sendmsg_exit, struct sock *sk, struct msghdr *msg, size_t size, int result)
{
	return socket_io(ctx, sk, true, true, result, 0);
}

SEC("fexit/tcp_sendpage")
int BPF_PROG(tcp_sendpage_exit, struct sock *sk, void *page, int offset, size_t size, int flags, int result)
{
	return socket_io(ctx, sk, true, true, result, 0);
}

SEC("fexit/tcp_recvmsg")
int BPF_PROG(tcp_recvmsg_exit, struct sock *sk, struct msghdr *msg, size_t size, int flags, int *address_length, int result)
{
	return flags & MSG_PEEK ? 0 : socket_io(ctx, sk, true, false, result, flags);
}

/* Until 5.18 there was one more argument. */
SEC("fexit/tcp_recvmsg")
int BPF_PROG(tcp_recvmsg_exit_nonblock, struct sock *sk, struct msghdr *msg, size_t size, int nonblock, int flags, int *address_length, int result)
{
	return flags & MSG_PEEK ? 0 : socket_io(ctx, sk, true, false, result, flags);
}

SEC("fexit/unix_stream_sendmsg")
int BPF_PROG(unix_sendmsg_exit, struct socket *socket, struct msghdr *msg, size_t size, int result)
{
	return socket_io(ctx, socket->sk, true, true, result, 0);
}

SEC("fexit/unix_stream_sendpage")
int BPF_PROG(unix_sendpage_exit, struct socket *socket, void *page, int offset, size_t size, int flags, int result)
{
	return socket_io(ctx, socket->sk, true, true, result, 0);
}

SEC("fexit/unix_stream_recvmsg")
int BPF_PROG(unix_recvmsg_exit, struct socket *socket, struct msghdr *msg, size_t size, int flags, int result)
{
	return flags & MSG_PEEK ? 0 : socket_io(ctx, socket->sk, true, false, result, flags);
}
