/* SPDX-License-Identifier: Apache-2.0 */
/* Processes as /proc shows them, told once each, again after exec and at their end. */
#ifndef TH_PROCESSES_H
#define TH_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>

struct seen_process {
	uint64_t process_id;
	uint64_t started_mono_ns; /* 0 = look it up */
	uint64_t cgroup_id;	  /* 0 = look it up */
	uint32_t pid;
	const char *comm; /* what the event said, in case it is gone */
};

bool process_known(uint64_t process_id);
/* Reads /proc and writes a record; `again` also when it is known (exec). */
void process_seen(const struct seen_process *seen, bool again);
void process_ended(const struct seen_process *seen, uint64_t ended_mono_ns);
/* Ends those whose exit event was lost. */
void processes_sweep(uint64_t now_mono_ns);

#endif
