/* SPDX-License-Identifier: Apache-2.0 */
/* Frames on standard output, made of items (ring-records.h) when the pipe takes them. Never blocks: what it does not take stays
 * in a bounded buffer, then in a bounded file where there is one; while both are full nothing is taken from the kernel's ring,
 * which then drops and counts. */
#ifndef TH_OUTPUT_H
#define TH_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void output_open(void);
/* Bytes that still fit. */
size_t output_room(void);
bool output_pending(void);
/* Gives the pipe nothing, as if it were full: its reader had better sleep. Not for long, and not without a file. */
void output_hold(bool hold);
/* The pipe should be watched. */
bool output_waiting(void);
/* Writes what the pipe takes; false when that can't go on. */
bool output_flush(void);
/* Why not. */
const char *output_failure(void);
/* Waits as long as the pipe takes something within the time; false when it did not take all. */
bool output_flush_all(int timeout_ms);
/* An item, or a ready-made frame. */
void output_raw(const void *bytes, size_t length);
/* A fixed part, and strings after it. */
void output_frame(unsigned type, const void *fixed, size_t length, const char *const *strings, size_t count);
/* Room enough for any single record. */
#define OUTPUT_MARGIN (96u << 10)

#endif
