/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What loader and kernel programs share besides the records: settings, and values of maps. */
#ifndef TH_SHARED_H
#define TH_SHARED_H

#include <linux/types.h>

/* Fixed before the programs are loaded. */
struct th_settings {
	__u64 salt;
	__u64 ring_half, ring_wakes, ring_most, ring_full; /* bytes: payload, wakes, half, three quarters of the connections go */
	__s64 preempt_delta; /* address of the CPU's preempt count minus that of its run queue; 0 = unknown */
	__u32 payload;
	__u32 wakes;
	__u32 stacks;
	__u32 tasks;
	__u32 turns;
	__u32 padding;
};

/* Changed while they run. */
struct th_live {
	__u32 generation; /* raised with every change of scope: cached decisions are made anew */
	__u32 scope_all;
	__u32 scope_pids, scope_cgroups, scope_netns; /* how many */
	__u32 followed;
	__u32 go_processes; /* how many; the next one keeps the size a multiple of 8 */
	__u32 padding;
	__u64 loss_epoch; /* raised with every report of losses */
};

/* Where a Go program keeps what is read of it, in bytes. parent_goid 0 = its version keeps none. */
struct th_go_layout {
	__u32 goid, parent_goid; /* in runtime.g */
	__u32 connection;	 /* in net/http.persistConn: the net.Conn, and behind it the TLS state */
	__u32 padding;
};

#define TH_GO_PROCESSES 8192
#define TH_LOSS_SLOTS 16
struct th_loss_slot {
	__u64 count;
	__u64 epoch;
	__u64 first_ns;
	__u64 last_ns;
};

/* What iter/task writes for each process in scope. */
struct th_task_line {
	__u64 process_id;
	__u64 start_mono_ns;
	__u64 cgroup_id;
	__u32 pid;
	__u32 netns;
};

#endif
