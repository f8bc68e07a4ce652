/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* File descriptor and bytes of a call, from the system call's own arguments: no hook on sys_enter is needed for them. */
#ifndef TH_PAYLOAD_H
#define TH_PAYLOAD_H

#include "common.bpf.h"

#define IOV_AT_ONCE 2

struct call {
	s32 syscall; /* -1 = none */
	s32 fd;
	u32 writing;
	u64 base;      /* one buffer */
	u64 iov;       /* or several */
	u32 iov_count;
	struct th_iovec parts[IOV_AT_ONCE]; /* the first of them */
};

/* A 32-bit program on a 64-bit kernel has other numbers and layouts. */
static __always_inline bool is_compat(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	return task->thread_info.status & 2;
#else
	return false;
#endif
}

/* A read from the user's memory is the dearest thing here: the segments are read once. */
static __always_inline void take_iov(struct call *call, u64 iov, u64 count)
{
	u64 size = (count < IOV_AT_ONCE ? count : IOV_AT_ONCE) * sizeof(call->parts[0]);

	CLAMP(size, sizeof(call->parts));
	if (bpf_probe_read_user(call->parts, size, (void *)iov))
		return;
	if (count == 1) {
		call->base = call->parts[0].base;
		return;
	}
	call->iov = iov;
	call->iov_count = count > 1024 ? 1024 : count;
}

static __always_inline void take_msghdr(struct call *call, u64 address)
{
	struct th_iovec list = {}; /* where the segments are told, and how many */

	if (!bpf_probe_read_user(&list, sizeof(list), (void *)(address + __builtin_offsetof(struct th_msghdr, iov))))
		take_iov(call, list.base, list.length);
}

/* What the current task is doing to a socket. splice names two descriptors: the socket is the third argument when written to. */
/* A global function takes numbers only; it is verified once, and not with all that follows on each of its ways. */
__noinline int read_arguments(struct call *call, s32 nr, u64 first, u64 second, u64 third)
{
	if (!call)
		return 0;
	switch (nr) {
	case TH_NR_read:
	case TH_NR_write:
	case TH_NR_recvfrom:
	case TH_NR_sendto:
		call->fd = first;
		call->base = second;
		break;
	case TH_NR_readv:
	case TH_NR_writev:
	case TH_NR_preadv2:
	case TH_NR_pwritev2:
		call->fd = first;
		take_iov(call, second, third);
		break;
	case TH_NR_recvmsg:
	case TH_NR_sendmsg:
		call->fd = first;
		take_msghdr(call, second);
		break;
	case TH_NR_recvmmsg:
	case TH_NR_sendmmsg:
		call->fd = first;
		/* With several messages nothing says which one this is. */
		if ((u32)third == 1)
			take_msghdr(call, second);
		break;
	case TH_NR_sendfile:
	case TH_NR_connect:
	case TH_NR_shutdown:
	case TH_NR_close:
		call->fd = first;
		break;
	case TH_NR_splice:
		call->fd = call->writing ? third : first;
		break;
	}
	return 0;
}

static __always_inline void read_call(struct call *call, struct task_struct *task, struct pt_regs *regs, const bool writing)
{
	s32 nr = TH_SYSCALL_NR(regs);

	call->syscall = -1;
	call->fd = -1;
	if (is_compat(task) || nr < 0)
		return;
	call->syscall = nr;
	call->writing = writing;
	read_arguments(call, nr, TH_ARG1(regs), TH_ARG2(regs), TH_ARG3(regs));
}

#define GATHER_MOST 4096

/* Twice what is gathered, which is what lets the verifier see that a segment fits behind the ones before it. */
struct gathered {
	u8 bytes[2 * GATHER_MOST];
};

/* A function of its own: with the whole loop's registers to keep, the compiler spills a length before its bound is known. */
static __noinline long gather_part(struct gathered *to, u64 at, u64 length, u64 from)
{
	barrier_var(at);
	if (!to || at >= GATHER_MOST)
		return -1;
	CLAMP(length, GATHER_MOST);
	return bpf_probe_read_user(to->bytes + at, length, (void *)from);
}

/* The first `want` bytes of the call, from up to sixteen segments (Apache writes a head in seven). */
__noinline int gather(struct gathered *to, struct call *call, u32 want)
{
	u32 at = 0;

	if (!to || !call)
		return 0;
	CLAMP(want, GATHER_MOST);
#pragma unroll
	for (int i = 0; i < 16; i++) {
		const struct th_iovec *part = &call->parts[i % IOV_AT_ONCE];
		if (i >= call->iov_count || at >= want)
			break;
		if (i && i % IOV_AT_ONCE == 0) {
			u64 size = (call->iov_count - i) * sizeof(*part);
			CLAMP(size, sizeof(call->parts));
			if (bpf_probe_read_user(call->parts, size, (void *)(call->iov + i * sizeof(*part))))
				break;
		}
		u32 length = part->length < want - at ? part->length : want - at;
		if (length && gather_part(to, at, length, part->base))
			break;
		at += length;
	}
	return at;
}

static __always_inline u64 read_last(u64 end, u64 length)
{
	u64 value = 0;

	CLAMP(length, 8);
	if (!length || bpf_probe_read_user(&value, length, (void *)(end - length)))
		return 0;
	return value << (8 * ((8 - length) & 7));
}

/* The last bytes of a call, last byte highest: they tell where a chunked body or a pipelined request ends. */
__noinline int read_tail(const struct call *call, u64 bytes, u64 *tail)
{
	u64 before = 0, previous_end = 0, previous_length = 0;

	if (!call || !tail)
		return 0;

	*tail = 0;
	if (call->base) {
		u64 length = bytes < 8 ? bytes : 8;
		*tail = read_last(call->base + bytes, length);
		return length;
	}
#pragma unroll
	for (int i = 0; i < 16; i++) {
		struct th_iovec part = call->parts[i % IOV_AT_ONCE];
		if (i >= call->iov_count)
			return 0;
		if (i >= IOV_AT_ONCE && bpf_probe_read_user(&part, sizeof(part), (void *)(call->iov + i * sizeof(part))))
			return 0;
		if (before + part.length >= bytes) {
			u64 length = bytes - before;
			if (length >= 8) {
				*tail = read_last(part.base + length, 8);
				return 8;
			}
			u64 missing = 8 - length;
			u64 more = previous_length < missing ? previous_length : missing;
			*tail = read_last(part.base + length, length);
			if (more)
				*tail |= read_last(previous_end, more) >> (8 * (length & 7));
			return length + more;
		}
		if (part.length) {
			previous_end = part.base + part.length;
			previous_length = part.length;
		}
		before += part.length;
	}
	return 0;
}

#endif
