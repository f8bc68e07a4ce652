/* SPDX-License-Identifier: Apache-2.0 */
/* What a Go program's file says of it: the version it was built with, where that version keeps its goroutines, and where its HTTP
 * client's function is. The file may be anything: all that it says is checked against its size, and little of it is read. */
#ifndef TH_GO_BINARY_H
#define TH_GO_BINARY_H

#include <stdbool.h>
#include <stdint.h>
#include "shared.h"

struct go_binary {
	char version[32];
	struct th_go_layout layout;
	bool guessed;	     /* newer than the table: the newest layout that is known */
	uint64_t round_trip; /* file offset for a probe at the entry of net/http.(*persistConn).roundTrip, 0 = not found */
};

enum go_verdict { GO_NONE, GO_USABLE, GO_UNUSABLE };

/* GO_UNUSABLE: it is a Go program, but `why` (static text) stands against it. */
enum go_verdict go_binary_read(const char *path, struct go_binary *binary, const char **why);

#endif
