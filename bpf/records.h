/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Generated from schema/records.ts: change that and run `npm run generate`. */
#ifndef TH_RECORDS_H
#define TH_RECORDS_H

#define TH_ABI_VERSION 2
#define TH_FRAME_MAGIC 1414022705u

#define TH_OP_CONNECT 1
#define TH_OP_ACCEPT 2
#define TH_OP_READ 3
#define TH_OP_WRITE 4
#define TH_OP_SHUTDOWN 5
#define TH_OP_STATE 6
#define TH_OP_CLOSE 7
#define TH_OP_EXIST 8

#define TH_ROLE_UNKNOWN 0
#define TH_ROLE_CLIENT 1
#define TH_ROLE_SERVER 2

#define TH_LAYER_SOCKET 0
#define TH_LAYER_TLS 1

#define TH_FLAG_PAYLOAD_TRUNCATED 1
#define TH_FLAG_EOF 2
#define TH_FLAG_PREEXISTING 4
#define TH_FLAG_NO_THREAD 8
#define TH_FLAG_IO_URING 16
#define TH_FLAG_PAYLOAD_SHED 32
#define TH_FLAG_UNIX 64
#define TH_FLAG_RELATIVE_OFFSET 128
#define TH_FLAG_TASK_OF_CALLER 256

#define TH_THREAD_FORK 1
#define TH_THREAD_EXEC 2
#define TH_THREAD_EXIT 3
#define TH_THREAD_WAKE 4

#define TH_LOSS_RING_FULL 1
#define TH_LOSS_PAYLOAD_SHED 2
#define TH_LOSS_WAKE_SHED 3
#define TH_LOSS_CONNECTION_SHED 4
#define TH_LOSS_NOT_RUNNING 5
#define TH_LOSS_SPOOL_FULL 6
#define TH_LOSS_UNDECODABLE 7
#define TH_LOSS_PARSER_GAP 8
#define TH_LOSS_HOOK_MISSED 9
#define TH_LOSS_STATE_MISSED 10
#define TH_LOSS_TURN_MISSED 11

#define TH_RECORD_SOCKET_EVENT 1
#define TH_RECORD_THREAD_EVENT 2
#define TH_RECORD_PROCESS 3
#define TH_RECORD_CLOCK 4
#define TH_RECORD_WATERMARK 5
#define TH_RECORD_LOSS 6
#define TH_RECORD_STACK 7
#define TH_RECORD_HELLO 8
#define TH_RECORD_CAPABILITY 9
#define TH_RECORD_BYE 10
#define TH_RECORD_CONTROL_SCOPE 64
#define TH_RECORD_CONTROL_EXCLUDE 65
#define TH_RECORD_CONTROL_FOLLOW 66
#define TH_RECORD_CONTROL_STOP 67

/* Precedes every record on the pipe. */
struct th_frame {
	__u32 magic; /* FRAME_MAGIC */
	__u16 type; /* record id */
	__u16 reserved; /* 0 */
	__u32 length; /* bytes that follow this header, a multiple of 8 */
	__u32 used; /* bytes of them that carry data, the rest is padding */
};
_Static_assert(sizeof(struct th_frame) == 16, "th_frame");

/* One successful call on a TCP or Unix stream socket, or one change of its state. */
struct th_socket_event {
	__u64 mono_ns; /* CLOCK_MONOTONIC when the hook ran */
	__u64 thread_id; /* unique over nodes and boots, 63 bits */
	__u64 process_id; /* unique over nodes and boots, 63 bits */
	__u64 socket_id; /* unique over nodes and boots, 63 bits */
	__u64 conn_id; /* equal at both ends, 63 bits; 0 = not known yet */
	__u64 peer_socket_id; /* Unix sockets: the other socket; else 0 */
	__u64 stream_offset; /* application bytes in this direction before this event */
	__u64 other_offset; /* application bytes so far in the other direction */
	__u64 cgroup_id; /* cgroup v2 id of the task */
	__u64 turn; /* times the thread has entered epoll_wait, poll, select or their kin */
	__u64 task_id; /* goroutine or the like; 0 = unknown; with task_of_caller that of who asked for the write */
	__u64 parent_task_id; /* 0 = unknown */
	__u64 stack_id; /* hash of the user stack; 0 = not taken */
	__u64 tail; /* the last min(8, bytes) bytes of the call, last byte highest; valid if tail_length > 0 */
	__u32 tcp_seq; /* wire sequence number of the first byte, this direction */
	__u32 other_tcp_seq; /* wire sequence number reached in the other direction */
	__u32 pid; /* thread group id */
	__u32 tid; /* thread id */
	__s32 fd; /* -1 = unknown */
	__s32 bytes; /* bytes moved by the call */
	__u32 netns; /* inode of the network namespace of the socket */
	__u32 flags; /* EVENT_FLAGS */
	__s32 error; /* 0 or a positive errno */
	__u32 payload_length; /* captured bytes that follow the fixed part */
	__u16 local_port; /* host byte order */
	__u16 remote_port; /* host byte order */
	__u16 family; /* AF_UNIX 1, AF_INET 2, AF_INET6 10 */
	__u8 op; /* OPS */
	__u8 layer; /* LAYERS */
	__u8 role; /* ROLES */
	__u8 old_state; /* TCP state before, op state/close/shutdown */
	__u8 new_state; /* TCP state after, op state/close/shutdown */
	__u8 tail_length; /* valid bytes in tail, 0..8 */
	__s32 syscall; /* system call number, -1 = none */
	__u8 local_ip[16]; /* network order; IPv4 in the first four bytes */
	__u8 remote_ip[16]; /* network order; IPv4 in the first four bytes */
	__u8 comm[16]; /* name of the thread */
};
_Static_assert(sizeof(struct th_socket_event) == 216, "th_socket_event");

/* Life of a thread, or one thread waking another of its process. */
struct th_thread_event {
	__u64 mono_ns; /* CLOCK_MONOTONIC */
	__u64 thread_id; /* who did it */
	__u64 process_id; /* whose process */
	__u64 target_thread_id; /* fork: the child; wake: the woken; else 0 */
	__u64 target_process_id; /* fork: the child's process; else 0 */
	__u64 key; /* futex, eventfd or pipe where known; 0 = unknown */
	__u32 pid; /* thread group id */
	__u32 tid; /* thread id */
	__u32 target_pid;
	__u32 target_tid;
	__u8 op; /* THREAD_OPS */
	__u8 in_irq; /* 1 = from an interrupt: says nothing about the current thread */
	__u8 exit_process; /* 1 = the last thread of its process left */
	__u8 padding[5]; /* 0 */
	__u8 comm[16];
};
_Static_assert(sizeof(struct th_thread_event) == 88, "th_thread_event");

/* What /proc says of a process: sent when it is first seen, after exec, and at its end. */
struct th_process {
	__u64 process_id;
	__u64 started_mono_ns; /* CLOCK_MONOTONIC; may be negative as s64 when started before suspend */
	__u64 ended_mono_ns; /* 0 = still running */
	__u64 cgroup_id;
	__u32 pid;
	__u32 ns_pid; /* pid in the innermost pid namespace */
	__u32 ppid;
	__u32 netns;
};
_Static_assert(sizeof(struct th_process) == 48, "th_process");

/* A pair of readings: CLOCK_MONOTONIC between two CLOCK_REALTIME readings. */
struct th_clock {
	__u64 mono_ns;
	__u64 utc_ns; /* since 1970 */
	__u64 error_ns; /* half of the distance between the two outer readings */
};
_Static_assert(sizeof(struct th_clock) == 24, "th_clock");

/* No event older than mono_ns follows from this run. */
struct th_watermark {
	__u64 mono_ns;
};
_Static_assert(sizeof(struct th_watermark) == 8, "th_watermark");

/* Events that could not be handed over since the previous loss record of the same cpu and cause. */
struct th_loss {
	__u64 from_mono_ns;
	__u64 to_mono_ns;
	__u64 events_lost;
	__s32 cpu; /* -1 = all */
	__u32 cause; /* LOSS_CAUSES */
};
_Static_assert(sizeof(struct th_loss) == 32, "th_loss");

/* A user stack, sent once a run for each stack_id. */
struct th_stack {
	__u64 stack_id;
	__u32 frame_count; /* frames of {u8 build_id[20]; u32 status; u64 offset} */
	__u32 padding; /* 0 */
};
_Static_assert(sizeof(struct th_stack) == 16, "th_stack");

/* First frame of a run. */
struct th_hello {
	__u64 run_id; /* start of this collector, ns since 1970: unique for a node */
	__u32 abi_version; /* ABI_VERSION */
	__u32 cpus;
	__u64 ring_bytes;
	__u64 started_mono_ns; /* when every hook was attached */
};
_Static_assert(sizeof(struct th_hello) == 32, "th_hello");

/* One thing the collector needs, and how this kernel gives it. */
struct th_capability {
	__u32 ok; /* 1 = there */
	__u32 required; /* 1 = nothing works without it */
};
_Static_assert(sizeof(struct th_capability) == 8, "th_capability");

/* Last frame of a run that ended in order. */
struct th_bye {
	__u64 events_seen; /* records that the kernel handed over */
	__u64 events_lost; /* events that it counted as lost */
	__u64 waited_bytes; /* the most that waited on disk for the reader at one time */
};
_Static_assert(sizeof(struct th_bye) == 24, "th_bye");

/* stdin: add to the scope. */
struct th_control_scope {
	__u64 reserved; /* 0 */
};
_Static_assert(sizeof(struct th_control_scope) == 8, "th_control_scope");

/* stdin: never trace this process. */
struct th_control_exclude {
	__u64 pid;
};
_Static_assert(sizeof(struct th_control_exclude) == 8, "th_control_exclude");

/* stdin: capture the payload of every event of this socket, up to the payload setting each. */
struct th_control_follow {
	__u64 socket_id;
	__u64 on; /* 1 = follow, 0 = stop following */
};
_Static_assert(sizeof(struct th_control_follow) == 16, "th_control_follow");

/* stdin: drain what is there, say bye, exit 0. End of file on stdin does the same. */
struct th_control_stop {
	__u64 reserved; /* 0 */
};
_Static_assert(sizeof(struct th_control_stop) == 8, "th_control_stop");

#endif
