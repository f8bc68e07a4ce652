/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Who asks a connection of Go's net/http for a round trip: the goroutine, and the socket that will carry the request. */
#include "tasks.bpf.h"

#if defined(__TARGET_ARCH_x86)
/* net/http.(*persistConn).roundTrip: by Go's calling convention the receiver is in RAX, the running goroutine in R14. A net.TCPConn
 * begins with the pointer to its netFD, which begins with a lock of 16 bytes and the descriptor; a tls.Conn with the net.Conn below. */
SEC("uprobe")
int go_round_trip(struct pt_regs *registers)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct th_go_layout *layout = go_layout(task);
	struct caller caller = {};
	u64 connection[3] = {}, descriptor = 0, key;
	struct socket *socket;
	struct file *file;
	u32 fd = 0;

	if (!layout || !read_goroutine(registers->r14, layout, &caller))
		return 0;
	/* The interface's type and data, then the TLS state: null without TLS. */
	if (bpf_probe_read_user(connection, sizeof(connection), (void *)(registers->ax + layout->connection)))
		return 0;
	if (connection[2] && bpf_probe_read_user(&connection[1], 8, (void *)(connection[1] + 8)))
		return 0;
	if (bpf_probe_read_user(&descriptor, 8, (void *)connection[1]) || bpf_probe_read_user(&fd, 4, (void *)(descriptor + 16)))
		return 0;
	file = file_of(task, fd);
	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	key = (u64)BPF_CORE_READ(socket, sk);
	bpf_map_update_elem(&callers, &key, &caller, BPF_ANY);
	return 0;
}
#endif
