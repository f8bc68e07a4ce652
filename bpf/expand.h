/* SPDX-License-Identifier: Apache-2.0 */
/* What the ring carries (ring-records.h) as frames of the pipe. */
#ifndef TH_EXPAND_H
#define TH_EXPAND_H

#include <stddef.h>
#include <stdint.h>

/* The longest frame that an event can become. */
#define EXPAND_MOST (8u << 10)

/* Bytes of the item that begins here, 0 = it lacks its end. */
size_t item_length(const uint8_t *item, size_t have);
/* Turns whole items into frames as far as these have room; returns how many bytes were made and says how many were used. */
size_t expand(const uint8_t *items, size_t have, size_t *used, uint8_t *to, size_t room);
/* Events whose thread or socket had not been told; each has a frame that says so. */
uint64_t expand_lost(void);

#endif
