/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses hooks by probing the running kernel, loads the programs that fit, attaches them. */
#ifndef TH_HOOKS_H
#define TH_HOOKS_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>
#include "shared.h"

struct capability {
	const char *name;
	char hook[160];
	const char *mend;
	bool ok, required;
};

struct hooks {
	struct bpf_object *object;
	struct capability capabilities[24];
	size_t count;
	char error[512]; /* one line for a person when nothing could be loaded */
};

/* kind: auto, tp, fexit, kprobe. False = cannot collect; the capabilities say why. `prepare` runs between load and attach. */
bool hooks_open(struct hooks *hooks, const char *kind, size_t ring_bytes, const struct th_settings *settings, void (*prepare)(struct bpf_object *object));
bool hooks_attached(const char *program);
/* Runs of programs that the kernel skipped because they were interrupted by themselves, by the cause (TH_LOSS_*) that they count as. */
void hooks_missed(const struct hooks *hooks, unsigned long long missed[TH_LOSS_SLOTS]);
void hooks_close(struct hooks *hooks);

#endif
