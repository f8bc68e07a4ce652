/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Which task of the runtime is running on the thread: for Go the goroutine, by the number that the runtime gave it. */
#ifndef TH_TASKS_H
#define TH_TASKS_H

#include "scope.bpf.h"

/* By process id; the loader enters a process once it has read its binary. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TH_GO_PROCESSES);
	__type(key, u32);
	__type(value, struct th_go_layout);
} go_processes SEC(".maps");

struct goroutine {
	u64 id;
	u64 parent_id;
};

static __always_inline const struct th_go_layout *go_layout(struct task_struct *task, struct task_state *state)
{
	if (!live.go_processes)
		return NULL;
	if (state->go_generation != live.go_generation) {
		u32 generation = live.go_generation, tgid = task->tgid;
		struct th_go_layout *layout = bpf_map_lookup_elem(&go_processes, &tgid);
		if (layout)
			state->go = *layout;
		else
			state->go.goid = 0;
		state->go_generation = generation;
	}
	return state->go.goid ? &state->go : NULL;
}

/* The goroutine that its thread calls the current one, which also tells the scheduler's own (g0) apart, and anything that is no
 * goroutine at all. */
static __noinline int read_goroutine(const struct th_go_layout *layout, u64 g, struct goroutine *goroutine)
{
	u64 m = 0, current = 0;

	if (!layout || !goroutine)
		return 0;
	if (!g || bpf_probe_read_user(&m, sizeof(m), (void *)(g + layout->m)) || !m)
		return 0;
	if (bpf_probe_read_user(&current, sizeof(current), (void *)(m + layout->curg)) || current != g)
		return 0;
	if (bpf_probe_read_user(&goroutine->id, sizeof(goroutine->id), (void *)(g + layout->goid)))
		goroutine->id = 0;
	if (layout->parent && bpf_probe_read_user(&goroutine->parent_id, sizeof(goroutine->parent_id), (void *)(g + layout->parent)))
		goroutine->parent_id = 0;
	return 0;
}

static __always_inline void current_goroutine(struct task_struct *task, struct task_state *state, struct goroutine *goroutine)
{
#if defined(__TARGET_ARCH_x86)
	const struct th_go_layout *layout = go_layout(task, state);

	if (!layout || (task->flags & (PF_KTHREAD | PF_IO_WORKER)))
		return;
	/* Go keeps it in this register, through its system calls too; in thread-local memory it has no fixed place once C code that
	 * has such memory of its own is linked in. */
	read_goroutine(layout, BPF_CORE_READ((struct pt_regs *)bpf_task_pt_regs(task), r14), goroutine);
#endif
}

#endif
