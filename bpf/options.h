/* SPDX-License-Identifier: Apache-2.0 */
/* The loader's command line. */
#ifndef TH_OPTIONS_H
#define TH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shared.h"

struct options {
	const char *node; /* NULL: the host's name */
	const char *hooks;
	const char *scopes[256];
	size_t scope_count;
	uint32_t excluded[256];
	size_t excluded_count;
	unsigned long long ring_bytes;
	const char *spill; /* folder, NULL: none */
	unsigned long long spill_bytes;
	bool probe, gives_way;
};

/* Sets what was asked for, over the defaults; false after a line on standard error that says what is wrong. */
bool options_read(int argc, char **argv, struct options *options, struct th_settings *settings);

#endif
