/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The few kernel types that the programs read; offsets come from the running kernel's BTF (CO-RE). */
#ifndef TH_KERNEL_H
#define TH_KERNEL_H
#include <linux/types.h>
#include <stdbool.h>
#define __VMLINUX_H__ 1
typedef __u16 __sum16_;
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
typedef struct { __s64 counter; } atomic64_t;
typedef struct { int counter; } atomic_t;
struct ns_common { unsigned int inum; };
struct net { struct ns_common ns; };
typedef struct { struct net *net; } possible_net_t;
struct in6_addr { union { __u8 u6_addr8[16]; __be32 u6_addr32[4]; } in6_u; };
struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};
struct socket;
struct sock {
	struct sock_common __sk_common;
	unsigned int sk_shutdown;
	__u16 sk_type;
	__u16 sk_protocol;
	int sk_err;
	struct socket *sk_socket;
};
struct tcp_sock {
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 write_seq;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u64 bytes_acked;
	__u64 bytes_received;
};
struct unix_sock { struct sock *peer; };
struct file { void *private_data; const void *f_op; };
struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct socket { struct sock *sk; struct file *file; };
struct nsproxy { struct net *net_ns; };
struct task_struct {
	unsigned int flags;
	int pid;
	int tgid;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	char comm[16];
};
struct iovec { void *iov_base; unsigned long iov_len; };
struct user_msghdr { void *msg_name; int msg_namelen; struct iovec *msg_iov; unsigned long msg_iovlen; };
#pragma clang attribute pop
struct trace_event_raw_sys_exit { __u64 pad; long id; long ret; };
struct bpf_map;
#endif
