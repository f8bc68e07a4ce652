/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Tasks of runtimes that have threads of their own: goroutines. Which one runs is read from the thread's own memory, at places that
 * the loader found for the binary. */
#ifndef TH_TASKS_H
#define TH_TASKS_H

#include "socket-event.bpf.h"

static __always_inline struct th_go_layout *go_layout(struct task_struct *task)
{
	u32 tgid = task->tgid;

	return bpf_map_lookup_elem(&go_processes, &tgid);
}

static __always_inline bool read_goroutine(u64 g, const struct th_go_layout *layout, struct caller *to)
{
	if (!g || bpf_probe_read_user(&to->task_id, 8, (void *)(g + layout->goid)))
		return false;
	/* Goroutine 0 is the thread's own, for the scheduler. */
	if (!to->task_id)
		return false;
	if (!layout->parent_goid || bpf_probe_read_user(&to->parent_task_id, 8, (void *)(g + layout->parent_goid)))
		to->parent_task_id = 0;
	return true;
}

#if defined(__TARGET_ARCH_x86)
/* Go keeps the running goroutine right below the thread pointer. */
static __always_inline u64 running_goroutine(struct task_struct *task)
{
	u64 g = 0;

	bpf_probe_read_user(&g, sizeof(g), (void *)(BPF_CORE_READ(task, thread.fsbase) - 8));
	return g;
}
#else
static __always_inline u64 running_goroutine(struct task_struct *task)
{
	return 0;
}
#endif

/* A request on a connection of net/http is written by a goroutine of the connection's: it counts as the caller's. The answer ends that. */
static __noinline int shot_task(struct shot *shot, struct task_struct *task, struct sock *sk, bool writing)
{
	struct th_go_layout *layout = go_layout(task);
	struct caller caller = {}, *asked;
	u64 key = (u64)sk;

	if (!layout || !shot)
		return 0;
	asked = bpf_map_lookup_elem(&callers, &key);
	if (asked && writing) {
		shot->task_id = asked->task_id;
		shot->parent_task_id = asked->parent_task_id;
		shot->flags |= TH_FLAG_TASK_OF_CALLER;
		return 0;
	}
	if (asked)
		bpf_map_delete_elem(&callers, &key);
	if (read_goroutine(running_goroutine(task), layout, &caller)) {
		shot->task_id = caller.task_id;
		shot->parent_task_id = caller.parent_task_id;
	}
	return 0;
}

#endif
