/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What is remembered of a socket: its ids, addresses, role, and the sequence numbers that its streams began with. */
#ifndef TH_SOCKET_STATE_H
#define TH_SOCKET_STATE_H

#include "scope.bpf.h"

static __always_inline u64 cookie_of(struct sock *sk, const bool direct)
{
	u64 cookie = GET(direct, sk, __sk_common.skc_cookie.counter);

	/* The helper gives one where there is none yet. */
	return cookie || !direct ? cookie : bpf_get_socket_cookie(sk);
}

static __always_inline u32 netns_of_sock(struct sock *sk, const bool direct)
{
	struct net *net = GET(direct, sk, __sk_common.skc_net.net);

	return net ? GET(direct, net, ns.inum) : 0;
}

/* TCP, or a Unix stream; 0 for every other socket. */
static __always_inline u16 stream_family(struct sock *sk, const bool direct)
{
	u16 family = GET(direct, sk, __sk_common.skc_family);

	if (family == AF_INET || family == AF_INET6)
		return GET(direct, sk, sk_protocol) == IPPROTO_TCP ? family : 0;
	if (family == AF_UNIX)
		return GET(direct, sk, sk_type) == SOCK_STREAM ? family : 0;
	return 0;
}

static __always_inline bool wants_socket(struct sock_state *state, const struct task_state *task)
{
	if (!task->in_scope) {
		if (!live.scope_netns || task->excluded)
			return false;
		if (state->netns_generation != live.generation) {
			state->netns_in_scope = netns_wanted(state->netns);
			state->netns_generation = live.generation;
		}
		if (!state->netns_in_scope)
			return false;
	}
	if (!(state->state & SOCK_OURS))
		state->state |= SOCK_OURS;
	return true;
}

static __always_inline struct sock *sock_of_file(struct file *file)
{
	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	struct socket *socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline struct sock_state *find_sock(struct sock *sk)
{
	u64 key = (u64)sk;

	return bpf_map_lookup_elem(&socks, &key);
}

/* The loader puts sockets in, when it is told so, and counts them before they are there. */
static __noinline int unfollow(u64 socket_id)
{
	if (!bpf_map_delete_elem(&followed_sockets, &socket_id))
		__sync_fetch_and_sub(&live.followed, 1);
	return 0;
}

static __always_inline void forget_sock(struct sock *sk)
{
	struct sock_state *state;
	u64 key = (u64)sk;

	if (live.followed && (state = find_sock(sk)))
		unfollow(state->socket_id);
	bpf_map_delete_elem(&socks, &key);
}

/* Whole before anybody sees it: both ends of a Unix socket may come upon it at once, and have to read the same id. */
static __noinline int add_sock(u64 key, u16 family, u64 cookie, u32 netns)
{
	struct sock_state state = {};

	state.cookie = cookie;
	state.family = family;
	state.netns = netns;
	if (cookie)
		state.socket_id = th_id(settings.salt ^ TH_SOCKET_SALT, cookie);
	else
		state.socket_id = th_id(settings.salt ^ TH_SOCKET_SALT ^ (u64)bpf_get_smp_processor_id() << 32, bpf_ktime_get_ns());
	return bpf_map_update_elem(&socks, &key, &state, BPF_NOEXIST);
}

/* A cookie given after the state was made (0 there) belongs to the same socket; another one, or none again, means that the address was reused. */
static __always_inline struct sock_state *sock_of(struct sock *sk, u16 family, u64 cookie, u32 netns)
{
	struct sock_state *state = find_sock(sk);
	u64 key = (u64)sk;

	if (state && state->cookie != cookie) {
		if (state->cookie) {
			forget_sock(sk);
			state = NULL;
		} else {
			state->cookie = cookie;
		}
	}
	if (!state) {
		add_sock(key, family, cookie, netns);
		state = bpf_map_lookup_elem(&socks, &key);
	}
	return state;
}

static __always_inline struct tcp_sock *tcp_of(struct sock *sk, const bool direct)
{
	if (direct)
		return (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	return (struct tcp_sock *)sk;
}

/* After shutdown or close, write_seq counts the FIN too. */
static __always_inline bool fin_queued(u8 state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK || state == TCP_TIME_WAIT;
}

/* IPv4 in IPv6 clothes (::ffff:a.b.c.d) is told as IPv4, so that both ends show the same addresses. */
static __noinline int read_addresses(struct sock *sk, struct sock_state *state)
{
	u32 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (!state)
		return 0;
	state->told = 0;
	state->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	state->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (family == AF_INET6) {
		u32 words[4] = {};
		BPF_CORE_READ_INTO(&words, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
		if (words[0] == 0 && words[1] == 0 && words[2] == bpf_htonl(0xffff)) {
			family = AF_INET;
		} else {
			__builtin_memcpy(state->remote_ip, words, 16);
			BPF_CORE_READ_INTO(&words, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
			__builtin_memcpy(state->local_ip, words, 16);
		}
	}
	if (family == AF_INET) {
		*(u32 *)state->local_ip = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		*(u32 *)state->remote_ip = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	}
	state->family = family;
	return 0;
}

/* opener's first byte, acceptor's first byte: the same pair at both ends, through NAT too. */
static __always_inline void name_connection(struct sock_state *state)
{
	u64 sent = state->first_sent, received = state->first_received;

	if (state->role == TH_ROLE_CLIENT)
		state->conn_id = th_id(TH_CONN_SALT, sent << 32 | received);
	else if (state->role == TH_ROLE_SERVER)
		state->conn_id = th_id(TH_CONN_SALT, received << 32 | sent);
}

/* Derive the beginning of both streams from what TCP counts anyway. snd_una and bytes_acked move together under the socket's
 * lock, which is not held here: read them until nothing moved in between. */
static __noinline int learn_tcp(struct sock *sk, struct sock_state *state, u8 tcp_state)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	u64 acked = 0, received = 0, sent, opener;
	u32 una = 0, next = 0;

	if (!state)
		return 0;
	/* Unrolled: kernels before 6.2 take a loop only in the shape that the compiler does not always give it. */
#pragma unroll
	for (int round = 0; round < 3; round++)
		if (round == 0 || acked != BPF_CORE_READ(tp, bytes_acked) || una != BPF_CORE_READ(tp, snd_una)) {
			acked = BPF_CORE_READ(tp, bytes_acked);
			una = BPF_CORE_READ(tp, snd_una);
		}
#pragma unroll
	for (int round = 0; round < 3; round++)
		if (round == 0 || received != BPF_CORE_READ(tp, bytes_received) || next != BPF_CORE_READ(tp, rcv_nxt)) {
			received = BPF_CORE_READ(tp, bytes_received);
			next = BPF_CORE_READ(tp, rcv_nxt);
		}
	if (!acked && !received && !state->role)
		if (tcp_state == TCP_CLOSE || tcp_state == TCP_SYN_SENT)
			return 0; /* never connected */
	if (!state->role) {
		/* The opener's SYN is acknowledged but not among the bytes sent. */
		u32 snd_nxt = BPF_CORE_READ(tp, snd_nxt);
		sent = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
		opener = acked + (u32)(snd_nxt - una) - sent;
		if (fin_queued(tcp_state) && snd_nxt == BPF_CORE_READ(tp, write_seq))
			opener -= 1;
		if (opener == 1)
			state->role = TH_ROLE_CLIENT;
		else if (opener == 0)
			state->role = TH_ROLE_SERVER;
		state->state |= SOCK_PREEXISTING;
	}
	state->first_sent = una - (u32)acked + (state->role == TH_ROLE_CLIENT ? 1 : 0);
	state->first_received = next - (u32)received;
	state->read_seq = BPF_CORE_READ(tp, copied_seq);
	read_addresses(sk, state);
	name_connection(state);
	state->state |= SOCK_LEARNT;
	return 0;
}

/* 64 bits from a 32-bit distance and a counter that is near. */
static __always_inline u64 widen(u32 distance, u64 near)
{
	s64 wide = (s64)near + (s32)(distance - (u32)near);

	return wide < 0 ? 0 : wide;
}

struct positions {
	u64 sent, received; /* application bytes so far */
	u32 sent_seq, received_seq;
};

/* The FIN is the last in sequence: it has been read when all has been read. */
static __always_inline bool fin_read(struct sock *sk, struct tcp_sock *tp, const bool direct, u32 copied_seq)
{
	u64 flags = GET(direct, sk, __sk_common.skc_flags);

	return (flags & SOCK_DONE_BIT) && copied_seq == GET(direct, tp, rcv_nxt);
}

static __always_inline void tcp_positions(struct sock *sk, struct tcp_sock *tp, const bool direct, const struct sock_state *state, u8 tcp_state, struct positions *at)
{
	u32 write_seq = GET(direct, tp, write_seq);
	u32 copied_seq = GET(direct, tp, copied_seq);

	if (fin_queued(tcp_state) || (state->state & SOCK_FIN))
		write_seq -= 1;
	if (fin_read(sk, tp, direct, copied_seq))
		copied_seq -= 1;
	at->sent_seq = write_seq;
	at->received_seq = copied_seq;
	at->sent = widen(write_seq - state->first_sent, GET(direct, tp, bytes_acked));
	at->received = widen(copied_seq - state->first_received, GET(direct, tp, bytes_received));
}

/* Both ends of a Unix socket must name the pair alike, whichever is seen first. */
static __always_inline void learn_unix(struct sock *sk, const bool direct, struct sock_state *state)
{
	struct sock_state *other;
	struct sock *peer;
	u64 cookie = 0;

	if (direct && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_skc_to_unix_sock)) {
		struct unix_sock *us = (struct unix_sock *)bpf_skc_to_unix_sock(sk);
		if (!us)
			return;
		peer = us->peer;
		if (!peer)
			return;
		cookie = bpf_get_socket_cookie(peer);
	} else {
		peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
		if (!peer)
			return;
		cookie = cookie_of(peer, false);
	}
	other = sock_of(peer, AF_UNIX, cookie, state->netns);
	if (!other)
		return;
	if (state->state & SOCK_RELATIVE)
		other->state |= SOCK_RELATIVE;
	state->peer_socket_id = other->socket_id;
	state->conn_id = state->socket_id < other->socket_id ? th_id(settings.salt ^ TH_UNIX_SALT ^ state->socket_id, other->socket_id)
							     : th_id(settings.salt ^ TH_UNIX_SALT ^ other->socket_id, state->socket_id);
	state->state |= SOCK_LEARNT | SOCK_COUNTED;
}

#endif
