/* SPDX-License-Identifier: Apache-2.0 */
/* Return probes with room for many threads inside the function at once. What libbpf attaches has room for about ten, and a
 * thread that waits in tcp_recvmsg holds its place: a server with a thread per connection would be all but blind. */
#ifndef TH_RETURN_PROBE_H
#define TH_RETURN_PROBE_H

#include <bpf/libbpf.h>

/* tracefs is kept open by descriptor, as its mount may be left later. */
void return_probe_open(const char *tracefs);
struct bpf_link *return_probe_attach(struct bpf_program *program, const char *function);
/* Returns that found no room after all. Never less than before, after closing neither. */
unsigned long long return_probe_missed(void);
/* Removes the definitions; links are to be destroyed before. */
void return_probe_close(void);

#endif
