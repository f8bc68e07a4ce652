/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TH_SCOPE_USER_H
#define TH_SCOPE_USER_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdint.h>
#include "shared.h"

/* Where cgroup v2 is mounted; NULL = nowhere. */
const char *cgroup_mount(void);
/* Returns what the programs read while they run, shared with them. */
volatile struct th_live *scope_open(struct bpf_object *object);
/* all, netns:NAME_OR_PATH, cgroup:PATH, pid:N. False with a line in *why. */
bool scope_add(const char *spec, const char **why);
void scope_exclude(uint32_t pid);
void scope_follow(uint64_t socket_id, bool on);

#endif
