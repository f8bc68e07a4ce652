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

static __always_inline int socket_io(void *ctx, struct sock *sk, const bool direct, const bool writing, int result)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct positions at = {};
	struct sock_state *state;
	struct task_state *who;
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
	who = current_state(task);
	if (!who) {
		count_loss(TH_LOSS_HOOK_MISSED);
		return 0;
	}
	if (who->excluded || (!who->in_scope && !live.scope_netns))
		return 0;
	state = find_sock(sk);
	u64 cookie = cookie_of(sk, direct);
	if (!state || (cookie && state->cookie != cookie)) {
		/* Sockets of the kernel itself (NFS and the like) have no file. */
		struct socket *socket = GET(direct, sk, sk_socket);
		if (!socket || !GET(direct, socket, file))
			return 0;
		u32 netns = netns_of_sock(sk, direct);
		if (!who->in_scope && !netns_wanted(netns))
			return 0;
		state = sock_of(sk, family, cookie, netns);
		if (!state)
			return 0;
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
	used = ring_used();
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
		read_call(&call, writing);
		if (call.syscall == TH_NR_io_uring_enter)
			event.flags |= TH_FLAG_IO_URING;
	}
	event.fd = call.fd;
	event.syscall = call.syscall;
	/* Where a request begins: the first write since anything was read. */
	if (settings.stacks && writing && bytes && state->role == TH_ROLE_CLIENT && (!state->phase_used[1] || state->phase_other[1] != event.other_offset) && !(event.flags & TH_FLAG_NO_THREAD))
		event.stack_id = take_stack(ctx);
	if (bytes) {
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
	return socket_io(ctx, sk, true, true, result);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(recv_length, struct sock *sk, int result, int flags)
{
	return flags & MSG_PEEK ? 0 : socket_io(ctx, sk, true, false, result);
}

/* splice and zero-copy receive pass no length hook, but move copied_seq. */
static __always_inline int moved(void *ctx, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	struct sock_state *state = find_sock(sk);
	int bytes;

	if (!tp || !state || !(state->state & SOCK_LEARNT))
		return 0;
	bytes = tp->copied_seq - state->read_seq;
	return bytes > 0 ? socket_io(ctx, sk, true, false, bytes) : 0;
}

SEC("fexit/tcp_splice_read")
int BPF_PROG(splice_exit, struct socket *socket)
{
	return moved(ctx, socket->sk);
}

SEC("fexit/tcp_getsockopt")
int BPF_PROG(zerocopy_exit, struct sock *sk, int level, int option)
{
	return level == IPPROTO_TCP && option == TH_TCP_ZEROCOPY_RECEIVE ? moved(ctx, sk) : 0;
}

/* All kinds of receiving come by here; they are told apart by the system call. */
SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(space_adjust, struct sock *sk)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	int nr;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER))
		return 0;
	nr = TH_SYSCALL_NR((struct pt_regs *)bpf_task_pt_regs(task));
	if ((nr != TH_NR_splice && nr != TH_NR_getsockopt) || is_compat(task))
		return 0;
	return moved(ctx, sk);
}

SEC("fexit/tcp_sendmsg")
int BPF_PROG(tcp_sendmsg_exit, struct sock *sk, struct msghdr *msg, size_t size, int result)
{
	return socket_io(ctx, sk, true, true, result);
}

SEC("fexit/tcp_sendpage")
int BPF_PROG(tcp_sendpage_exit, struct sock *sk, void *page, int offset, size_t size, int flags, int result)
{
	return socket_io(ctx, sk, true, true, result);
}

SEC("fexit/tcp_recvmsg")
int BPF_PROG(tcp_recvmsg_exit, struct sock *sk, struct msghdr *msg, size_t size, int flags, int *address_length, int result)
{
	return flags & MSG_PEEK ? 0 : socket_io(ctx, sk, true, false, result);
}

/* Until 5.18 there was one more argument. */
SEC("fexit/tcp_recvmsg")
int BPF_PROG(tcp_recvmsg_exit_nonblock, struct sock *sk, struct msghdr *msg, size_t size, int nonblock, int flags, int *address_length, int result)
{
	return flags & MSG_PEEK ? 0 : socket_io(ctx, sk, true, false, result);
}

SEC("fexit/unix_stream_sendmsg")
int BPF_PROG(unix_sendmsg_exit, struct socket *socket, struct msghdr *msg, size_t size, int result)
{
	return socket_io(ctx, socket->sk, true, true, result);
}

SEC("fexit/unix_stream_sendpage")
int BPF_PROG(unix_sendpage_exit, struct socket *socket, void *page, int offset, size_t size, int flags, int result)
{
	return socket_io(ctx, socket->sk, true, true, result);
}

SEC("fexit/unix_stream_recvmsg")
int BPF_PROG(unix_recvmsg_exit, struct socket *socket, struct msghdr *msg, size_t size, int flags, int result)
{
	return flags & MSG_PEEK ? 0 : socket_io(ctx, socket->sk, true, false, result);
}

/* kprobes: the entry keeps the socket for the return, a thread being in one of these functions at a time. */
struct pending {
	u64 sk;
	u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, u64);
	__type(value, struct pending);
} pending SEC(".maps");

static __always_inline int enter(struct sock *sk, u32 flags)
{
	u64 id = bpf_get_current_pid_tgid();
	struct pending entry = {.sk = (u64)sk, .flags = flags};

	bpf_map_update_elem(&pending, &id, &entry, BPF_ANY);
	return 0;
}

static __always_inline int leave(void *ctx, bool writing, int result)
{
	u64 id = bpf_get_current_pid_tgid();
	struct pending *entry = bpf_map_lookup_elem(&pending, &id);
	struct sock *sk;
	u32 flags;

	if (!entry)
		return 0;
	sk = (struct sock *)entry->sk;
	flags = entry->flags;
	bpf_map_delete_elem(&pending, &id);
	return flags & MSG_PEEK ? 0 : socket_io(ctx, sk, false, writing, result);
}

SEC("kprobe/tcp_sendmsg")
int tcp_sendmsg_enter(struct pt_regs *ctx)
{
	return enter((struct sock *)TH_PARM1(ctx), 0);
}

SEC("kprobe/tcp_sendpage")
int tcp_sendpage_enter(struct pt_regs *ctx)
{
	return enter((struct sock *)TH_PARM1(ctx), 0);
}

SEC("kprobe/tcp_recvmsg")
int tcp_recvmsg_enter(struct pt_regs *ctx)
{
	return enter((struct sock *)TH_PARM1(ctx), TH_PARM4(ctx));
}

SEC("kprobe/tcp_recvmsg")
int tcp_recvmsg_enter_nonblock(struct pt_regs *ctx)
{
	return enter((struct sock *)TH_PARM1(ctx), TH_PARM5(ctx));
}

SEC("kprobe/unix_stream_sendmsg")
int unix_sendmsg_enter(struct pt_regs *ctx)
{
	return enter(BPF_CORE_READ((struct socket *)TH_PARM1(ctx), sk), 0);
}

SEC("kprobe/unix_stream_sendpage")
int unix_sendpage_enter(struct pt_regs *ctx)
{
	return enter(BPF_CORE_READ((struct socket *)TH_PARM1(ctx), sk), 0);
}

SEC("kprobe/unix_stream_recvmsg")
int unix_recvmsg_enter(struct pt_regs *ctx)
{
	return enter(BPF_CORE_READ((struct socket *)TH_PARM1(ctx), sk), TH_PARM4(ctx));
}

/* Attached to the return of each function above. */
SEC("kretprobe")
int send_return(struct pt_regs *ctx)
{
	return leave(ctx, true, TH_RETURN(ctx));
}

SEC("kretprobe")
int recv_return(struct pt_regs *ctx)
{
	return leave(ctx, false, TH_RETURN(ctx));
}
