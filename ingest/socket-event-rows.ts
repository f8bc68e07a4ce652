import { EVENT_FLAGS, LAYERS, OPS } from '../schema/records.ts';
import type { AddressTexts } from './address-text.ts';
import { B, W, u16, u8 } from './socket-event.ts';
import type { SocketEvent } from './socket-event.ts';
import { ROLE_NAMES } from './socket-state.ts';
import { TableBuilder } from './table-builder.ts';

const AF_UNIX = 1;
const OP_NAMES = named(OPS);
const LAYER_NAMES = named(LAYERS);
const HAS_STATE = new Set<number>([OPS.state, OPS.close, OPS.shutdown]);

function named(table: Record<string, number>): string[] {
  const names: string[] = [];
  for (const [name, id] of Object.entries(table)) names[id] = name;
  return names;
}

/** Fills the table `socket_events`. ts_ns is CLOCK_MONOTONIC until the batch is cut. */
export class SocketEventTable {
  readonly table: TableBuilder;
  readonly #texts: AddressTexts;
  readonly #c: ReturnType<typeof columns>;

  /** room: as in TableBuilder. */
  constructor(texts: AddressTexts, room?: number) {
    this.table = new TableBuilder('socket_events', room);
    this.#c = columns(this.table);
    this.#texts = texts;
  }

  /** False when the record's numbers have no meaning: nothing was appended. redact alters payload bytes in place. */
  append(event: SocketEvent, redact: ((data: Uint8Array, start: number, end: number) => void) | null): boolean {
    const { words: w, base: b, flags } = event;
    const layer = u8(w, b, B.layer);
    if (OP_NAMES[event.op] === undefined || LAYER_NAMES[layer] === undefined || event.size < 0) return false;
    const c = this.#c;
    const { texts } = this.#texts;
    const row = this.table.nextRow();
    c.ts_ns.set(row, w[b + W.mono] as number, w[b + W.mono + 1] as number);
    c.mono_ns.set(row, w[b + W.mono] as number, w[b + W.mono + 1] as number);
    c.process_id.setUnlessZero(row, w[b + W.process_id] as number, w[b + W.process_id + 1] as number);
    if ((flags & EVENT_FLAGS.no_thread) === 0) {
      c.pid.set(row, w[b + W.pid] as number);
      c.tid.set(row, w[b + W.tid] as number);
      c.thread_id.setUnlessZero(row, w[b + W.thread_id] as number, w[b + W.thread_id + 1] as number);
      c.comm.setNumbered(row, this.#texts.name(w, b + W.comm), texts);
      c.turn.set(row, w[b + W.turn] as number, w[b + W.turn + 1] as number);
    } else {
      c.pid.setNull(row);
      c.tid.setNull(row);
      c.thread_id.setNull(row);
      c.comm.setNull(row);
      c.turn.setNull(row);
    }
    c.socket_id.set(row, w[b + W.socket_id] as number, w[b + W.socket_id + 1] as number);
    c.conn_id.setUnlessZero(row, w[b + W.conn_id] as number, w[b + W.conn_id + 1] as number);
    c.peer_socket_id.setUnlessZero(row, w[b + W.peer_socket_id] as number, w[b + W.peer_socket_id + 1] as number);
    const fd = w[b + W.fd] as number;
    if (fd >= 0) c.fd.set(row, fd);
    else c.fd.setNull(row);
    c.op.setNumbered(row, event.op, OP_NAMES);
    c.bytes.setNumber(row, event.size);
    c.stream_offset.set(row, w[b + W.stream_offset] as number, w[b + W.stream_offset + 1] as number);
    c.other_offset.set(row, w[b + W.other_offset] as number, w[b + W.other_offset + 1] as number);
    const family = u16(w, b, B.family);
    const local = this.#texts.ip(family, w, b + W.local_ip);
    const remote = this.#texts.ip(family, w, b + W.remote_ip);
    if (local < 0 || remote < 0) {
      c.local_ip.setNull(row);
      c.local_port.setNull(row);
      c.remote_ip.setNull(row);
      c.remote_port.setNull(row);
    } else {
      c.local_ip.setNumbered(row, local, texts);
      c.local_port.set(row, u16(w, b, B.local_port));
      c.remote_ip.setNumbered(row, remote, texts);
      c.remote_port.set(row, u16(w, b, B.remote_port));
    }
    if (family === AF_UNIX) {
      c.tcp_seq.setNull(row);
      c.other_tcp_seq.setNull(row);
    } else {
      c.tcp_seq.set(row, w[b + W.tcp_seq] as number, 0);
      c.other_tcp_seq.set(row, w[b + W.other_tcp_seq] as number, 0);
    }
    const role = event.role;
    if (ROLE_NAMES[role] === undefined) c.role.setNull(row);
    else c.role.setNumbered(row, role, ROLE_NAMES);
    c.netns.setUnlessZero(row, w[b + W.netns] as number, 0);
    c.cgroup_id.setUnlessZero(row, w[b + W.cgroup_id] as number, w[b + W.cgroup_id + 1] as number);
    c.task_id.setUnlessZero(row, w[b + W.task_id] as number, w[b + W.task_id + 1] as number);
    c.parent_task_id.setUnlessZero(row, w[b + W.parent_task_id] as number, w[b + W.parent_task_id + 1] as number);
    c.stack_id.setUnlessZero(row, w[b + W.stack_id] as number, w[b + W.stack_id + 1] as number);
    c.layer.setNumbered(row, layer, LAYER_NAMES);
    const errno = w[b + W.errno] as number;
    if (errno === 0) c.errno.setNull(row);
    else c.errno.set(row, errno);
    c.flags.set(row, flags);
    if (HAS_STATE.has(event.op)) {
      c.old_state.set(row, event.old_state);
      c.new_state.set(row, event.new_state);
    } else {
      c.old_state.setNull(row);
      c.new_state.setNull(row);
    }
    const captured = event.captured_end - event.offset;
    c.payload_truncated.set(row, captured < event.size);
    if (redact === null || captured === 0) {
      c.payload.setNull(row);
    } else {
      const from = event.origin + event.offset;
      c.payload.set(row, event.bytes, from, from + captured);
      const { data, start, end } = c.payload.row(row);
      redact(data, start, end);
    }
    return true;
  }
}

function columns(t: TableBuilder) {
  return {
    ts_ns: t.column('ts_ns', 'int64'),
    mono_ns: t.column('mono_ns', 'int64'),
    pid: t.column('pid', 'int32'),
    tid: t.column('tid', 'int32'),
    process_id: t.column('process_id', 'int64'),
    thread_id: t.column('thread_id', 'int64'),
    comm: t.column('comm', 'dict'),
    socket_id: t.column('socket_id', 'int64'),
    conn_id: t.column('conn_id', 'int64'),
    peer_socket_id: t.column('peer_socket_id', 'int64'),
    fd: t.column('fd', 'int32'),
    op: t.column('op', 'dict'),
    bytes: t.column('bytes', 'int64'),
    stream_offset: t.column('stream_offset', 'int64'),
    tcp_seq: t.column('tcp_seq', 'int64'),
    other_offset: t.column('other_offset', 'int64'),
    other_tcp_seq: t.column('other_tcp_seq', 'int64'),
    local_ip: t.column('local_ip', 'dict'),
    local_port: t.column('local_port', 'int32'),
    remote_ip: t.column('remote_ip', 'dict'),
    remote_port: t.column('remote_port', 'int32'),
    role: t.column('role', 'dict'),
    netns: t.column('netns', 'int64'),
    cgroup_id: t.column('cgroup_id', 'int64'),
    turn: t.column('turn', 'int64'),
    task_id: t.column('task_id', 'int64'),
    parent_task_id: t.column('parent_task_id', 'int64'),
    stack_id: t.column('stack_id', 'int64'),
    layer: t.column('layer', 'dict'),
    errno: t.column('errno', 'int32'),
    flags: t.column('flags', 'int32'),
    old_state: t.column('old_state', 'int32'),
    new_state: t.column('new_state', 'int32'),
    payload: t.column('payload', 'blob'),
    payload_truncated: t.column('payload_truncated', 'bool'),
  };
}
