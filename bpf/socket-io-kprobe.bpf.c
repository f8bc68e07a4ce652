/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Reads and writes where neither tracepoints nor fexit programs can be had. */

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
	return flags & MSG_PEEK ? 0 : socket_io(ctx, sk, false, writing, result, flags);
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
