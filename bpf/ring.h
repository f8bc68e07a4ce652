/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer's side of the kernel's ring buffer. libbpf's own loop runs until the ring is empty, which under load is never;
 * the watermark needs to know how far the producers were at one moment. */
#ifndef TH_RING_H
#define TH_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
	uint64_t *consumer;
	const uint64_t *producer;
	const uint8_t *data;
	uint64_t mask;
	uint64_t seen; /* records taken so far */
};

bool ring_open(struct ring *ring, int map_fd, size_t bytes);
/* Takes records up to where the producers stood at the call, as long as take() returns true (it has stored them).
 * True = got as far as that. */
bool ring_drain(struct ring *ring, bool (*take)(const void *record, size_t length));

#endif
