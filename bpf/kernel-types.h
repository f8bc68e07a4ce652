/* SPDX-License-Identifier: Apache-2.0 */
/* What the running kernel's type information (BTF) says of its tracepoints, functions and per-CPU memory. */
#ifndef TH_KERNEL_TYPES_H
#define TH_KERNEL_TYPES_H

#include <stdbool.h>
#include <stdint.h>

bool kernel_types_open(void);
/* Some 20 MiB, which nothing looks into once the hooks are chosen. */
void kernel_types_close(void);
bool kernel_has_tracepoint(const char *name);
/* Number of arguments, -1 = no such function. */
int kernel_arguments_of(const char *function);
/* From a CPU's run queue to its preempt count; see preempt_count() of the kernel programs. 0 = unknown. */
int64_t kernel_preempt_delta(void);

#endif
