/* SPDX-License-Identifier: Apache-2.0 */
/* How long the loader sleeps. Waking it and its reader costs more than the events of a quiet moment, on processors that the traced
 * programs want: so events gather, up to a time or a piece. */
#ifndef TH_PACE_H
#define TH_PACE_H

#include <stdint.h>

/* Readable when the kernel programs cannot wait: a process has come, or the ring is a quarter full. -1 = only time wakes. */
int pace_open(int ring_fd);
void pace_woken(void);
/* Milliseconds until about a piece has gathered, after so many bytes in so long. */
int pace_ms(uint64_t bytes, uint64_t elapsed_ns);

#endif
