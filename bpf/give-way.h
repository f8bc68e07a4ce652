/* SPDX-License-Identifier: Apache-2.0 */
/* Is the machine needed by others? */
#ifndef TH_GIVE_WAY_H
#define TH_GIVE_WAY_H

#include <stdbool.h>

/* Since the last call hardly any processor was idle, what the reader of our output used itself left aside. */
bool machine_busy(void);

#endif
