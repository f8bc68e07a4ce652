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

#define CAPACITY (1u << 20)

static uint8_t buffer[CAPACITY];
static size_t begin, end;

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
	return end > begin;
}

bool output_flush(void)
{
	while (begin < end) {
		ssize_t written = write(STDOUT_FILENO, buffer + begin, end - begin);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno == EAGAIN;
		begin += written;
	}
	begin = end = 0;
	return true;
}

bool output_flush_all(int timeout_ms)
{
	struct pollfd pipe = {.fd = STDOUT_FILENO, .events = POLLOUT};
	struct timespec now;
	int64_t deadline;

	clock_gettime(CLOCK_MONOTONIC, &now);
	deadline = now.tv_sec * 1000 + now.tv_nsec / 1000000 + timeout_ms;
	while (output_flush()) {
		if (!output_pending())
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		int64_t left = deadline - (now.tv_sec * 1000 + now.tv_nsec / 1000000);
		if (left <= 0)
			return false;
		poll(&pipe, 1, left);
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
