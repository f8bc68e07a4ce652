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
	__u32 task_identity;
	__u32 turns;
	__u32 padding;
};

/* Changed while they run. */
struct th_live {
	__u32 generation; /* raised with every change of scope: cached decisions are made anew */
	__u32 scope_all;
	__u32 scope_pids, scope_cgroups, scope_netns; /* how many */
	__u32 followed;
	__u64 loss_epoch; /* raised with every report of losses */
	__u32 go_processes; /* how many; none of their cost without one */
	__u32 go_generation; /* raised when one comes or goes */
	__u32 tell_epoch; /* raised every second: what a thread and a socket always say is told anew at their next event */
	__u32 pressed; /* set by the programs: the ring is more than a quarter full, each event looks */
};

/* Where a Go program of some version keeps what we read: offsets in its structures. */
struct th_go_layout {
	__u16 m;      /* runtime.g.m */
	__u16 goid;   /* runtime.g.goid */
	__u16 parent; /* runtime.g.parentGoid; 0 = there is none */
	__u16 curg;   /* runtime.m.curg */
	__u16 conn;   /* net/http.persistConn.conn */
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
