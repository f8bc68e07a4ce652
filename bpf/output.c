/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "expand.h"
#include "records.h"
#include "spill.h"

#define CAPACITY (1u << 20)
/* Fewer bytes than this are not worth a write to the file. */
#define SPILL_AT (CAPACITY / 2)
#define CHUNK (256u << 10)

/* Oldest first: frames on their way into the pipe, items that came back from the file, what lies in the file, and the items
 * that came last. */
static uint8_t frames[CHUNK], chunk[CHUNK], buffer[CAPACITY] __attribute__((aligned(8)));
static size_t frames_begin, frames_end, chunk_begin, chunk_end, begin, end;
static uint64_t written_bytes;
static bool held;
static const char *failure = "nobody reads standard output any more";

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
	if (begin && CAPACITY - end < OUTPUT_MARGIN) {
		memmove(buffer, buffer + begin, end - begin);
		end -= begin;
		begin = 0;
	}
	return CAPACITY - end;
}

bool output_pending(void)
{
	return end > begin || chunk_end > chunk_begin || frames_end > frames_begin || spill_used();
}

/* 1 = all of them, 0 = the pipe is full, -1 = its reader is gone. */
static int write_frames(void)
{
	while (frames_begin < frames_end) {
		ssize_t written = write(STDOUT_FILENO, frames + frames_begin, frames_end - frames_begin);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno == EAGAIN ? 0 : -1;
		frames_begin += written;
		written_bytes += written;
	}
	frames_begin = frames_end = 0;
	return 1;
}

/* More of the file, behind the end of an item that the last piece of it ended in. */
static bool take_from_spill(void)
{
	size_t got;

	memmove(chunk, chunk + chunk_begin, chunk_end - chunk_begin);
	chunk_end -= chunk_begin;
	chunk_begin = 0;
	got = spill_take(chunk + chunk_end, CHUNK - chunk_end);
	chunk_end += got;
	return got;
}

/* 1 = there are some, 0 = nothing is left to make them of, -1 = what waited cannot be read. */
static int make_frames(void)
{
	size_t used;

	for (;;) {
		if (chunk_end > chunk_begin) {
			frames_end = expand(chunk + chunk_begin, chunk_end - chunk_begin, &used, frames, CHUNK);
			chunk_begin += used;
		} else if (!spill_used()) {
			frames_end = expand(buffer + begin, end - begin, &used, frames, CHUNK);
			begin += used;
			if (begin == end)
				begin = end = 0;
			if (!used)
				return 0;
		}
		if (frames_end)
			return 1;
		if (spill_used() && !take_from_spill()) {
			failure = "what waited on disk for its reader cannot be read back";
			return -1;
		}
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

const char *output_failure(void)
{
	return failure;
}

bool output_flush(void)
{
	int done = held ? 0 : write_frames();

	while (done > 0) {
		int made = make_frames();
		if (made <= 0) {
			done = made < 0 ? -1 : 1;
			break;
		}
		done = write_frames();
	}
	if (!done && end - begin >= SPILL_AT && spill_put(buffer + begin, end - begin))
		begin = end = 0;
	return done >= 0;
}

bool output_flush_all(int timeout_ms)
{
	struct pollfd pipe = {.fd = STDOUT_FILENO, .events = POLLOUT};
	uint64_t before = written_bytes - 1;
	int64_t deadline = 0;
	struct timespec now;

	while (output_flush()) {
		if (!output_pending())
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		int64_t now_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
		if (written_bytes != before)
			deadline = now_ms + timeout_ms;
		before = written_bytes;
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
