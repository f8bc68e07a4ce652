/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

bool ring_open(struct ring *ring, int map_fd, size_t bytes)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	/* The data is mapped twice in a row, so that no record is ever split. */
	uint8_t *producer = mmap(NULL, page + 2 * bytes, PROT_READ, MAP_SHARED, map_fd, page);

	if (consumer == MAP_FAILED || producer == MAP_FAILED)
		return false;
	ring->consumer = consumer;
	ring->producer = (const uint64_t *)producer;
	ring->data = producer + page;
	ring->mask = bytes - 1;
	ring->seen = 0;
	return true;
}

bool ring_drain(struct ring *ring, bool (*take)(const void *record, size_t length))
{
	uint64_t stop = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	uint64_t at = *ring->consumer, told = at;

	while (at < stop) {
		const uint8_t *head = ring->data + (at & ring->mask);
		uint32_t length = __atomic_load_n((const uint32_t *)head, __ATOMIC_ACQUIRE);
		if (length & BPF_RINGBUF_BUSY_BIT)
			break;
		uint32_t bytes = length & ~BPF_RINGBUF_DISCARD_BIT;
		if (!(length & BPF_RINGBUF_DISCARD_BIT)) {
			if (!take(head + BPF_RINGBUF_HDR_SZ, bytes))
				break;
			ring->seen++;
		}
		at += (bytes + BPF_RINGBUF_HDR_SZ + 7) & ~7u;
		/* Producers read this word: don't make them wait for it at each record. */
		if (at - told > 65536) {
			__atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
			told = at;
		}
	}
	__atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
	return at >= stop;
}
