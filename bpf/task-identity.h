/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the kernel programs where the Go programs in scope keep their goroutines, and hangs one probe on each binary. */
#ifndef TH_TASK_IDENTITY_H
#define TH_TASK_IDENTITY_H

#include <bpf/libbpf.h>
#include <stdint.h>
#include "shared.h"

/* complain: gets a line for a person, once a binary. */
void tasks_open(struct bpf_object *object, volatile struct th_live *live, void (*complain)(const char *line));
/* A process in scope was seen first, or began another program. */
void tasks_process(uint32_t pid);
void tasks_ended(uint32_t pid);
void tasks_close(void);

#endif
