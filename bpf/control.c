/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "scope.h"
#include "shared.h"
#include "records.h"

static bool text_of(const uint8_t *body, size_t used, size_t fixed, char *to, size_t size)
{
	uint32_t length;

	if (used < fixed + 4)
		return false;
	memcpy(&length, body + fixed, 4);
	if (length >= size || used < fixed + 4 + length)
		return false;
	memcpy(to, body + fixed + 4, length);
	to[length] = 0;
	return true;
}

static int obey(const struct th_frame *frame, const uint8_t *body, void (*scope_grown)(void))
{
	char spec[4096];
	const char *why;

	switch (frame->type) {
	case TH_RECORD_CONTROL_SCOPE:
		if (!text_of(body, frame->used, sizeof(struct th_control_scope), spec, sizeof(spec)))
			return -1;
		if (!scope_add(spec, &why))
			fprintf(stderr, "tracehouse-loader: %s\n", why);
		else
			scope_grown();
		return 0;
	case TH_RECORD_CONTROL_EXCLUDE:
		if (frame->used < sizeof(struct th_control_exclude))
			return -1;
		scope_exclude(((const struct th_control_exclude *)body)->pid);
		return 0;
	case TH_RECORD_CONTROL_FOLLOW:
		if (frame->used < sizeof(struct th_control_follow))
			return -1;
		scope_follow(((const struct th_control_follow *)body)->socket_id, ((const struct th_control_follow *)body)->on);
		return 0;
	case TH_RECORD_CONTROL_STOP:
		return 1;
	}
	return -1;
}

int control_read(void (*scope_grown)(void))
{
	static uint8_t buffer[64 << 10] __attribute__((aligned(8)));
	static size_t have;
	ssize_t length = read(STDIN_FILENO, buffer + have, sizeof(buffer) - have);
	size_t at = 0;
	int result = 0;

	if (length < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : 1;
	if (length == 0)
		return 1;
	have += length;
	while (!result && have - at >= sizeof(struct th_frame)) {
		struct th_frame frame;
		uint8_t body[8192] __attribute__((aligned(8)));
		memcpy(&frame, buffer + at, sizeof(frame));
		if (frame.magic != TH_FRAME_MAGIC || frame.length > sizeof(body) || frame.length % 8 || frame.used > frame.length)
			return -1;
		if (have - at < sizeof(frame) + frame.length)
			break;
		memcpy(body, buffer + at + sizeof(frame), frame.length);
		at += sizeof(frame) + frame.length;
		result = obey(&frame, body, scope_grown);
	}
	/* Less than a header is judged too, or a stray line would wait for ever. */
	if (!result && at == 0 && have >= 4 && memcmp(buffer, &(uint32_t){TH_FRAME_MAGIC}, 4))
		return -1;
	memmove(buffer, buffer + at, have - at);
	have -= at;
	return result;
}
