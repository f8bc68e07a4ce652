/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Turns: how often a thread has entered epoll_wait, poll, select or their kin. What an event loop does lies a constant number
 * of turns apart, which is evidence that no timing gives. Counted from the thread's first event on. */
#include "scope.bpf.h"

static __always_inline int turn(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct task_state *state = bpf_task_storage_get(&tasks, task, NULL, 0);

	if (state)
		state->turn += 1;
	return 0;
}

/* Where the kernel can, on these calls alone: a single tracepoint of a system call makes every call of every process slower. */
#define TURN(call)                                                                                                              \
	SEC("fentry/" TH_SYSCALL(call))                                                                                         \
	int turn_##call(void *ctx)                                                                                              \
	{                                                                                                                       \
		return turn();                                                                                                  \
	}

TURN(epoll_wait)
TURN(epoll_pwait)
TURN(epoll_pwait2)
TURN(poll)
TURN(ppoll)
TURN(select)
TURN(pselect6)

SEC("tp/syscalls/sys_enter_epoll_wait")
int turn_enter(void *ctx)
{
	return turn();
}
