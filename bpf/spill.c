/* SPDX-License-Identifier: Apache-2.0 */
#include "spill.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Taken bytes give their blocks back in pieces of at most so many. */
#define PIECE (8ull << 20)
#define LEAST (1ull << 20)

static int file = -1;
static uint64_t capacity, put, taken, freed, most; /* positions only grow; the file is a ring */

bool spill_open(const char *folder, uint64_t bytes)
{
	char path[4096];

	file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		snprintf(path, sizeof(path), "%s/.tracehouse-spill-XXXXXX", folder);
		file = mkostemp(path, O_CLOEXEC);
		if (file >= 0)
			unlink(path);
	}
	capacity = file < 0 ? 0 : bytes & ~(LEAST - 1);
	return file >= 0;
}

uint64_t spill_used(void)
{
	return put - taken;
}

uint64_t spill_most(void)
{
	return most;
}

uint64_t spill_capacity(void)
{
	return capacity;
}

static bool write_at(uint64_t at, const uint8_t *bytes, size_t length)
{
	while (length) {
		ssize_t written = pwrite(file, bytes, length, at);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		at += written;
		bytes += written;
		length -= written;
	}
	return true;
}

static bool read_at(uint64_t at, uint8_t *to, size_t length)
{
	while (length) {
		ssize_t got = pread(file, to, length, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		to += got;
		length -= got;
	}
	return true;
}

bool spill_put(const uint8_t *bytes, size_t length)
{
	uint64_t at = capacity ? put % capacity : 0;
	size_t first = length;

	if (length > capacity - (put - freed))
		return false;
	if (first > capacity - at)
		first = capacity - at;
	if (!write_at(at, bytes, first) || !write_at(0, bytes + first, length - first))
		return false;
	put += length;
	if (spill_used() > most)
		most = spill_used();
	return true;
}

/* What has been taken need not stay on disk while the rest waits. A file system that cannot punch holes keeps it. */
static void free_taken(void)
{
	uint64_t piece = capacity / 8 < PIECE ? capacity / 8 : PIECE;

	while (taken - freed >= piece) {
		uint64_t at = freed % capacity;
		uint64_t length = piece < capacity - at ? piece : capacity - at;
		fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length);
		freed += length;
	}
}

size_t spill_take(uint8_t *to, size_t most)
{
	uint64_t at = capacity ? taken % capacity : 0;
	size_t length = most;

	if (length > spill_used())
		length = spill_used();
	if (length > capacity - at)
		length = capacity - at;
	if (!length || !read_at(at, to, length))
		return 0;
	taken += length;
	free_taken();
	if (put == taken) {
		/* Its blocks go back, and what comes next is at the front, where the cache is. */
		put = taken = freed = 0;
		if (ftruncate(file, 0))
			capacity = 0;
	}
	return length;
}
