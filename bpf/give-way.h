/* SPDX-License-Identifier: Apache-2.0 */
/* Is the machine needed by others? */
#ifndef TH_GIVE_WAY_H
#define TH_GIVE_WAY_H

#include <stdbool.h>

/* Since the last calls hardly any processor was idle, or would have been without the reader of our output. */
bool machine_busy(void);

#endif
