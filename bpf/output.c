/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "records.h"
#include "spill.h"

#define CAPACITY (1u << 20)
/* Fewer bytes than this are not worth a write to the file. */
#define SPILL_AT (CAPACITY / 2)
#define CHUNK (256u << 10)

/* On their way: first the chunk, then what lies in the file, then the buffer, where frames are made. */
static uint8_t chunk[CHUNK], buffer[CAPACITY];
static size_t chunk_begin, chunk_end, begin, end;
static bool held;

void output_open(void)
{
	struct stat about;

	/* Of a terminal or file the flag would be shared with others; those don't block for long. */
	if (!fstat(STDOUT_FILENO, &about) && (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode))) {
		fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
		fcntl(STDOUT_FILENO, F_SETPIPE_SZ, 1 << 20);
	}
}

size_t output_room(void)
{
	if (begin == end)
		begin = end = 0;
	return CAPACITY - end;
}

bool output_pending(void)
{
	return end > begin || chunk_end > chunk_begin || spill_used();
}

/* 1 = all of it, 0 = the pipe is full, -1 = its reader is gone. */
static int write_out(const uint8_t *bytes, size_t *from, size_t to)
{
	while (*from < to) {
		ssize_t written = write(STDOUT_FILENO, bytes + *from, to - *from);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno == EAGAIN ? 0 : -1;
		*from += written;
	}
	return 1;
}

static int write_earlier(void)
{
	for (;;) {
		int done = write_out(chunk, &chunk_begin, chunk_end);
		if (done <= 0)
			return done;
		chunk_begin = 0;
		chunk_end = spill_take(chunk, CHUNK);
		if (!chunk_end)
			return 1;
	}
}

void output_hold(bool hold)
{
	held = hold;
}

bool output_waiting(void)
{
	return !held && output_pending();
}

bool output_flush(void)
{
	int done = held ? 0 : write_earlier();

	if (done > 0)
		done = write_out(buffer, &begin, end);
	if (!done && end - begin >= SPILL_AT && spill_put(buffer + begin, end - begin))
		begin = end;
	if (begin == end)
		begin = end = 0;
	return done >= 0;
}

/* Of what has been handed over; grows with each byte that the pipe takes. */
static uint64_t position(void)
{
	return (uint64_t)0 - (end - begin) - (chunk_end - chunk_begin) - spill_used();
}

bool output_flush_all(int timeout_ms)
{
	struct pollfd pipe = {.fd = STDOUT_FILENO, .events = POLLOUT};
	uint64_t before = position() - 1;
	int64_t deadline = 0;
	struct timespec now;

	while (output_flush()) {
		if (!output_pending())
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		int64_t now_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
		if (position() != before)
			deadline = now_ms + timeout_ms;
		before = position();
		if (now_ms >= deadline)
			return false;
		poll(&pipe, 1, deadline - now_ms);
	}
	return false;
}

void output_raw(const void *bytes, size_t length)
{
	memcpy(buffer + end, bytes, length);
	end += length;
}

void output_frame(unsigned type, const void *fixed, size_t length, const char *const *strings, size_t count)
{
	struct th_frame frame = {.magic = TH_FRAME_MAGIC, .type = type};
	size_t used = length;

	for (size_t i = 0; i < count; i++)
		used += 4 + strlen(strings[i]);
	frame.used = used;
	frame.length = (used + 7) & ~7ul;
	if (output_room() < sizeof(frame) + frame.length)
		return;
	output_raw(&frame, sizeof(frame));
	output_raw(fixed, length);
	for (size_t i = 0; i < count; i++) {
		uint32_t size = strlen(strings[i]);
		output_raw(&size, 4);
		output_raw(strings[i], size);
	}
	memset(buffer + end, 0, frame.length - used);
	end += frame.length - used;
}
