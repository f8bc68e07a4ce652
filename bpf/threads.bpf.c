/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Threads: fork, exec, exit, and one waking another of its process. */
#include "payload.bpf.h"
#include "pressure.bpf.h"
#include "scope.bpf.h"
#include "tasks.bpf.h"
#include "tell.bpf.h"

struct ring_thread_event {
	struct th_frame frame;
	struct th_thread_event event;
};

static __always_inline struct ring_thread_event *start_event(u8 op)
{
	struct ring_thread_event *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record) {
		count_loss(TH_LOSS_RING_FULL);
		return NULL;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->frame.magic = TH_FRAME_MAGIC;
	record->frame.type = TH_RECORD_THREAD_EVENT;
	record->frame.length = sizeof(record->event);
	record->frame.used = sizeof(record->event);
	record->event.mono_ns = bpf_ktime_get_ns();
	record->event.op = op;
	return record;
}

/* Not inlined, which also leaves the record's layout in the object's type information for a test to compare. */
static __noinline int about(struct th_thread_event *event, struct task_struct *task)
{
	if (!event)
		return 0;
	event->thread_id = thread_id_of(task);
	event->process_id = process_id_of(task);
	event->pid = task->tgid;
	event->tid = task->pid;
	BPF_CORE_READ_STR_INTO(&event->comm, task, comm);
	return 0;
}

static __always_inline bool wanted(const struct task_state *state)
{
	return state && !state->excluded && (state->in_scope || state->netns_in_scope);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct ring_thread_event *record;
	u32 parent_pid = parent->tgid, child_pid = child->tgid;
	struct task_state *state;
	u8 one = 1;

	if (child->flags & PF_KTHREAD)
		return 0;
	if (child_pid != parent_pid && live.scope_pids && bpf_map_lookup_elem(&scope_pids, &parent_pid))
		bpf_map_update_elem(&scope_pids, &child_pid, &one, BPF_ANY);
	if (!wanted(current_state((struct task_struct *)bpf_get_current_task_btf())))
		return 0;
	/* From its first moment on, as the hook on wakes may not create. */
	state = bpf_task_storage_get(&tasks, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (state)
		decide(child, state);
	record = start_event(TH_THREAD_FORK);
	if (!record)
		return 0;
	about(&record->event, parent);
	record->event.target_thread_id = thread_id_of(child);
	record->event.target_process_id = process_id_of(child);
	record->event.target_pid = child->tgid;
	record->event.target_tid = child->pid;
	/* What /proc says of a process may be gone in a moment. */
	bpf_ringbuf_submit(record, child_pid != parent_pid ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid)
{
	struct task_state *state = bpf_task_storage_get(&tasks, task, NULL, 0);
	struct ring_thread_event *record;
	u32 pid = task->tgid;

	/* Another program: what was read of the one before does not hold. */
	if (live.go_processes)
		bpf_map_delete_elem(&go_processes, &pid);
	/* A thread that execs takes over its leader's number. */
	if (state)
		state->generation = state->go_generation = 0;
	if (!wanted(current_state((struct task_struct *)bpf_get_current_task_btf())))
		return 0;
	record = start_event(TH_THREAD_EXEC);
	if (!record)
		return 0;
	about(&record->event, task);
	bpf_ringbuf_submit(record, BPF_RB_FORCE_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct ring_thread_event *record;
	struct task_state *state;
	u32 pid = task->tgid;
	bool last;

	if (task->flags & PF_KTHREAD)
		return 0;
	last = BPF_CORE_READ(task, signal, live.counter) == 0;
	state = current_state((struct task_struct *)bpf_get_current_task_btf());
	if (last && live.scope_pids)
		bpf_map_delete_elem(&scope_pids, &pid);
	if (last && live.go_processes)
		bpf_map_delete_elem(&go_processes, &pid);
	if (!wanted(state))
		return 0;
	record = start_event(TH_THREAD_EXIT);
	if (!record)
		return 0;
	about(&record->event, task);
	record->event.exit_process = last;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}

/* The busiest hook on a machine: everything that is not a wake between two threads of a traced process leaves early. */
SEC("tp_btf/sched_waking")
int BPF_PROG(waking, struct task_struct *target)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct th_ring_wake *record;
	struct task_state *state;
	bool in_irq;
	u32 epoch;

	if (target->tgid != task->tgid || target->pid == task->pid || !task->pid)
		return 0;
	if (task->flags & (PF_KTHREAD | PF_IO_WORKER))
		return 0;
	/* Nothing is created here, under the scheduler's locks: threads in scope have their state since fork or start. */
	state = bpf_task_storage_get(&tasks, task, NULL, 0);
	if (!state)
		return 0;
	in_irq = in_interrupt();
	if (is_stale(state, task))
		decide(task, state);
	if (!wanted(state))
		return 0;
	if (ring_used(state) > settings.ring_wakes) {
		count_loss(TH_LOSS_WAKE_SHED);
		return 0;
	}
	epoch = live.tell_epoch;
	record = tell_thread(task, state, epoch) ? bpf_ringbuf_reserve(&ring, sizeof(*record), 0) : NULL;
	if (!record) {
		count_loss(TH_LOSS_RING_FULL);
		return 0;
	}
	record->head.kind = TH_RING_WAKE;
	record->head.epoch = epoch;
	record->mono_ns = bpf_ktime_get_ns();
	record->thread = state->thread_id;
	record->target_thread_id = th_id(settings.salt ^ (u64)(u32)target->pid, target->start_boottime);
	record->target_tid = target->pid;
	record->in_irq = in_irq;
	record->key = 0;
	if (!in_irq) {
		struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
		int nr = is_compat(task) ? -1 : TH_SYSCALL_NR(regs);
		if (nr == TH_NR_futex) {
			record->key = TH_ARG1(regs);
		} else if (nr == TH_NR_write) {
			/* Of an eventfd or pipe: what both of its ends share. */
			struct file *file = file_of(task, TH_ARG1(regs));
			record->key = file ? th_id(settings.salt, (u64)BPF_CORE_READ(file, private_data)) : 0;
		}
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}
