/* SPDX-License-Identifier: Apache-2.0 */
/* Which hooks of the table a kind of hooks takes on the running kernel. */
#ifndef TH_HOOK_CHOICE_H
#define TH_HOOK_CHOICE_H

#include <stdbool.h>
#include "hook-table.h"
#include "shared.h"

/* How much is tried: if the kernel refuses all programs, those come off that can be done without. */
enum { ALL, NO_TRAMPOLINES, NO_TASKS, BARE, LEVELS };

bool hook_wanted(const struct hook *hook, int kind, int level, const struct th_settings *settings);
/* It would not attach, and is not wanted again. True = something can stand in for it, so another try is worth it. */
bool hook_refused(const struct hook *hook, int kind, int level, const struct th_settings *settings);
/* False = something is missing that this kind cannot do without. */
bool hook_kind_possible(int kind);

#endif
