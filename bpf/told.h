/* SPDX-License-Identifier: Apache-2.0 */
/* What was told of threads and sockets in this epoch and the one before. Each begins with a th_ring_head, its key after it. */
#ifndef TH_TOLD_H
#define TH_TOLD_H

#include <stddef.h>
#include <stdint.h>

struct told {
	size_t entry_bytes;
	uint32_t epoch;
	struct told_epoch {
		uint8_t *slots;
		size_t capacity, count; /* capacity a power of two */
	} now, before;
};

/* Does not copy what there is no memory for: its events are then counted as lost. */
void told_put(struct told *told, const void *entry);
/* NULL = not told. */
const void *told_find(const struct told *told, uint64_t key);

#endif
