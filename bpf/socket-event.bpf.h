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

#define SEND(most, read)                                                                                                        \
	({                                                                                                                      \
		struct th_ring_event *_record = bpf_ringbuf_reserve(&ring, sizeof(*_record) + (most), 0);                       \
		if (_record) {                                                                                                  \
			u8 *to = (u8 *)(_record + 1);                                                                           \
			fill_event(_record, event, read);                                                                       \
			bpf_ringbuf_submit(_record, BPF_RB_NO_WAKEUP);                                                          \
		}                                                                                                               \
		_record != NULL;                                                                                                \
	})

static __always_inline u32 read_one(u8 *to, u64 length, const u64 most, u64 from)
{
	CLAMP(length, most);
	return bpf_probe_read_user(to, length, (void *)from) ? 0 : length;
}

/* Two segments in a row, into twice the room: so the verifier sees that the second fits behind the first. */
static __always_inline u32 read_two(u8 *to, u64 first, u64 second, const u64 most, const struct call *call)
{
	CLAMP(first, most);
	CLAMP(second, most);
	if (bpf_probe_read_user(to, first, (void *)call->parts[0].base))
		return 0;
	return bpf_probe_read_user(to + first, second, (void *)call->parts[1].base) ? first : first + second;
}

static __always_inline u32 read_gathered(u8 *to, u64 length, const u64 most, const struct gathered *room)
{
	CLAMP(length, most);
	return bpf_probe_read_kernel(to, length, room->bytes) ? 0 : length;
}

/* Ring space is reserved in classes, as its size must be a constant; the loader trims. */
static __always_inline bool send_from(const struct th_ring_event *event, u32 want, u64 from)
{
	if (want <= 64)
		return SEND(64, read_one(to, want, 64, from));
	if (want <= 128)
		return SEND(128, read_one(to, want, 128, from));
	if (want <= 192)
		return SEND(192, read_one(to, want, 192, from));
	if (want <= 256)
		return SEND(256, read_one(to, want, 256, from));
	if (want <= 1024)
		return SEND(1024, read_one(to, want, 1024, from));
	return SEND(4096, read_one(to, want, 4096, from));
}

/* A head and a body, as most servers write them. */
static __always_inline bool send_pair(const struct th_ring_event *event, u32 want, const struct call *call)
{
	u64 first = call->parts[0].length;

	if (want <= 128)
		return SEND(2 * 128, read_two(to, first, want - first, 128, call));
	if (want <= 192)
		return SEND(2 * 192, read_two(to, first, want - first, 192, call));
	return SEND(2 * 256, read_two(to, first, want - first, 256, call));
}

static __always_inline bool send_gathered(const struct th_ring_event *event, struct call *call, u32 want)
{
	u32 which = (event->op == TH_OP_WRITE) | (event->flags & TH_FLAG_UNIX ? 2 : 0);
	struct gathered *room = bpf_map_lookup_elem(&gather_room, &which);

	want = room ? gather(room, call, want) : 0;
	if (!want) {
		send_plain(event);
		return true;
	}
	if (want <= 256)
		return SEND(256, read_gathered(to, want, 256, room));
	if (want <= 1024)
		return SEND(1024, read_gathered(to, want, 1024, room));
	return SEND(4096, read_gathered(to, want, 4096, room));
}

/* A global function: verified once, not with all that may lead to it. */
__noinline int send_event(struct th_ring_event *event, struct call *call, u32 want)
{
	u64 from;
	bool sent;

	if (!event || !call)
		return 0;
	from = call->iov_count > 1 && call->parts[0].length >= want ? call->parts[0].base : call->base;
	if (!want || (!from && call->iov_count < 2)) {
		send_plain(event);
		return 0;
	}
	if (from)
		sent = send_from(event, want, from);
	else if (want <= 256 && call->parts[0].length + call->parts[1].length >= want)
		sent = send_pair(event, want, call);
	else
		sent = send_gathered(event, call, want);
	if (!sent) {
		event->flags |= TH_FLAG_PAYLOAD_SHED;
		count_loss(TH_LOSS_PAYLOAD_SHED);
		send_plain(event);
	}
	return 0;
}

#endif
