/* SPDX-License-Identifier: Apache-2.0 */
/* What the collector needs, how this kernel gives it, and what to do where it does not: for `tracehouse doctor`. */
#ifndef TH_CAPABILITIES_H
#define TH_CAPABILITIES_H

#include "hooks.h"

/* Without these two nothing is tried. */
void capabilities_say_first(struct hooks *hooks, bool root, bool types);
void capabilities_say(struct hooks *hooks, int kind, const struct th_settings *settings);

#endif
