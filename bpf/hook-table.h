/* SPDX-License-Identifier: Apache-2.0 */
/* How each program hangs on the kernel, what must be there for it, and what stands in where it is not. */
#ifndef TH_HOOK_TABLE_H
#define TH_HOOK_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { TP = 1, FEXIT = 2, KPROBE = 4, ANY = 7 };

#if defined(__x86_64__)
#define SYSCALL(name) "__x64_sys_" name
#else
#define SYSCALL(name) "__arm64_sys_" name
#endif

struct hook {
	const char *program;
	int kinds;
	char how; /* b: BTF tracepoint, f: fentry or fexit, k: kprobe, r: kretprobe, s: syscall tracepoint, i: iterator, u: uprobe, attached later */
	const char *on;
	bool optional;
	const char *instead_of[2]; /* only where nothing can hang on any of these */
};

#define HOOKS_MOST 64
extern const struct hook hook_table[];
extern const size_t hook_count;

#endif
