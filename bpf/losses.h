/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel programs counted as lost, as records. */
#ifndef TH_LOSSES_H
#define TH_LOSSES_H

#include <bpf/libbpf.h>
#include <stdint.h>
#include "hooks.h"
#include "shared.h"

void losses_open(const struct bpf_object *object, volatile struct th_live *live);
/* A record for each CPU and cause with anything new since the last call. */
void losses_report(const struct hooks *hooks, uint64_t now_mono_ns);
/* Events that all the records so far told of. */
uint64_t losses_told(void);

#endif
