/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the kernel programs put into the ring besides frames of the pipe. An event names its thread and its socket; what these
 * two always say is told before, once an epoch, and the loader puts both together again (expand.c). */
#ifndef TH_RING_RECORDS_H
#define TH_RING_RECORDS_H

#include <linux/types.h>

/* In place of a frame's magic. */
#define TH_RING_THREAD 0x54485254u
#define TH_RING_SOCKET 0x54485253u
#define TH_RING_EVENT 0x54485245u
#define TH_RING_WAKE 0x54485257u

struct th_ring_head {
	__u32 kind;
	__u32 epoch; /* of th_live, when it was told; an event's teller is at most one behind */
};

struct th_ring_thread {
	struct th_ring_head head;
	__u64 thread; /* by which events name it */
	__u64 thread_id; /* 0 = none in particular */
	__u64 process_id;
	__u64 cgroup_id;
	__u32 pid;
	__u32 tid;
	__u64 comm[2];
};

struct th_ring_socket {
	struct th_ring_head head;
	__u64 socket_id;
	__u64 conn_id;
	__u64 peer_socket_id;
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
	__u16 family;
	__u8 role;
	__u8 padding;
	__u32 flags; /* EVENT_FLAGS that hold for all its events */
	__u64 local_ip[2];
	__u64 remote_ip[2];
};

/* As th_socket_event, whose words explain them. */
struct th_ring_event {
	struct th_ring_head head;
	__u64 mono_ns;
	__u64 thread; /* 0 = none */
	__u64 socket_id;
	__u64 stream_offset;
	__u64 other_offset;
	__u64 turn;
	__u64 task_id;
	__u64 parent_task_id;
	__u64 stack_id;
	__u64 tail;
	__u32 tcp_seq;
	__u32 other_tcp_seq;
	__s32 fd;
	__s32 bytes;
	__u32 flags;
	__s16 syscall;
	__s16 error;
	__u16 payload_length; /* bytes that follow */
	__u8 op;
	__u8 tail_length;
	__u8 old_state;
	__u8 new_state;
	__u8 padding[2];
};

/* One thread of a process waking another. */
struct th_ring_wake {
	struct th_ring_head head;
	__u64 mono_ns;
	__u64 thread;
	__u64 target_thread_id;
	__u64 key;
	__u32 target_tid;
	__u32 in_irq;
};

#endif
