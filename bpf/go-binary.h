/* SPDX-License-Identifier: Apache-2.0 */
/* What has to be known of a Go program to tell its goroutines apart from outside. */
#ifndef TH_GO_BINARY_H
#define TH_GO_BINARY_H

#include <stdbool.h>
#include <stdint.h>
#include "shared.h"

struct go_binary {
	bool is_go;
	char version[32]; /* go1.22.3 */
	struct th_go_layout layout; /* goid 0 = not known for this version */
	uint64_t round_trip; /* where net/http.(*persistConn).roundTrip begins in the file; 0 = the program has none, or it was not found */
	const char *lacks; /* for a person: what cannot be told, and why; NULL = nothing */
};

/* False = no ELF file that could be read. Nothing in the file is trusted. */
bool go_binary_read(const char *path, struct go_binary *binary);

#endif
