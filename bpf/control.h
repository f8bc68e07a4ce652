/* SPDX-License-Identifier: Apache-2.0 */
/* Frames on standard input: what the loader is asked for while it runs. */
#ifndef TH_CONTROL_H
#define TH_CONTROL_H

/* Reads and obeys what is there; calls back when the scope has grown. 0 = go on, 1 = stop asked for, -1 = garbage. */
int control_read(void (*scope_grown)(void));

#endif
