/* SPDX-License-Identifier: Apache-2.0 */
#include "expand.h"
#include <string.h>
#include "ring-records.h"
#include "records.h"
#include "told.h"

static struct told threads = {.entry_bytes = sizeof(struct th_ring_thread)}, sockets = {.entry_bytes = sizeof(struct th_ring_socket)};
static uint64_t lost;

size_t item_length(const uint8_t *item, size_t have)
{
	const struct th_frame *frame = (const void *)item;
	size_t length = sizeof(struct th_frame); /* the least that tells */

	if (have < length)
		return 0;
	switch (frame->magic) {
	case TH_RING_THREAD:
		length = sizeof(struct th_ring_thread);
		break;
	case TH_RING_SOCKET:
		length = sizeof(struct th_ring_socket);
		break;
	case TH_RING_WAKE:
		length = sizeof(struct th_ring_wake);
		break;
	case TH_RING_EVENT:
		length = sizeof(struct th_ring_event);
		if (have >= length)
			length += (((const struct th_ring_event *)item)->payload_length + 7) & ~7u;
		break;
	default:
		length += frame->length;
	}
	return have < length ? 0 : length;
}

static uint8_t *begin_frame(uint8_t *to, unsigned type, size_t used)
{
	struct th_frame *frame = (struct th_frame *)to;

	*frame = (struct th_frame){.magic = TH_FRAME_MAGIC, .type = type, .length = (used + 7) & ~7ul, .used = used};
	return to + sizeof(*frame);
}

/* The kernel tells before it names; so this is a loss that nobody expects, and says so. */
static uint8_t *lose(uint8_t *to, uint64_t mono_ns)
{
	struct th_loss loss = {.from_mono_ns = mono_ns, .to_mono_ns = mono_ns, .events_lost = 1, .cpu = -1, .cause = TH_LOSS_UNDECODABLE};

	lost++;
	memcpy(begin_frame(to, TH_RECORD_LOSS, sizeof(loss)), &loss, sizeof(loss));
	return to + sizeof(struct th_frame) + sizeof(loss);
}

static uint8_t *expand_event(uint8_t *to, const struct th_ring_event *from)
{
	static const struct th_ring_thread nobody;
	const struct th_ring_thread *thread = from->thread ? told_find(&threads, from->thread) : &nobody;
	const struct th_ring_socket *socket = told_find(&sockets, from->socket_id);
	size_t payload = from->payload_length, padded = (payload + 7) & ~7ul;

	if (!thread || !socket)
		return lose(to, from->mono_ns);
	struct th_socket_event *event = (void *)begin_frame(to, TH_RECORD_SOCKET_EVENT, sizeof(*event) + payload);
	*event = (struct th_socket_event){
		.mono_ns = from->mono_ns,
		.thread_id = thread->thread_id,
		.process_id = thread->process_id,
		.socket_id = from->socket_id,
		.conn_id = socket->conn_id,
		.peer_socket_id = socket->peer_socket_id,
		.stream_offset = from->stream_offset,
		.other_offset = from->other_offset,
		.cgroup_id = thread->cgroup_id,
		.turn = from->turn,
		.task_id = from->task_id,
		.parent_task_id = from->parent_task_id,
		.stack_id = from->stack_id,
		.tail = from->tail,
		.tcp_seq = from->tcp_seq,
		.other_tcp_seq = from->other_tcp_seq,
		.pid = thread->pid,
		.tid = thread->tid,
		.fd = from->fd,
		.bytes = from->bytes,
		.netns = socket->netns,
		.flags = from->flags | socket->flags,
		.error = from->error,
		.payload_length = payload,
		.local_port = socket->local_port,
		.remote_port = socket->remote_port,
		.family = socket->family,
		.op = from->op,
		.layer = TH_LAYER_SOCKET,
		.role = socket->role,
		.old_state = from->old_state,
		.new_state = from->new_state,
		.tail_length = from->tail_length,
		.syscall = from->syscall,
	};
	memcpy(event->local_ip, socket->local_ip, 16);
	memcpy(event->remote_ip, socket->remote_ip, 16);
	if (!(from->flags & TH_FLAG_NO_THREAD))
		memcpy(event->comm, thread->comm, 16);
	memcpy(event + 1, from + 1, padded);
	return (uint8_t *)(event + 1) + padded;
}

static uint8_t *expand_wake(uint8_t *to, const struct th_ring_wake *from)
{
	const struct th_ring_thread *thread = told_find(&threads, from->thread);

	if (!thread)
		return lose(to, from->mono_ns);
	struct th_thread_event *event = (void *)begin_frame(to, TH_RECORD_THREAD_EVENT, sizeof(*event));
	*event = (struct th_thread_event){
		.mono_ns = from->mono_ns,
		.thread_id = thread->thread_id,
		.process_id = thread->process_id,
		.target_thread_id = from->target_thread_id,
		.target_process_id = thread->process_id,
		.key = from->key,
		.pid = thread->pid,
		.tid = thread->tid,
		.target_pid = thread->pid,
		.target_tid = from->target_tid,
		.op = TH_THREAD_WAKE,
		.in_irq = from->in_irq,
	};
	memcpy(event->comm, thread->comm, 16);
	return (uint8_t *)(event + 1);
}

size_t expand(const uint8_t *items, size_t have, size_t *used, uint8_t *to, size_t room)
{
	uint8_t *begin = to;
	size_t length;

	*used = 0;
	while ((length = item_length(items, have - *used))) {
		uint32_t kind;
		if (room - (to - begin) < EXPAND_MOST || room - (to - begin) < length)
			break;
		memcpy(&kind, items, sizeof(kind));
		switch (kind) {
		case TH_RING_THREAD:
			told_put(&threads, items);
			break;
		case TH_RING_SOCKET:
			told_put(&sockets, items);
			break;
		case TH_RING_EVENT:
			to = expand_event(to, (const void *)items);
			break;
		case TH_RING_WAKE:
			to = expand_wake(to, (const void *)items);
			break;
		default:
			memcpy(to, items, length);
			to += length;
		}
		items += length;
		*used += length;
	}
	return to - begin;
}

uint64_t expand_lost(void)
{
	return lost;
}
