/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded file behind the pipe: what its reader cannot take yet waits here, in the order in which it came, instead of being
 * dropped. It has no name: nothing is left over when the process ends. */
#ifndef TH_SPILL_H
#define TH_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Without it there is never any room. errno says why not. */
bool spill_open(const char *folder, uint64_t bytes);
uint64_t spill_used(void);
uint64_t spill_capacity(void);
/* That was in it at one time. */
uint64_t spill_most(void);
/* All of it or nothing; false when there is no room, or the disk is full. */
bool spill_put(const uint8_t *bytes, size_t length);
/* Takes the oldest bytes; 0 with some left means that they cannot be read. */
size_t spill_take(uint8_t *to, size_t most);

#endif
