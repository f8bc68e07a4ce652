/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Who makes a call: Go's HTTP client has a goroutine of the connection write what another one asks for. So the one that asks is
 * noted with the socket, and the writes that follow carry it. */
#include "tasks.bpf.h"
#include "socket-state.bpf.h"

/* What lies in a Go program's memory; the same in all versions of the table in go-binary.c. */
struct go_socket { /* net.netFD */
	u64 mutex, mutex_waiters;
	s64 fd;
	u64 poll[4];
	s64 family;
	s64 type;
};
struct go_interface {
	u64 type;
	u64 data;
};

#define GO_WRAPPINGS 3

/* The descriptor of a net.Conn, or -1. A *net.TCPConn or *net.UnixConn begins with its *netFD, a *tls.Conn and most of what
 * wraps a connection begins with the wrapped one. */
static __noinline int go_descriptor(u64 conn)
{
#pragma unroll
	for (int depth = 0; depth < GO_WRAPPINGS; depth++) {
		struct go_socket socket = {};
		struct go_interface first = {};
		if (bpf_probe_read_user(&first, sizeof(first), (void *)conn))
			return -1;
		if (!bpf_probe_read_user(&socket, sizeof(socket), (void *)first.type) && socket.type == SOCK_STREAM &&
		    (socket.family == AF_INET || socket.family == AF_INET6 || socket.family == AF_UNIX))
			return socket.fd >= 0 && socket.fd < 1 << 30 ? socket.fd : -1;
		conn = first.data;
	}
	return -1;
}

#if defined(__TARGET_ARCH_x86)
/* net/http.(*persistConn).roundTrip; Go passes the receiver in RAX and keeps the goroutine in R14. */
SEC("uprobe")
int round_trip(struct pt_regs *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct task_state *who = current_state((struct task_struct *)bpf_get_current_task_btf());
	struct goroutine caller = {};
	const struct th_go_layout *layout;
	struct sock_state *state;
	struct socket *socket;
	struct file *file;
	u64 conn = 0;
	int fd;

	if (!who || who->excluded || (!who->in_scope && !live.scope_netns))
		return 0;
	layout = go_layout(task, who);
	if (!layout)
		return 0;
	read_goroutine(layout, ctx->r14, &caller);
	if (!caller.id || bpf_probe_read_user(&conn, sizeof(conn), (void *)(ctx->ax + layout->conn + sizeof(u64))))
		return 0;
	fd = go_descriptor(conn);
	if (fd < 0)
		return 0;
	file = file_of(task, fd);
	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	state = find_sock(BPF_CORE_READ(socket, sk));
	if (!state)
		return 0;
	state->caller_told = 0;
	state->caller_id = caller.id;
	state->caller_parent_id = caller.parent_id;
	return 0;
}
#endif
