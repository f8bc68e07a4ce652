/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* User stacks of calls that begin a request to another service (--stacks): by hash, each sent once. */
#ifndef TH_STACKS_H
#define TH_STACKS_H

#include "pressure.bpf.h"

#define STACK_FRAMES 32

struct stack_frames {
	struct bpf_stack_build_id at[STACK_FRAMES];
};

struct ring_stack {
	struct th_frame frame;
	struct th_stack stack;
	struct stack_frames frames; /* as the kernel lays them out; the loader puts them in order */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct stack_frames);
} stack_room SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u8);
} stacks_sent SEC(".maps");

static __always_inline u64 take_stack(void *ctx)
{
	u32 zero = 0;
	struct stack_frames *frames = bpf_map_lookup_elem(&stack_room, &zero);
	struct ring_stack *record;
	u64 id = 0;
	long bytes;
	u8 one = 1;

	if (!frames)
		return 0;
	bytes = bpf_get_stack(ctx, frames, sizeof(*frames), BPF_F_USER_STACK | BPF_F_USER_BUILD_ID);
	if (bytes < (long)sizeof(struct bpf_stack_build_id))
		return 0;
#pragma unroll
	for (int i = 0; i < STACK_FRAMES; i++)
		if (i * (long)sizeof(struct bpf_stack_build_id) < bytes)
			id = th_mix(id ^ *(u64 *)frames->at[i].build_id, frames->at[i].offset);
	id = th_id(id, bytes);
	if (bpf_map_lookup_elem(&stacks_sent, &id))
		return id;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	/* Not counted: the next call from the same place sends it again. */
	if (!record)
		return id;
	record->frame.magic = TH_FRAME_MAGIC;
	record->frame.type = TH_RECORD_STACK;
	record->frame.reserved = 0;
	record->frame.used = sizeof(record->stack) + (u32)bytes;
	record->frame.length = sizeof(record->stack) + (u32)bytes;
	record->stack.stack_id = id;
	record->stack.frame_count = (u32)bytes / sizeof(struct bpf_stack_build_id);
	record->stack.padding = 0;
	__builtin_memcpy(&record->frames, frames, sizeof(*frames));
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	bpf_map_update_elem(&stacks_sent, &id, &one, BPF_ANY);
	return id;
}

#endif
