/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Settings, maps, and how kernel memory is read. */
#ifndef TH_COMMON_H
#define TH_COMMON_H

#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>
#include "ids.h"
#include "records.h"
#include "ring-records.h"
#include "shared.h"
#include "syscalls.h"

#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif

/* One body serves tracepoints, fexit and kprobes: where the verifier knows the pointer's type, a plain load is several times
 * cheaper than a probe read. `direct` is a constant, so only one of the two is compiled in. */
#define GET(direct, pointer, field)                                                                                             \
	({                                                                                                                      \
		typeof((pointer)->field) _value;                                                                                \
		if (direct)                                                                                                     \
			_value = (pointer)->field;                                                                              \
		else                                                                                                            \
			bpf_core_read(&_value, sizeof(_value), &(pointer)->field);                                              \
		_value;                                                                                                         \
	})

/* Sections of their own, so that the loader finds them without reading offsets out of BTF. */
const volatile struct th_settings settings SEC(".rodata.settings") = {};
struct th_live live SEC(".data.live") = {};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TH_LOSS_SLOTS);
	__type(key, u32);
	__type(value, struct th_loss_slot);
} losses SEC(".maps");

/* What every event looks at comes first: it shares a cache line. */
struct task_state {
	u32 generation;
	u32 go_generation;
	u32 told; /* epoch */
	u32 looks; /* at the ring */
	u64 css_set, cgroup; /* by address: where cgroup_id was read */
	u64 nsproxy;
	u64 told_comm[2];
	u8 excluded;
	u8 in_scope; /* by pid, cgroup or all; sockets add their own network namespace */
	u8 netns_in_scope;
	u64 ring_used;
	u64 turn;
	u64 thread_id;
	u64 process_id;
	u64 cgroup_id;
	u32 netns;
	struct th_go_layout go;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} tasks SEC(".maps");

#define SOCK_LEARNT 1	   /* addresses, initial sequence numbers and role are known */
#define SOCK_PREEXISTING 2 /* not seen from its beginning */
#define SOCK_COUNTED 4	   /* offsets are counted here, not taken from TCP */
#define SOCK_RELATIVE 8	   /* counted from the first event, not from the beginning */
#define SOCK_EOF 16
#define SOCK_CLOSED 32 /* the application's close has been told */
#define SOCK_FIN 64    /* write_seq counts our FIN */
#define SOCK_OURS 128  /* a task in scope has used it, so what the network does to it is told */

/* What every event looks at comes first: two cache lines of four. */
struct sock_state {
	u64 cookie; /* 0 = the kernel had given it none yet */
	u64 socket_id;
	u64 conn_id;
	u64 told_conn_id;
	u32 told; /* epoch */
	u8 role;
	u8 state;
	u8 told_role;
	u8 told_state;
	u32 first_sent; /* sequence number of the first byte each way */
	u32 first_received;
	u32 read_seq; /* copied_seq at the last read event */
	u8 netns_in_scope;
	u8 caller_told; /* a write has carried it: the next read ends it */
	u16 family;
	u32 phase_used[2];
	u64 phase_other[2];
	u64 caller_id; /* the task that asked for what is written here by another one; 0 = not known */
	u64 caller_parent_id;
	u64 counted[2]; /* bytes read and written, where TCP does not tell */
	u64 peer_socket_id;
	u32 netns;
	u32 netns_generation;
	u16 local_port;
	u16 remote_port;
	u8 pad[4];
	u8 local_ip[16];
	u8 remote_ip[16];
};

/* Keyed by the address of struct sock, because every kind of hook has it; cookie tells when an address was used again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, struct sock_state);
} socks SEC(".maps");

#define TH_SET(name, key_type, entries)                                                                                         \
	struct {                                                                                                                \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                                \
		__uint(max_entries, entries);                                                                                   \
		__type(key, key_type);                                                                                          \
		__type(value, u8);                                                                                              \
	} name SEC(".maps")

TH_SET(scope_pids, u32, 32768);
TH_SET(scope_cgroups, u64, 1024);
TH_SET(scope_netns, u32, 1024);
TH_SET(excluded_pids, u32, 1024);
TH_SET(followed_sockets, u64, 4096);

/* What the tracepoints of system calls hand over. */
struct enter_args {
	u64 common;
	s64 nr;
	u64 args[6];
};
struct exit_args {
	u64 common;
	s64 nr;
	s64 result;
};

#define CLAMP(value, most)                                                                                                      \
	({                                                                                                                      \
		barrier_var(value);                                                                                             \
		if (value > (most))                                                                                             \
			value = (most);                                                                                         \
	})

#endif
