/* SPDX-License-Identifier: Apache-2.0 */
#include "pace.h"
#include <sys/epoll.h>
#include <unistd.h>

#define LEAST_MS 5
#define MOST_MS 50
#define PIECE_BYTES (256u << 10)

static int wakes = -1;

int pace_open(int ring_fd)
{
	/* Its edge: the ring is readable as long as there is anything in it. */
	struct epoll_event edge = {.events = EPOLLIN | EPOLLET};

	wakes = epoll_create1(EPOLL_CLOEXEC);
	if (wakes >= 0 && epoll_ctl(wakes, EPOLL_CTL_ADD, ring_fd, &edge)) {
		close(wakes);
		wakes = -1;
	}
	return wakes;
}

void pace_woken(void)
{
	struct epoll_event event;

	epoll_wait(wakes, &event, 1, 0);
}

int pace_ms(uint64_t bytes, uint64_t elapsed_ns)
{
	uint64_t ms = bytes ? elapsed_ns / 1000 * PIECE_BYTES / bytes / 1000 : MOST_MS;

	return ms < LEAST_MS ? LEAST_MS : ms > MOST_MS ? MOST_MS : ms;
}
