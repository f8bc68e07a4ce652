// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "kernel.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>
#include "records.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define MSG_PEEK 2
#define PF_IO_WORKER 0x10
#define PF_KTHREAD 0x00200000
#define RCV_SHUTDOWN 1
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10
#define TCP_CLOSING 11
#define EAGAIN 11
#define EINTR 4
#define EINPROGRESS 115
#define MAX_CAUSES 16

const volatile __u64 salt = 0;
const volatile __u32 payload_bytes = 256;
const volatile __u64 ring_bytes = 32 << 20;
const volatile bool scope_all = true;
const volatile __u32 self_pid = 0;

struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 32 << 20); } ring SEC(".maps");

struct socket_state {
	__u64 socket_id;
	__u64 conn_id;
	__u64 cookie;
	__u64 unix_sent, unix_received;
	__u64 phase_other[2];  /* position of the other direction when the phase of this direction began */
	__u32 phase_used[2];   /* payload bytes of the phase captured so far */
	__u32 isn_peer1;       /* peer's initial sequence number + 1 */
	__u32 isn_own1;
	__s32 fd;
	__u8 role, opener, seen, follow, eof, known;
};
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 65536); __type(key, __u64); __type(value, struct socket_state); } sockets SEC(".maps");

struct task_state { __u64 thread_id, process_id, turn; __u32 generation; __u8 in_scope; };
struct { __uint(type, BPF_MAP_TYPE_TASK_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int); __type(value, struct task_state); } tasks SEC(".maps");

struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1024); __type(key, __u32); __type(value, __u8); } scope_netns SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16384); __type(key, __u32); __type(value, __u8); } scope_pids SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1024); __type(key, __u32); __type(value, __u8); } excluded SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4096); __type(key, __u64); __type(value, __u8); } followed SEC(".maps");

struct loss { __u64 count, from_ns, to_ns; };
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, MAX_CAUSES); __type(key, __u32); __type(value, struct loss); } losses SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } seen SEC(".maps");

static __always_inline __u64 mix64(__u64 x)
{
	x ^= x >> 33; x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33; x *= 0xc4ceb9fe1a85ec53ULL;
	x ^= x >> 33;
	return x;
}
static __always_inline __u64 id63(__u64 a, __u64 b, __u64 c)
{
	__u64 x = mix64(mix64(mix64(a) + b) + c) & 0x7fffffffffffffffULL;
	return x ? x : 1;
}

static __always_inline void lost(__u32 cause)
{
	struct loss *l = bpf_map_lookup_elem(&losses, &cause);
	__u64 now = bpf_ktime_get_ns();
	if (!l) return;
	if (!l->count) l->from_ns = now;
	l->to_ns = now;
	l->count++;
}

/* ---- the current task ---- */

static __always_inline bool pid_excluded(__u32 tgid)
{
	return tgid == self_pid || bpf_map_lookup_elem(&excluded, &tgid);
}

static __always_inline void task_ids(struct task_struct *t, __u64 *thread_id, __u64 *process_id)
{
	struct task_struct *leader = BPF_CORE_READ(t, group_leader);
	*thread_id = id63(salt, BPF_CORE_READ(t, pid), BPF_CORE_READ(t, start_boottime));
	*process_id = id63(salt + 1, BPF_CORE_READ(t, tgid), BPF_CORE_READ(leader, start_boottime));
}

static __always_inline struct task_state *task_state(struct task_struct *t)
{
	struct task_state *s = bpf_task_storage_get(&tasks, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (s && !s->thread_id) task_ids(t, &s->thread_id, &s->process_id);
	return s;
}

static __always_inline bool in_scope(struct task_struct *t, __u32 netns)
{
	__u32 tgid = BPF_CORE_READ(t, tgid);
	if (pid_excluded(tgid)) return false;
	if (scope_all) return true;
	if (netns && bpf_map_lookup_elem(&scope_netns, &netns)) return true;
	return bpf_map_lookup_elem(&scope_pids, &tgid) != NULL;
}

/* ---- sockets ---- */

static __always_inline bool wanted_socket(struct sock *sk, __u16 *family)
{
	*family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (*family == AF_INET || *family == AF_INET6) return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP;
	return *family == AF_UNIX && BPF_CORE_READ(sk, sk_type) == SOCK_STREAM;
}

struct positions { __u64 sent, received; __u32 sent_seq, received_seq; };

static __always_inline void tcp_positions(struct sock *sk, struct socket_state *s, struct positions *p)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 write_seq = BPF_CORE_READ(tp, write_seq), snd_una = BPF_CORE_READ(tp, snd_una), copied = BPF_CORE_READ(tp, copied_seq), rcv_nxt = BPF_CORE_READ(tp, rcv_nxt);
	__u64 acked = BPF_CORE_READ(tp, bytes_acked), received = BPF_CORE_READ(tp, bytes_received);
	if (!s->known) {
		__u32 snd_nxt = BPF_CORE_READ(tp, snd_nxt);
		__u64 sent = BPF_CORE_READ(tp, bytes_sent), again = BPF_CORE_READ(tp, bytes_retrans);
		s->opener = (acked + (__u64)(__u32)(snd_nxt - snd_una)) > (sent - again);
		s->isn_own1 = snd_una - (__u32)acked + s->opener;
		s->isn_peer1 = rcv_nxt - (__u32)received;
		__u32 opener = s->opener ? s->isn_own1 : s->isn_peer1, acceptor = s->opener ? s->isn_peer1 : s->isn_own1;
		s->conn_id = id63(0x7468636f6e6eULL, opener, acceptor);
		if (!s->role) s->role = s->opener ? TH_ROLE_CLIENT : TH_ROLE_SERVER;
		s->known = 1;
	}
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	/* a FIN takes a sequence number but is no byte of the stream */
	__u32 fin_sent = state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK || state == TCP_TIME_WAIT;
	__u32 fin_received = state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING || state == TCP_TIME_WAIT;
	p->sent = acked - s->opener + (__u64)(__u32)(write_seq - snd_una) - fin_sent;
	p->sent_seq = write_seq;
	__s32 behind = (__s32)(rcv_nxt - fin_received - copied);
	if (behind < 0) behind = 0; /* the FIN itself was read */
	p->received = received - fin_received - (__u64)behind;
	p->received_seq = copied;
}

static __always_inline __u64 cookie_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
}

static __always_inline struct socket_state *socket_state(struct sock *sk, __u64 cookie)
{
	__u64 key = (__u64)sk;
	struct socket_state *s = bpf_map_lookup_elem(&sockets, &key);
	if (s && s->cookie == cookie) return s;
	struct socket_state fresh = { .cookie = cookie, .socket_id = id63(salt + 2, cookie, 0), .fd = -1 };
	bpf_map_update_elem(&sockets, &key, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&sockets, &key);
}

static __always_inline void fill_address(struct th_socket_event *e, struct sock *sk, __u16 family)
{
	if (family == AF_INET) {
		__u32 a = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr), b = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		__builtin_memset(e->local_ip, 0, 32);
		__builtin_memcpy(e->local_ip, &a, 4);
		__builtin_memcpy(e->remote_ip, &b, 4);
	} else if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&e->local_ip, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&e->remote_ip, sk, __sk_common.skc_v6_daddr);
	} else {
		__builtin_memset(e->local_ip, 0, 32);
	}
	e->local_port = family == AF_UNIX ? 0 : BPF_CORE_READ(sk, __sk_common.skc_num);
	e->remote_port = family == AF_UNIX ? 0 : bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	e->family = family;
}

/* ---- the system call's own arguments ---- */

struct call { __s32 nr; __s32 fd; const void *flat; const struct iovec *iov; __u32 iov_count; };

static __always_inline void read_call(struct task_struct *t, struct call *c)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(t);
	struct user_msghdr header;
	const void *msg = NULL;
	c->nr = (__s32)BPF_CORE_READ(regs, orig_ax);
	c->fd = (__s32)BPF_CORE_READ(regs, di);
	c->flat = NULL;
	c->iov = NULL;
	c->iov_count = 0;
	switch (c->nr) {
	case 0: case 1: case 44: case 45: /* read write sendto recvfrom */
		c->flat = (const void *)BPF_CORE_READ(regs, si);
		break;
	case 19: case 20: /* readv writev */
		c->iov = (const void *)BPF_CORE_READ(regs, si);
		c->iov_count = (__u32)BPF_CORE_READ(regs, dx);
		break;
	case 46: case 47: case 299: case 307: /* sendmsg recvmsg recvmmsg sendmmsg */
		msg = (const void *)BPF_CORE_READ(regs, si);
		if (msg && !bpf_probe_read_user(&header, sizeof(header), msg)) {
			c->iov = header.msg_iov;
			c->iov_count = (__u32)header.msg_iovlen;
		}
		break;
	case 40: /* sendfile: di is the socket */
		break;
	case 275: /* splice: the socket is either end; reads are seen elsewhere */
		c->fd = (__s32)BPF_CORE_READ(regs, dx);
		break;
	default:
		c->fd = -1;
	}
	if (c->iov_count == 1) {
		struct iovec one;
		if (!bpf_probe_read_user(&one, sizeof(one), c->iov)) c->flat = one.iov_base;
	}
}

/* First `want` bytes of what the call moved, gathered; `to` has room for 2 * max. */
#define BOUND(n, most) do { asm volatile("" : "+r"(n)); if ((n) > (most)) (n) = (most); asm volatile("" : "+r"(n)); } while (0)

static __always_inline __u32 gather(__u8 *to, __u64 want, const __u64 max, struct call *c)
{
	if (c->flat) {
		if (want > max) want = max;
		asm volatile("" : "+r"(want));
		if (want > max) return 0;
		return bpf_probe_read_user(to, want, c->flat) ? 0 : want;
	}
	__u64 have = 0;
#pragma unroll
	for (int i = 0; i < 6; i++) {
		struct iovec v;
		if (i >= c->iov_count || have >= want) break;
		if (bpf_probe_read_user(&v, sizeof(v), c->iov + i)) break;
		__u64 n = want - have;
		if (v.iov_len < n) n = v.iov_len;
		asm volatile("" : "+r"(n));
		if (n > max) break;
		asm volatile("" : "+r"(have));
		if (have >= max) break;
		if (n && bpf_probe_read_user(to + have, n, v.iov_base)) break;
		have += n;
	}
	return have;
}

static __always_inline __u8 read_tail(__u64 *tail, __u32 bytes, struct call *c)
{
	const void *end = NULL;
	__u32 n = bytes < 8 ? bytes : 8;
	*tail = 0;
	if (c->flat) {
		end = c->flat + bytes;
	} else {
		__u64 left = bytes;
#pragma unroll
		for (int i = 0; i < 16; i++) {
			struct iovec v;
			if (i >= c->iov_count) break;
			if (bpf_probe_read_user(&v, sizeof(v), c->iov + i)) break;
			if (left <= v.iov_len) {
				end = v.iov_base + left;
				if (left < n) n = left; /* do not reach before the segment */
				break;
			}
			left -= v.iov_len;
		}
	}
	if (!end || !n) return 0;
	__u64 word = 0;
	if (n == 8) {
		if (bpf_probe_read_user(&word, 8, end - 8)) return 0;
	} else { __u64 m = n & 7; asm volatile("" : "+r"(m)); if (m > 7 || m == 0) return 0; if (bpf_probe_read_user(&word, m, end - m)) return 0; }
	*tail = word << (8 * (8 - n));
	return n;
}

/* ---- socket I/O ---- */

#define CLASS(N) struct record_##N { struct th_socket_event e; __u8 payload[2 * N]; };
CLASS(256)
CLASS(1024)
CLASS(4096)

static __always_inline void fill_event(struct th_socket_event *e, struct sock *sk, __u16 family, struct socket_state *s, struct task_state *t, struct task_struct *task)
{
	e->mono_ns = bpf_ktime_get_ns();
	e->thread_id = t ? t->thread_id : 0;
	e->process_id = t ? t->process_id : 0;
	e->turn = t ? t->turn : 0;
	e->socket_id = s->socket_id;
	e->conn_id = s->conn_id;
	e->peer_socket_id = 0;
	e->cgroup_id = bpf_get_current_cgroup_id();
	e->task_id = e->parent_task_id = e->stack_id = e->tail = 0;
	e->tcp_seq = e->other_tcp_seq = 0;
	e->stream_offset = e->other_offset = 0;
	__u64 id = bpf_get_current_pid_tgid();
	e->pid = id >> 32;
	e->tid = (__u32)id;
	e->fd = s->fd;
	e->bytes = 0;
	e->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	e->flags = family == AF_UNIX ? TH_FLAG_UNIX : 0;
	e->error = 0;
	e->payload_length = 0;
	e->layer = TH_LAYER_SOCKET;
	e->role = s->role;
	e->old_state = e->new_state = 0;
	e->tail_length = 0;
	e->syscall = -1;
	fill_address(e, sk, family);
	bpf_get_current_comm(e->comm, sizeof(e->comm));
}

static __always_inline int on_io(struct sock *sk, int ret, bool is_write)
{
	__u16 family;
	if (!sk || !wanted_socket(sk, &family)) return 0;
	if (ret < 0 && (ret == -EAGAIN || ret == -EINTR || ret == -EINPROGRESS)) return 0;
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if (!in_scope(task, netns)) return 0;
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct socket_state *s = socket_state(sk, cookie);
	struct task_state *t = task_state(task);
	if (!s) return 0;
	if (ret == 0 && (is_write || s->eof)) return 0;
	if (ret == 0) s->eof = 1;

	struct positions p = {};
	__u64 peer_id = 0;
	__u32 bytes = ret > 0 ? ret : 0;
	if (family == AF_UNIX) {
		struct sock *peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
		__u64 other = peer ? cookie_of(peer) : 0;
		if (other && !s->known) {
			s->conn_id = id63(salt + 3, cookie < other ? cookie : other, cookie < other ? other : cookie);
			s->known = 1;
		}
		if (other) peer_id = id63(salt + 2, other, 0);
		if (is_write) s->unix_sent += bytes; else s->unix_received += bytes;
		p.sent = s->unix_sent;
		p.received = s->unix_received;
	} else {
		tcp_positions(sk, s, &p);
	}
	__u64 end = is_write ? p.sent : p.received, other = is_write ? p.received : p.sent;
	__u64 start = end - bytes;

	struct call c;
	__u32 task_flags = BPF_CORE_READ(task, flags);
	bool no_thread = task_flags & PF_KTHREAD, ring_io = task_flags & PF_IO_WORKER;
	if (no_thread || ring_io) { c.nr = -1; c.fd = -1; c.flat = NULL; c.iov = NULL; c.iov_count = 0; }
	else read_call(task, &c);
	if (c.nr == 426) ring_io = true;
	if (c.fd >= 0) s->fd = c.fd;

	/* a message's head may be open while this direction has moved few bytes since the other one did */
	int d = is_write ? 1 : 0;
	if (s->phase_other[d] != other || !s->seen) { s->phase_other[d] = other; s->phase_used[d] = 0; s->seen = 1; }
	__u32 want = 0;
	if (bytes && payload_bytes && (c.flat || c.iov)) {
		want = s->follow ? payload_bytes : (s->phase_used[d] < payload_bytes ? payload_bytes - s->phase_used[d] : 0);
		if (want > bytes) want = bytes;
	}
	__u32 flags = 0;
	if (want && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) * 2 > ring_bytes) {
		want = 0;
		flags |= TH_FLAG_PAYLOAD_SHED;
		lost(TH_LOSS_PAYLOAD_SHED);
	}
	s->phase_used[d] += want;

	struct th_socket_event *e;
	__u32 got = 0;
	if (want == 0) {
		e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
		if (!e) goto full;
		fill_event(e, sk, family, s, t, task);
	} else if (want <= 256) {
		struct record_256 *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
		if (!r) goto full;
		e = &r->e;
		fill_event(e, sk, family, s, t, task);
		got = gather(r->payload, want, 256, &c);
	} else if (want <= 1024) {
		struct record_1024 *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
		if (!r) goto full;
		e = &r->e;
		fill_event(e, sk, family, s, t, task);
		got = gather(r->payload, want, 1024, &c);
	} else {
		struct record_4096 *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
		if (!r) goto full;
		e = &r->e;
		fill_event(e, sk, family, s, t, task);
		got = gather(r->payload, want, 4096, &c);
	}
	e->op = is_write ? TH_OP_WRITE : TH_OP_READ;
	e->bytes = bytes;
	e->error = ret < 0 ? -ret : 0;
	e->stream_offset = start;
	e->other_offset = other;
	e->tcp_seq = (is_write ? p.sent_seq : p.received_seq) - bytes;
	e->other_tcp_seq = is_write ? p.received_seq : p.sent_seq;
	e->peer_socket_id = peer_id;
	e->syscall = c.nr;
	e->payload_length = got;
	if (bytes > got) {
		flags |= TH_FLAG_PAYLOAD_TRUNCATED;
		e->tail_length = read_tail(&e->tail, bytes, &c);
	}
	if (ret == 0) flags |= TH_FLAG_EOF;
	if (no_thread) flags |= TH_FLAG_NO_THREAD;
	if (ring_io) flags |= TH_FLAG_IO_URING;
	e->flags |= flags;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 0;
full:
	lost(TH_LOSS_RING_FULL);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int ret, int flags) { return on_io(sk, ret, true); }
SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_recv, struct sock *sk, int ret, int flags) { return flags & MSG_PEEK ? 0 : on_io(sk, ret, false); }

/* ---- life of a connection ---- */

static __always_inline int emit_plain(struct sock *sk, __u16 family, struct socket_state *s, __u8 op, int old_state, int new_state, int err, __u32 flags, __s32 nr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *t = flags & TH_FLAG_NO_THREAD ? NULL : task_state(task);
	struct th_socket_event *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (!e) { lost(TH_LOSS_RING_FULL); return 0; }
	fill_event(e, sk, family, s, t, task);
	if (family != AF_UNIX && s->known) {
		struct positions p;
		tcp_positions(sk, s, &p);
		e->stream_offset = p.sent;
		e->other_offset = p.received;
		e->tcp_seq = p.sent_seq;
		e->other_tcp_seq = p.received_seq;
	}
	if (flags & TH_FLAG_NO_THREAD) { e->pid = e->tid = 0; __builtin_memset(e->comm, 0, 16); e->cgroup_id = 0; }
	e->op = op;
	e->old_state = old_state;
	e->new_state = new_state;
	e->error = err;
	e->flags |= flags;
	e->syscall = nr;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old_state, int new_state)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if ((family != AF_INET && family != AF_INET6) || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP) return 0;
	if (new_state == TCP_LISTEN || old_state == TCP_LISTEN || new_state == TCP_SYN_RECV) return 0;
	__u64 key = (__u64)sk;
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	__u32 flags = TH_FLAG_NO_THREAD;
	__u8 op = TH_OP_STATE;
	__s32 nr = -1;
	struct socket_state *s;
	if (old_state == TCP_CLOSE && new_state == TCP_SYN_SENT) {
		if (!in_scope(task, netns)) return 0;
		struct call c;
		read_call(task, &c);
		bpf_map_delete_elem(&sockets, &key);
		s = socket_state(sk, bpf_get_socket_cookie(sk));
		if (!s) return 0;
		s->role = TH_ROLE_CLIENT;
		nr = c.nr;
		if (nr == 42) s->fd = (__s32)BPF_CORE_READ((struct pt_regs *)bpf_task_pt_regs(task), di);
		op = TH_OP_CONNECT;
		flags = 0;
	} else {
		/* what accept returns later is found by its cookie: only here is the pointer one that can be given one */
		if (old_state == TCP_SYN_RECV) bpf_get_socket_cookie(sk);
		s = bpf_map_lookup_elem(&sockets, &key);
		if (!s) return 0; /* never used by anybody in scope */
		if (s->cookie != cookie_of(sk)) return 0;
		if (new_state == TCP_FIN_WAIT1 || new_state == TCP_LAST_ACK) {
			struct call c;
			read_call(task, &c);
			nr = c.nr;
			op = nr == 48 ? TH_OP_SHUTDOWN : TH_OP_CLOSE;
			flags = 0;
		}
		if (new_state == TCP_ESTABLISHED) { struct positions p; tcp_positions(sk, s, &p); }
	}
	emit_plain(sk, family, s, op, old_state, new_state, BPF_CORE_READ(sk, sk_err), flags, nr);
	if (new_state == TCP_CLOSE) bpf_map_delete_elem(&sockets, &key);
	return 0;
}

static __always_inline int on_accept(long fd)
{
	if (fd < 0) return 0;
	struct task_struct *task = bpf_get_current_task_btf();
	struct files_struct *files = BPF_CORE_READ(task, files);
	struct fdtable *table = BPF_CORE_READ(files, fdt);
	struct file **list = BPF_CORE_READ(table, fd), *file = NULL;
	if (fd >= BPF_CORE_READ(table, max_fds)) return 0;
	if (bpf_probe_read_kernel(&file, sizeof(file), list + fd) || !file) return 0;
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	__u16 family;
	if (!sk || !wanted_socket(sk, &family)) return 0;
	__u32 netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if (!in_scope(task, netns)) return 0;
	__u64 cookie = cookie_of(sk);
	if (!cookie) return 0; /* the first read or write tells */
	struct socket_state *s = socket_state(sk, cookie);
	if (!s) return 0;
	s->role = TH_ROLE_SERVER;
	s->fd = fd;
	if (family != AF_UNIX) { struct positions p; tcp_positions(sk, s, &p); }
	return emit_plain(sk, family, s, TH_OP_ACCEPT, 0, TCP_ESTABLISHED, 0, 0, 43);
}
SEC("tracepoint/syscalls/sys_exit_accept")
int on_exit_accept(struct trace_event_raw_sys_exit *ctx) { return on_accept(ctx->ret); }
SEC("tracepoint/syscalls/sys_exit_accept4")
int on_exit_accept4(struct trace_event_raw_sys_exit *ctx) { return on_accept(ctx->ret); }

/* ---- turns ---- */

static __always_inline int turn(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *t = task_state(task);
	if (t) t->turn++;
	return 0;
}
#define TURN(NAME) SEC("tracepoint/syscalls/sys_enter_" #NAME) int turn_##NAME(void *ctx) { return turn(); }
TURN(epoll_wait)
TURN(epoll_pwait)
TURN(epoll_pwait2)
TURN(poll)
TURN(ppoll)
TURN(select)
TURN(pselect6)

/* ---- threads ---- */

static __always_inline int thread_event(struct task_struct *who, struct task_struct *target, __u8 op)
{
	struct nsproxy *ns = BPF_CORE_READ(who, nsproxy);
	__u32 netns = ns ? BPF_CORE_READ(ns, net_ns, ns.inum) : 0;
	if (!in_scope(who, netns)) return 0;
	struct th_thread_event *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);
	if (!e) { lost(TH_LOSS_RING_FULL); return 0; }
	e->mono_ns = bpf_ktime_get_ns();
	task_ids(who, &e->thread_id, &e->process_id);
	e->target_thread_id = e->target_process_id = e->key = 0;
	e->target_pid = e->target_tid = 0;
	e->pid = BPF_CORE_READ(who, tgid);
	e->tid = BPF_CORE_READ(who, pid);
	if (target) {
		task_ids(target, &e->target_thread_id, &e->target_process_id);
		e->target_pid = BPF_CORE_READ(target, tgid);
		e->target_tid = BPF_CORE_READ(target, pid);
	}
	e->op = op;
	e->in_irq = 0;
	e->exit_process = op == TH_THREAD_EXIT && BPF_CORE_READ(who, pid) == BPF_CORE_READ(who, tgid);
	__builtin_memset(e->padding, 0, sizeof(e->padding));
	BPF_CORE_READ_STR_INTO(&e->comm, who, comm);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 tgid = BPF_CORE_READ(parent, tgid), child_tgid = BPF_CORE_READ(child, tgid);
	__u8 one = 1;
	if (tgid != child_tgid && bpf_map_lookup_elem(&scope_pids, &tgid)) bpf_map_update_elem(&scope_pids, &child_tgid, &one, BPF_ANY);
	return thread_event(parent, child, TH_THREAD_FORK);
}
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *p) { return thread_event(p, NULL, TH_THREAD_EXEC); }
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *p)
{
	__u32 tgid = BPF_CORE_READ(p, tgid);
	int r = thread_event(p, NULL, TH_THREAD_EXIT);
	if (BPF_CORE_READ(p, pid) == tgid) bpf_map_delete_elem(&scope_pids, &tgid);
	return r;
}
