/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Ids that kernel programs and loader must agree on: 63 bits, never 0. */
#ifndef TH_IDS_H
#define TH_IDS_H

#include <linux/types.h>

static inline __attribute__((always_inline)) __u64 th_mix(__u64 a, __u64 b)
{
	__u64 x = a * 0x9e3779b97f4a7c15ULL + (b ^ (b >> 32)) * 0xd6e8feb86659fd93ULL + 0x2545f4914f6cdd1dULL;

	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	x ^= x >> 31;
	return x;
}

static inline __attribute__((always_inline)) __u64 th_id(__u64 a, __u64 b)
{
	__u64 x = th_mix(a, b) & 0x7fffffffffffffffULL;

	return x ? x : 1;
}

#define TH_PROCESS_SALT 0x70726f6365737321ULL
#define TH_SOCKET_SALT 0x736f636b65742121ULL
#define TH_UNIX_SALT 0x756e697870616972ULL
#define TH_CONN_SALT 0x636f6e6e65637421ULL

#endif
