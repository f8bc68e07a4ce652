/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What a thread and a socket always say: told before their first event of an epoch, and when it has changed. False = the ring
 * has no room for it, so none for the event either. */
#ifndef TH_TELL_H
#define TH_TELL_H

#include "pressure.bpf.h"

#define SOCK_TOLD (SOCK_PREEXISTING | SOCK_RELATIVE)

static __noinline bool send_thread(struct task_struct *task, struct task_state *state, u32 epoch)
{
	struct th_ring_thread *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record)
		return false;
	if (!state) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return false;
	}
	record->head.kind = TH_RING_THREAD;
	record->head.epoch = epoch;
	record->thread = record->thread_id = state->thread_id;
	record->process_id = state->process_id;
	record->cgroup_id = state->cgroup_id;
	record->pid = task->tgid;
	record->tid = task->pid;
	record->comm[0] = state->told_comm[0];
	record->comm[1] = state->told_comm[1];
	state->told = epoch;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

static __always_inline bool tell_thread(struct task_struct *task, struct task_state *state, u32 epoch)
{
	u64 first = *(u64 *)&task->comm[0], second = *(u64 *)&task->comm[8];

	if (state->told == epoch && state->told_comm[0] == first && state->told_comm[1] == second)
		return true;
	state->told_comm[0] = first;
	state->told_comm[1] = second;
	return send_thread(task, state, epoch);
}

static __noinline bool send_socket(struct sock_state *state, u32 epoch)
{
	struct th_ring_socket *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record)
		return false;
	if (!state) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return false;
	}
	record->head.kind = TH_RING_SOCKET;
	record->head.epoch = epoch;
	record->socket_id = state->socket_id;
	record->conn_id = state->told_conn_id = state->conn_id;
	record->peer_socket_id = state->peer_socket_id;
	record->netns = state->netns;
	record->local_port = state->local_port;
	record->remote_port = state->remote_port;
	record->family = state->family;
	record->role = state->told_role = state->role;
	record->padding = 0;
	state->told_state = state->state & SOCK_TOLD;
	record->flags = (state->state & SOCK_PREEXISTING ? TH_FLAG_PREEXISTING : 0) | (state->family == AF_UNIX ? TH_FLAG_UNIX : 0) |
			(state->state & SOCK_RELATIVE ? TH_FLAG_RELATIVE_OFFSET : 0);
	__builtin_memcpy(record->local_ip, state->local_ip, 16);
	__builtin_memcpy(record->remote_ip, state->remote_ip, 16);
	state->told = epoch;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

static __always_inline bool tell_socket(struct sock_state *state, u32 epoch)
{
	if (state->told == epoch && state->told_conn_id == state->conn_id && state->told_role == state->role && state->told_state == (state->state & SOCK_TOLD))
		return true;
	return send_socket(state, epoch);
}

#endif
