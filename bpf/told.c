/* SPDX-License-Identifier: Apache-2.0 */
#include "told.h"
#include <stdlib.h>
#include <string.h>
#include "ring-records.h"

#define LEAST 256

static uint64_t key_of(const void *entry)
{
	uint64_t key;

	memcpy(&key, (const uint8_t *)entry + sizeof(struct th_ring_head), sizeof(key));
	return key;
}

/* Where it is or would be. Ids are hashes already. */
static uint8_t *slot_of(const struct told *told, const struct told_epoch *in, uint64_t key)
{
	for (size_t at = key & (in->capacity - 1);; at = (at + 1) & (in->capacity - 1)) {
		uint8_t *slot = in->slots + at * told->entry_bytes;
		uint64_t found = key_of(slot);
		if (!found || found == key)
			return slot;
	}
}

static int grow(struct told *told, struct told_epoch *in, size_t capacity)
{
	struct told_epoch grown = {.slots = calloc(capacity, told->entry_bytes), .capacity = capacity, .count = in->count};

	if (!grown.slots)
		return -1;
	for (size_t at = 0; at < in->capacity; at++) {
		uint8_t *slot = in->slots + at * told->entry_bytes;
		if (key_of(slot))
			memcpy(slot_of(told, &grown, key_of(slot)), slot, told->entry_bytes);
	}
	free(in->slots);
	*in = grown;
	return 0;
}

static void empty(struct told *told, struct told_epoch *in)
{
	/* A rush of connections is no reason to keep its memory for ever. */
	if (in->capacity > LEAST && in->count < in->capacity / 16) {
		free(in->slots);
		*in = (struct told_epoch){};
	} else if (in->count) {
		memset(in->slots, 0, in->capacity * told->entry_bytes);
	}
	in->count = 0;
}

static void begin_epoch(struct told *told, uint32_t epoch)
{
	struct told_epoch oldest = told->before;

	if (epoch - told->epoch > 1)
		empty(told, &told->now);
	empty(told, &oldest);
	told->before = told->now;
	told->now = oldest;
	told->epoch = epoch;
}

void told_put(struct told *told, const void *entry)
{
	const struct th_ring_head *head = entry;
	uint8_t *slot;

	/* A late one of the epoch before counts for this one: it is as true. */
	if ((int32_t)(head->epoch - told->epoch) > 0)
		begin_epoch(told, head->epoch);
	if (told->now.count >= told->now.capacity / 2 && grow(told, &told->now, told->now.capacity ? told->now.capacity * 2 : LEAST))
		return;
	slot = slot_of(told, &told->now, key_of(entry));
	if (!key_of(slot))
		told->now.count++;
	memcpy(slot, entry, told->entry_bytes);
}

const void *told_find(const struct told *told, uint64_t key)
{
	const struct told_epoch *const both[] = {&told->now, &told->before};

	for (int i = 0; i < 2; i++)
		if (both[i]->count) {
			const uint8_t *slot = slot_of(told, both[i], key);
			if (key_of(slot))
				return slot;
		}
	return NULL;
}
