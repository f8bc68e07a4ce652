/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* One socket event: sized, reserved, filled, submitted. */
#ifndef TH_SOCKET_EVENT_H
#define TH_SOCKET_EVENT_H

#include "payload.bpf.h"
#include "pressure.bpf.h"
#include "socket-state.bpf.h"
#include "tasks.bpf.h"

struct shot {
	u64 stream_offset, other_offset, tail;
	u64 thread_id, process_id, cgroup_id, turn, task_id, parent_task_id, stack_id;
	u32 pid, tid;
	u32 tcp_seq, other_tcp_seq;
	s32 fd, bytes, error, syscall;
	u32 flags;
	u8 op, old_state, new_state, tail_length;
};

struct ring_socket_event {
	struct th_frame frame;
	struct th_socket_event event;
};

static __always_inline void shot_by(struct shot *shot, struct task_struct *task, struct task_state *state)
{
	struct goroutine goroutine = {};

	current_goroutine(task, state, &goroutine);
	shot->task_id = goroutine.id;
	shot->parent_task_id = goroutine.parent_id;
	shot->thread_id = state->thread_id;
	shot->process_id = state->process_id;
	shot->cgroup_id = state->cgroup_id;
	shot->turn = state->turn;
	shot->pid = task->tgid;
	shot->tid = task->pid;
}

/* The time is taken after the space: whatever has no space yet at time t will carry a later time, so the loader's watermark
 * needs no margin. */
__noinline int fill_event(struct ring_socket_event *record, const struct shot *shot, const struct sock_state *state, u32 payload)
{
	struct th_socket_event *event = &record->event;

	if (!record || !shot || !state)
		return 0;
	record->frame.magic = TH_FRAME_MAGIC;
	record->frame.type = TH_RECORD_SOCKET_EVENT;
	record->frame.reserved = 0;
	record->frame.used = sizeof(*event) + payload;
	record->frame.length = (sizeof(*event) + payload + 7) & ~7U;
	event->mono_ns = bpf_ktime_get_ns();
	event->thread_id = shot->thread_id;
	event->process_id = shot->process_id;
	event->socket_id = state->socket_id;
	event->conn_id = state->conn_id;
	event->peer_socket_id = state->peer_socket_id;
	event->stream_offset = shot->stream_offset;
	event->other_offset = shot->other_offset;
	event->cgroup_id = shot->cgroup_id;
	event->turn = shot->turn;
	event->task_id = shot->task_id;
	event->parent_task_id = shot->parent_task_id;
	event->stack_id = shot->stack_id;
	event->tail = shot->tail;
	event->tcp_seq = shot->tcp_seq;
	event->other_tcp_seq = shot->other_tcp_seq;
	event->pid = shot->pid;
	event->tid = shot->tid;
	event->fd = shot->fd;
	event->bytes = shot->bytes;
	event->netns = state->netns;
	event->error = shot->error;
	event->payload_length = payload;
	event->local_port = state->local_port;
	event->remote_port = state->remote_port;
	event->family = state->family;
	event->op = shot->op;
	event->layer = TH_LAYER_SOCKET;
	event->role = state->role;
	event->old_state = shot->old_state;
	event->new_state = shot->new_state;
	event->tail_length = shot->tail_length;
	event->syscall = shot->syscall;
	event->flags = shot->flags | (state->state & SOCK_PREEXISTING ? TH_FLAG_PREEXISTING : 0) | (state->family == AF_UNIX ? TH_FLAG_UNIX : 0) |
		       (state->state & SOCK_RELATIVE ? TH_FLAG_RELATIVE_OFFSET : 0) | ((s32)payload < shot->bytes ? TH_FLAG_PAYLOAD_TRUNCATED : 0);
	__builtin_memcpy(event->local_ip, state->local_ip, 16);
	__builtin_memcpy(event->remote_ip, state->remote_ip, 16);
	if (shot->flags & TH_FLAG_NO_THREAD)
		__builtin_memset(event->comm, 0, 16);
	else
		bpf_get_current_comm(event->comm, 16);
	return 0;
}

static __always_inline bool send_plain(const struct shot *shot, const struct sock_state *state)
{
	struct ring_socket_event *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record) {
		count_loss(TH_LOSS_RING_FULL);
		return false;
	}
	fill_event(record, shot, state, 0);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

#define SEND_FLAT(most)                                                                                                         \
	({                                                                                                                      \
		struct ring_socket_event *_record = bpf_ringbuf_reserve(&ring, sizeof(*_record) + (most), 0);                   \
		if (_record) {                                                                                                  \
			u64 _length = want;                                                                                     \
			CLAMP(_length, (most));                                                                                 \
			if (bpf_probe_read_user((u8 *)_record + sizeof(*_record), _length, (void *)call->base))                 \
				_length = 0;                                                                                    \
			fill_event(_record, shot, state, _length);                                                              \
			bpf_ringbuf_submit(_record, BPF_RB_NO_WAKEUP);                                                          \
		}                                                                                                               \
		_record != NULL;                                                                                                \
	})

#define SEND_GATHERED(most)                                                                                                     \
	({                                                                                                                      \
		struct ring_socket_event *_record = bpf_ringbuf_reserve(&ring, sizeof(*_record) + 2 * (most), 0);               \
		if (_record) {                                                                                                  \
			u32 _length = gather((u8 *)_record + sizeof(*_record), (most), call, want);                             \
			fill_event(_record, shot, state, _length);                                                              \
			bpf_ringbuf_submit(_record, BPF_RB_NO_WAKEUP);                                                          \
		}                                                                                                               \
		_record != NULL;                                                                                                \
	})

/* Ring space is reserved in classes, as its size must be a constant; the loader trims. */
__noinline int send_event(struct shot *shot, const struct sock_state *state, const struct call *call, u32 want)
{
	bool sent = false;

	if (!shot || !state || !call)
		return 0;
	if (call->base) {
		if (want == 0)
			sent = false;
		else if (want <= 64)
			sent = SEND_FLAT(64);
		else if (want <= 256)
			sent = SEND_FLAT(256);
		else if (want <= 1024)
			sent = SEND_FLAT(1024);
		else
			sent = SEND_FLAT(4096);
	} else if (call->iov_count > 1) {
		if (want == 0)
			sent = false;
		else if (want <= 256)
			sent = SEND_GATHERED(256);
		else if (want <= 1024)
			sent = SEND_GATHERED(1024);
		else
			sent = SEND_GATHERED(4096);
	} else {
		want = 0;
	}
	if (!sent) {
		if (want) {
			shot->flags |= TH_FLAG_PAYLOAD_SHED;
			count_loss(TH_LOSS_PAYLOAD_SHED);
		}
		send_plain(shot, state);
	}
	return 0;
}

#endif
