/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Turns: how often a thread has entered epoll_wait, poll, select or their kin. What an event loop does lies a constant number
 * of turns apart, which is evidence that no timing gives. Counted from the thread's first event on. */
#include "scope.bpf.h"

SEC("tp/syscalls/sys_enter_epoll_wait")
int count_turn(void *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct task_state *state = bpf_task_storage_get(&tasks, task, NULL, 0);

	if (state)
		state->turn += 1;
	return 0;
}
