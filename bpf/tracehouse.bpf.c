/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* All programs as one object, so that no linker for BPF objects is needed. */
#include "socket-io.bpf.c"
#include "socket-io-kprobe.bpf.c"
#include "splice.bpf.c"
#include "connections.bpf.c"
#include "turns.bpf.c"
#include "tasks.bpf.c"
#include "threads.bpf.c"
#include "existing.bpf.c"

/* The helpers that these programs call are for GPL-compatible ones. */
char LICENSE[] SEC("license") = "GPL";
