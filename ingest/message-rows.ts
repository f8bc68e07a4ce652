import { redactPath } from './redaction.ts';
import { EVENT_FLAGS } from '../schema/records.ts';
import type { AddressTexts } from './address-text.ts';
import type { MessageRows } from './message-book.ts';
import { IN, OUT } from './open-message.ts';
import type { EndReason, OpenMessage } from './open-message.ts';
import { B, W, u16 } from './socket-event.ts';
import { ROLE_NAMES } from './socket-state.ts';
import type { SocketState } from './socket-state.ts';
import { TableBuilder } from './table-builder.ts';

const NO_THREAD = EVENT_FLAGS.no_thread;
const DIRECTION_NAMES = { [IN]: 'in', [OUT]: 'out' };

/** Fills the table `messages`. Times are CLOCK_MONOTONIC until the batch is cut. */
export class MessageTable implements MessageRows {
  readonly table: TableBuilder;
  readonly #redacted_paths: readonly RegExp[];
  readonly #texts: AddressTexts;
  readonly #c: ReturnType<typeof columns>;
  readonly #last_conn = new Int32Array(2);

  /** room: as in TableBuilder. */
  constructor(texts: AddressTexts, redacted_paths: readonly RegExp[] = [], room?: number) {
    this.table = new TableBuilder('messages', room);
    this.#c = columns(this.table);
    this.#texts = texts;
    this.#redacted_paths = redacted_paths;
  }

  append(message: OpenMessage, socket: SocketState, end_reason: EndReason, partial: boolean): void {
    const c = this.#c;
    const row = this.table.nextRow();
    const f = message.first;
    const { last, connect } = message;
    const mono_low = f[W.mono] as number;
    const mono_high = f[W.mono + 1] as number;
    c.ts_ns.set(row, mono_low, mono_high);
    c.mono_ns.set(row, mono_low, mono_high);
    c.end_ts_ns.set(row, last[0] as number, last[1] as number);
    c.socket_id.set(row, f[W.socket_id] as number, f[W.socket_id + 1] as number);
    const conn = this.#last_conn;
    conn[0] = f[W.conn_id] as number;
    conn[1] = f[W.conn_id + 1] as number;
    if (conn[0] === 0 && conn[1] === 0) {
      conn[0] = socket.conn_low;
      conn[1] = socket.conn_high;
    }
    c.conn_id.setUnlessZero(row, conn[0] as number, conn[1] as number);
    c.peer_socket_id.setUnlessZero(row, f[W.peer_socket_id] as number, f[W.peer_socket_id + 1] as number);
    c.process_id.setUnlessZero(row, f[W.process_id] as number, f[W.process_id + 1] as number);
    if (ROLE_NAMES[socket.role] === undefined) c.role.setNull(row);
    else c.role.setNumbered(row, socket.role, ROLE_NAMES);
    c.direction.setNumbered(row, message.direction, DIRECTION_NAMES);
    c.kind.set(row, message.kind);
    if (message.http) c.protocol.set(row, 'http');
    else c.protocol.setNull(row);
    c.exchange_no.setNumber(row, message.exchange.no);
    c.stream_offset.setNumber(row, message.start);
    c.end_offset.setNumber(row, message.end);
    c.head_bytes.setNumber(row, message.head_bytes);
    if (((f[W.flags] as number) & NO_THREAD) === 0) {
      c.pid.set(row, f[W.pid] as number);
      c.first_thread_id.setUnlessZero(row, f[W.thread_id] as number, f[W.thread_id + 1] as number);
      c.first_tid.set(row, f[W.tid] as number);
      c.first_turn.set(row, f[W.turn] as number, f[W.turn + 1] as number);
      c.comm.setNumbered(row, this.#texts.name(f, W.comm), this.#texts.texts);
    } else {
      c.pid.setNull(row);
      c.first_thread_id.setNull(row);
      c.first_tid.setNull(row);
      c.first_turn.setNull(row);
      c.comm.setNull(row);
    }
    if (((last[7] as number) & NO_THREAD) === 0) {
      c.last_thread_id.setUnlessZero(row, last[2] as number, last[3] as number);
      c.last_turn.set(row, last[4] as number, last[5] as number);
      c.last_tid.set(row, last[6] as number);
    } else {
      c.last_thread_id.setNull(row);
      c.last_turn.setNull(row);
      c.last_tid.setNull(row);
    }
    c.task_id.setUnlessZero(row, f[W.task_id] as number, f[W.task_id + 1] as number);
    c.parent_task_id.setUnlessZero(row, f[W.parent_task_id] as number, f[W.parent_task_id + 1] as number);
    c.cgroup_id.setUnlessZero(row, f[W.cgroup_id] as number, f[W.cgroup_id + 1] as number);
    const fd = f[W.fd] as number;
    if (fd >= 0) c.fd.set(row, fd);
    else c.fd.setNull(row);
    c.netns.setUnlessZero(row, f[W.netns] as number, 0);
    this.#addresses(row, f);
    if (connect === null) {
      c.connect_ts_ns.setNull(row);
      c.connect_thread_id.setNull(row);
      c.connect_turn.setNull(row);
    } else {
      c.connect_ts_ns.set(row, connect[W.mono] as number, connect[W.mono + 1] as number);
      if (((connect[W.flags] as number) & NO_THREAD) === 0) {
        c.connect_thread_id.setUnlessZero(row, connect[W.thread_id] as number, connect[W.thread_id + 1] as number);
        c.connect_turn.set(row, connect[W.turn] as number, connect[W.turn + 1] as number);
      } else {
        c.connect_thread_id.setNull(row);
        c.connect_turn.setNull(row);
      }
    }
    if (message.method === null) c.method.setNull(row);
    else c.method.set(row, message.method);
    if (message.path_length < 0) c.path.setNull(row);
    else if (this.#redacted_paths.length === 0) c.path.set(row, message.path, 0, message.path_length);
    else {
      const path = Buffer.from(redactPath(Buffer.from(message.path.buffer, message.path.byteOffset, message.path_length).toString('utf8'), this.#redacted_paths));
      c.path.set(row, path, 0, path.byteLength);
    }
    if (message.status === 0) c.status.setNull(row);
    else c.status.set(row, message.status);
    if (message.host === null) c.host.setNull(row);
    else c.host.set(row, message.host);
    if (message.http_version === null) c.http_version.setNull(row);
    else c.http_version.set(row, message.http_version);
    if (message.content_length < 0) c.content_length.setNull(row);
    else c.content_length.setNumber(row, message.content_length);
    if (message.traceparent === null) c.traceparent.setNull(row);
    else c.traceparent.setText(row, message.traceparent);
    if (message.request_id === null) c.request_id.setNull(row);
    else c.request_id.setText(row, message.request_id);
    if (message.errno === 0) c.errno.setNull(row);
    else c.errno.set(row, message.errno);
    c.end_reason.set(row, end_reason);
    c.complete.set(row, message.complete);
    c.partial.set(row, partial);
  }

  #addresses(row: number, f: Int32Array): void {
    const c = this.#c;
    const { texts } = this.#texts;
    const family = u16(f, 0, B.family);
    const local = this.#texts.ip(family, f, W.local_ip);
    const remote = this.#texts.ip(family, f, W.remote_ip);
    if (local < 0 || remote < 0) {
      c.local_ip.setNull(row);
      c.local_port.setNull(row);
      c.remote_ip.setNull(row);
      c.remote_port.setNull(row);
    } else {
      c.local_ip.setNumbered(row, local, texts);
      c.local_port.set(row, u16(f, 0, B.local_port));
      c.remote_ip.setNumbered(row, remote, texts);
      c.remote_port.set(row, u16(f, 0, B.remote_port));
    }
  }
}

function columns(t: TableBuilder) {
  return {
    ts_ns: t.column('ts_ns', 'int64'),
    end_ts_ns: t.column('end_ts_ns', 'int64'),
    mono_ns: t.column('mono_ns', 'int64'),
    socket_id: t.column('socket_id', 'int64'),
    conn_id: t.column('conn_id', 'int64'),
    peer_socket_id: t.column('peer_socket_id', 'int64'),
    process_id: t.column('process_id', 'int64'),
    pid: t.column('pid', 'int32'),
    role: t.column('role', 'dict'),
    direction: t.column('direction', 'dict'),
    kind: t.column('kind', 'dict'),
    protocol: t.column('protocol', 'dict'),
    exchange_no: t.column('exchange_no', 'int64'),
    stream_offset: t.column('stream_offset', 'int64'),
    end_offset: t.column('end_offset', 'int64'),
    head_bytes: t.column('head_bytes', 'int64'),
    first_thread_id: t.column('first_thread_id', 'int64'),
    first_tid: t.column('first_tid', 'int32'),
    first_turn: t.column('first_turn', 'int64'),
    last_thread_id: t.column('last_thread_id', 'int64'),
    last_tid: t.column('last_tid', 'int32'),
    last_turn: t.column('last_turn', 'int64'),
    task_id: t.column('task_id', 'int64'),
    parent_task_id: t.column('parent_task_id', 'int64'),
    comm: t.column('comm', 'dict'),
    fd: t.column('fd', 'int32'),
    cgroup_id: t.column('cgroup_id', 'int64'),
    netns: t.column('netns', 'int64'),
    local_ip: t.column('local_ip', 'dict'),
    local_port: t.column('local_port', 'int32'),
    remote_ip: t.column('remote_ip', 'dict'),
    remote_port: t.column('remote_port', 'int32'),
    connect_ts_ns: t.column('connect_ts_ns', 'int64'),
    connect_thread_id: t.column('connect_thread_id', 'int64'),
    connect_turn: t.column('connect_turn', 'int64'),
    method: t.column('method', 'dict'),
    path: t.column('path', 'text'),
    status: t.column('status', 'int32'),
    host: t.column('host', 'dict'),
    http_version: t.column('http_version', 'dict'),
    content_length: t.column('content_length', 'int64'),
    traceparent: t.column('traceparent', 'text'),
    request_id: t.column('request_id', 'text'),
    errno: t.column('errno', 'int32'),
    end_reason: t.column('end_reason', 'dict'),
    complete: t.column('complete', 'bool'),
    partial: t.column('partial', 'bool'),
  };
}
