/* SPDX-License-Identifier: Apache-2.0 */
/* Where tracefs is, which tracepoints of system calls and kretprobes are attached by. */
#ifndef TH_TRACE_FOLDER_H
#define TH_TRACE_FOLDER_H

#include <stdbool.h>

/* Finds it, or mounts it for this process alone when the machine has none; the host's mounts stay as they are. */
void trace_folder_open(void);
/* NULL = there is none. */
const char *trace_folder(void);
bool trace_folder_has_call(const char *event);
/* Back to the host's mounts, where names of network namespaces are looked up. False = errno says why not. */
bool trace_folder_leave(void);

#endif
