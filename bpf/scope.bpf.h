/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Who is traced, and by which ids tasks are known. Decisions are kept in task storage until the scope changes. */
#ifndef TH_SCOPE_H
#define TH_SCOPE_H

#include "common.bpf.h"

static __always_inline u64 thread_id_of(struct task_struct *task)
{
	return th_id(settings.salt ^ (u64)(u32)BPF_CORE_READ(task, pid), BPF_CORE_READ(task, start_boottime));
}

static __always_inline u64 process_id_of(struct task_struct *task)
{
	return th_id(settings.salt ^ TH_PROCESS_SALT ^ (u64)(u32)BPF_CORE_READ(task, tgid), BPF_CORE_READ(task, group_leader, start_boottime));
}

static __always_inline u32 netns_of_task(struct task_struct *task)
{
	return BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
}

static __always_inline bool netns_wanted(u32 inum)
{
	return live.scope_netns && bpf_map_lookup_elem(&scope_netns, &inum);
}

/* The group and its ancestors, up to 12 levels. */
static __noinline bool cgroup_wanted(struct task_struct *task)
{
	struct cgroup *group = BPF_CORE_READ(task, cgroups, dfl_cgrp);

#pragma unroll
	for (int level = 0; level < 12; level++) {
		u64 id = BPF_CORE_READ(group, kn, id);
		if (bpf_map_lookup_elem(&scope_cgroups, &id))
			return true;
		struct cgroup_subsys_state *parent = BPF_CORE_READ(group, self.parent);
		group = BPF_CORE_READ(parent, cgroup);
	}
	return false;
}

/* Apart from network namespaces. */
static __noinline bool task_wanted(struct task_struct *task)
{
	u32 tgid = BPF_CORE_READ(task, tgid);

	if (live.scope_all)
		return true;
	if (live.scope_pids && bpf_map_lookup_elem(&scope_pids, &tgid))
		return true;
	return live.scope_cgroups && cgroup_wanted(task);
}

static __always_inline bool task_excluded(u32 tgid)
{
	return bpf_map_lookup_elem(&excluded_pids, &tgid) != NULL;
}

static __always_inline u64 cgroup_id_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
}

static __noinline int decide(struct task_struct *task, struct task_state *state)
{
	if (!state)
		return 0;
	state->thread_id = thread_id_of(task);
	state->process_id = process_id_of(task);
	state->css_set = (u64)BPF_CORE_READ(task, cgroups);
	state->cgroup = (u64)BPF_CORE_READ(task, cgroups, dfl_cgrp);
	state->cgroup_id = cgroup_id_of(task);
	state->nsproxy = (u64)BPF_CORE_READ(task, nsproxy);
	state->excluded = task_excluded(BPF_CORE_READ(task, tgid));
	state->in_scope = !state->excluded && task_wanted(task);
	state->netns = netns_of_task(task);
	state->netns_in_scope = netns_wanted(state->netns);
	state->generation = live.generation;
	state->told = 0;
	return 0;
}

/* The decision holds until scope, cgroup or namespaces change. The group's id lies two more cache lines away than its address. */
static __always_inline bool is_stale(const struct task_state *state, struct task_struct *task)
{
	struct css_set *groups = task->cgroups;

	return state->generation != live.generation || state->css_set != (u64)groups || state->cgroup != (u64)groups->dfl_cgrp || state->nsproxy != (u64)task->nsproxy;
}

/* State of the current task (which this is), created at its first event. */
static __always_inline struct task_state *current_state(struct task_struct *task)
{
	struct task_state *state = bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (state && is_stale(state, task))
		decide(task, state);
	return state;
}

/* x86 keeps the preempt count per CPU, and kernels without all symbols don't tell where. But every run queue points to its
 * own place in per-CPU memory, and the distance between the two is in the kernel's BTF. */
static __always_inline u32 preempt_count(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
#if defined(__TARGET_ARCH_arm64)
	return ((struct thread_info___arm64 *)&task->thread_info)->preempt_count;
#else
	u32 count = 0;

	if (settings.preempt_delta && bpf_core_field_exists(struct cfs_rq, rq)) {
		u64 rq = (u64)BPF_CORE_READ(task, se.cfs_rq, rq);
		bpf_probe_read_kernel(&count, sizeof(count), (void *)(rq + settings.preempt_delta));
	} else if ((int)BPF_CORE_READ((struct pt_regs *)bpf_task_pt_regs(task), orig_ax) < 0) {
		count = 0x10000; /* entered by an interrupt, not by a system call */
	}
	return count;
#endif
}

static __always_inline struct file *file_of(struct task_struct *task, u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **slots, *file = NULL;

	if (!table || fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	slots = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), slots + fd);
	return file;
}

/* Hard interrupt, NMI or softirq being served. A task that merely holds off softirqs counts by two. */
static __always_inline bool in_interrupt(void)
{
	return preempt_count() & (0x00ff0000 | 0x100);
}

#endif
