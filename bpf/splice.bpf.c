/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Reads by splice and by zero-copy receive: they pass no length hook, but move copied_seq. */
static __always_inline int moved(void *ctx, struct sock *sk, const bool direct)
{
	struct sock_state *state = find_sock(sk);
	struct tcp_sock *tp = tcp_of(sk, direct);
	u32 copied_seq;
	bool ended;
	int bytes;

	if (!tp || !state || state->family == AF_UNIX || !(state->state & SOCK_LEARNT))
		return 0;
	copied_seq = GET(direct, tp, copied_seq);
	ended = fin_read(sk, tp, direct, copied_seq);
	bytes = copied_seq - ended - state->read_seq;
	if (bytes <= 0 && !ended)
		return 0;
	return socket_io(ctx, sk, direct, false, bytes > 0 ? bytes : 0, 0);
}

SEC("fexit/tcp_splice_read")
int BPF_PROG(splice_exit, struct socket *socket)
{
	return moved(ctx, socket->sk, true);
}

SEC("fexit/tcp_getsockopt")
int BPF_PROG(zerocopy_exit, struct sock *sk, int level, int option)
{
	return level == IPPROTO_TCP && option == TH_TCP_ZEROCOPY_RECEIVE ? moved(ctx, sk, true) : 0;
}

static __always_inline int moved_by_call(struct exit_args *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	struct sock *sk;

	if (ctx->result < 0 || is_compat(task))
		return 0;
	if (ctx->nr == TH_NR_getsockopt && (TH_ARG2(regs) != IPPROTO_TCP || TH_ARG3(regs) != TH_TCP_ZEROCOPY_RECEIVE))
		return 0;
	sk = sock_of_file(file_of(task, TH_ARG1(regs)));
	return sk ? moved(ctx, sk, false) : 0;
}

SEC("tp/syscalls/sys_exit_splice")
int splice_return(struct exit_args *ctx)
{
	return moved_by_call(ctx);
}

/* All kinds of receiving come by here; they are told apart by the system call. Only where nothing above can be had: every
 * receive of every process pays for it. */
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
	return moved(ctx, sk, true);
}
