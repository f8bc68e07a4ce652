/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* One socket event: sized, reserved, filled, submitted. */
#ifndef TH_SOCKET_EVENT_H
#define TH_SOCKET_EVENT_H

#include "payload.bpf.h"
#include "pressure.bpf.h"
#include "socket-state.bpf.h"
#include "tasks.bpf.h"
#include "tell.bpf.h"

/* By direction and family: what may be interrupted by another kind of hook has its own. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct gathered);
} gather_room SEC(".maps");

static __always_inline void event_by(struct th_ring_event *event, struct task_struct *task, struct task_state *state)
{
	struct goroutine goroutine = {};

	current_goroutine(task, state, &goroutine);
	event->task_id = goroutine.id;
	event->parent_task_id = goroutine.parent_id;
	event->thread = state->thread_id;
	event->turn = state->turn;
}

/* The time is taken after the space: whatever has no space yet at time t will carry a later time, so the loader's watermark
 * needs no margin. */
static __always_inline void fill_event(struct th_ring_event *record, const struct th_ring_event *event, u32 payload)
{
	*record = *event;
	record->mono_ns = bpf_ktime_get_ns();
	record->payload_length = payload;
	if ((s32)payload < event->bytes)
		record->flags |= TH_FLAG_PAYLOAD_TRUNCATED;
}

static __always_inline bool send_plain(const struct th_ring_event *event)
{
	struct th_ring_event *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record) {
		count_loss(TH_LOSS_RING_FULL);
		return false;
	}
	fill_event(record, event, 0);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

#define SEND(most)                                                                                                              \
	({                                                                                                                      \
		struct th_ring_event *_record = bpf_ringbuf_reserve(&ring, sizeof(*_record) + (most), 0);                       \
		if (_record) {                                                                                                  \
			u64 _length = want;                                                                                     \
			CLAMP(_length, (most));                                                                                 \
			if (room ? bpf_probe_read_kernel((u8 *)(_record + 1), _length, room->bytes)                             \
				 : bpf_probe_read_user((u8 *)(_record + 1), _length, (void *)from))                             \
				_length = 0;                                                                                    \
			fill_event(_record, event, _length);                                                                    \
			bpf_ringbuf_submit(_record, BPF_RB_NO_WAKEUP);                                                          \
		}                                                                                                               \
		_record != NULL;                                                                                                \
	})

/* Ring space is reserved in classes, as its size must be a constant; the loader trims. */
__noinline int send_event(struct th_ring_event *event, struct call *call, u32 want)
{
	struct gathered *room = NULL;
	bool sent = false;
	u64 from;

	if (!event || !call)
		return 0;
	from = call->iov_count > 1 && call->parts[0].length >= want ? call->parts[0].base : call->base;
	if (!from && want) {
		u32 which = (event->op == TH_OP_WRITE) | (event->flags & TH_FLAG_UNIX ? 2 : 0);
		room = call->iov_count > 1 ? bpf_map_lookup_elem(&gather_room, &which) : NULL;
		want = room ? gather(room, call, want) : 0;
	}
	if (want) {
		if (want <= 64)
			sent = SEND(64);
		else if (want <= 128)
			sent = SEND(128);
		else if (want <= 192)
			sent = SEND(192);
		else if (want <= 256)
			sent = SEND(256);
		else if (want <= 1024)
			sent = SEND(1024);
		else
			sent = SEND(4096);
		if (!sent) {
			event->flags |= TH_FLAG_PAYLOAD_SHED;
			count_loss(TH_LOSS_PAYLOAD_SHED);
		}
	}
	if (!sent)
		send_plain(event);
	return 0;
}

#endif
