/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What goes when the ring fills, and the counts of it. */
#ifndef TH_PRESSURE_H
#define TH_PRESSURE_H

#include "common.bpf.h"

__noinline int count_loss(u32 cause)
{
	struct th_loss_slot *slot = bpf_map_lookup_elem(&losses, &cause);
	u64 now = bpf_ktime_get_ns();

	if (!slot)
		return 0;
	if (slot->epoch != live.loss_epoch) {
		slot->epoch = live.loss_epoch;
		slot->first_ns = now;
	}
	slot->last_ns = now;
	__sync_fetch_and_add(&slot->count, 1);
	return 0;
}

/* The loader sleeps while events gather (pace.h). */
static __noinline int wake_loader(void)
{
	u64 *nothing = bpf_ringbuf_reserve(&ring, sizeof(*nothing), 0);

	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
	return 0;
}

static __always_inline u64 ask_ring(void)
{
	u64 used = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
	u32 pressed = used > settings.ring_half / 2;

	if (live.pressed != pressed) {
		live.pressed = pressed;
		if (pressed)
			wake_loader();
	}
	return used;
}

/* Asking the ring is a call, and a cache line that the other processors write: while it is far from where anything is shed, one
 * in sixteen events of a thread asks, and 0 is as good for the others. By way of memory, where the verifier forgets which it was. */
static __always_inline u64 ring_used(struct task_state *who)
{
	if (live.pressed || !(who->looks++ & 15))
		who->ring_used = ask_ring();
	else
		who->ring_used = 0;
	return *(volatile u64 *)&who->ring_used;
}

/* The same connections at both ends and on every node, as conn_id is the same there. */
static __always_inline bool connection_shed(u64 conn_id, u64 used)
{
	if (used <= settings.ring_most || !conn_id)
		return false;
	return conn_id & (used > settings.ring_full ? 3 : 1);
}

#endif
