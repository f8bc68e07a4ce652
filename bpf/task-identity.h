/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks of runtimes: finds the Go programs among the traced processes and tells the kernel programs where their goroutines are. */
#ifndef TH_TASK_IDENTITY_H
#define TH_TASK_IDENTITY_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdint.h>
#include "shared.h"

/* Whether this kernel can: NULL, or why not. */
const char *task_identity_lacks(const struct bpf_object *object);
void task_identity_open(struct bpf_object *object, volatile struct th_live *live);
/* A process that was not known, or runs another program now. */
void task_identity_seen(uint32_t pid);
void task_identity_ended(uint32_t pid);
/* Takes probes off programs that nobody runs any more. */
void task_identity_sweep(uint64_t now_mono_ns);
void task_identity_close(void);

#endif
