// One socket: its calls become frames of its node's loader, as the kernel programs make them.
import { B, EVENT_BYTES, EVENT_WORDS, W } from '../../ingest/socket-event.ts';
import { EVENT_FLAGS, OPS, RECORDS, ROLES } from '../../schema/records.ts';
import { HEADER_WORDS, frameHeader, setLong } from './simulated-node.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { SimulatedThread } from './simulated-process.ts';

export const AF_UNIX = 1;
const AF_INET = 2;
/** What the kernel captures of a direction, counted since the other one moved. */
const PAYLOAD_BYTES = 256;

/** A message as the program has it in memory. */
export interface Text {
  readonly head: Uint8Array;
  head_length: number;
  body: Uint8Array;
  body_at: number;
  body_length: number;
}

export interface EndOptions {
  readonly node: SimulatedNode;
  readonly role: keyof typeof ROLES;
  readonly fd: number;
  readonly socket_id: readonly [low: number, high: number];
  readonly conn_id: readonly [low: number, high: number];
  /** Unix sockets: the other one. */
  readonly peer_id: readonly [low: number, high: number] | null;
  readonly local: readonly [ip: number, port: number];
  readonly remote: readonly [ip: number, port: number];
  readonly netns: number;
  readonly seq: readonly [out: number, into: number];
}

export class SocketEnd {
  readonly node: SimulatedNode;
  sent = 0;
  received = 0;
  readonly #frame = new Int32Array(HEADER_WORDS + EVENT_WORDS);
  readonly #out_seq: number;
  readonly #in_seq: number;
  readonly #unix: boolean;
  // What has been captured of each direction since the other moved.
  #out_since = -1;
  #out_used = 0;
  #in_since = -1;
  #in_used = 0;

  constructor({ node, role, fd, socket_id, conn_id, peer_id, local, remote, netns, seq }: EndOptions) {
    this.node = node;
    [this.#out_seq, this.#in_seq] = seq;
    this.#unix = peer_id !== null;
    const f = this.#frame;
    const base = HEADER_WORDS;
    [f[base + W.socket_id], f[base + W.socket_id + 1]] = socket_id;
    [f[base + W.conn_id], f[base + W.conn_id + 1]] = conn_id;
    if (peer_id !== null) [f[base + W.peer_socket_id], f[base + W.peer_socket_id + 1]] = peer_id;
    f[base + W.fd] = fd;
    f[base + W.netns] = netns;
    f[base + W.local_ip] = local[0];
    f[base + W.remote_ip] = remote[0];
    const view = new DataView(f.buffer, base * 4);
    view.setUint16(B.local_port, local[1], true);
    view.setUint16(B.remote_port, remote[1], true);
    view.setUint16(B.family, this.#unix ? AF_UNIX : AF_INET, true);
    view.setUint8(B.role, ROLES[role]);
  }

  /** Who may use it: one process, and all of its threads. */
  belongsTo(thread: SimulatedThread): void {
    const base = HEADER_WORDS;
    this.#frame[base + W.process_id] = thread.process_low;
    this.#frame[base + W.process_id + 1] = thread.process_high;
    this.#frame[base + W.cgroup_id] = thread.cgroup;
  }

  #begin(at: number, op: number, thread: SimulatedThread | null, out: boolean, flags: number, captured: number, size: number): number {
    const { node } = this;
    const to = node.room();
    const { words } = node;
    words.set(this.#frame, to);
    frameHeader(words, to, RECORDS.socket_event.id, EVENT_BYTES + captured);
    const base = to + HEADER_WORDS;
    setLong(words, base + W.mono, node.monoAt(at));
    const own = out ? this.sent : this.received;
    const other = out ? this.received : this.sent;
    setLong(words, base + W.stream_offset, own);
    setLong(words, base + W.other_offset, other);
    if (!this.#unix) {
      words[base + W.tcp_seq] = (out ? this.#out_seq : this.#in_seq) + own;
      words[base + W.other_tcp_seq] = (out ? this.#in_seq : this.#out_seq) + other;
    }
    let all_flags = flags | (this.#unix ? EVENT_FLAGS.unix : 0);
    if (thread === null) {
      all_flags |= EVENT_FLAGS.no_thread;
      words[base + W.fd] = -1;
    } else {
      words[base + W.thread_id] = thread.low;
      words[base + W.thread_id + 1] = thread.high;
      words[base + W.pid] = thread.pid;
      words[base + W.tid] = thread.tid;
      setLong(words, base + W.turn, thread.turn);
      const { comm } = thread;
      for (let i = 0; i < 4; i += 1) words[base + W.comm + i] = comm[i] as number;
    }
    words[base + W.flags] = all_flags;
    words[base + W.bytes] = size;
    words[base + W.payload_length] = captured;
    node.bytes[base * 4 + B.op] = op;
    return base;
  }

  /** A call that moves no bytes, or a change of state (of which no thread is known). */
  note(at: number, op: 'connect' | 'accept' | 'shutdown' | 'close' | 'state', thread: SimulatedThread | null, old_state = 0, new_state = 0): void {
    const base = this.#begin(at, OPS[op], thread, true, 0, 0, 0);
    const { words, bytes } = this.node;
    if (op === 'connect' && !this.#unix) {
      // Neither the connection nor its own port is known yet.
      words[base + W.conn_id] = words[base + W.conn_id + 1] = words[base + W.tcp_seq] = words[base + W.other_tcp_seq] = 0;
      bytes[base * 4 + B.local_port] = bytes[base * 4 + B.local_port + 1] = 0;
    }
    bytes[base * 4 + B.old_state] = old_state;
    bytes[base * 4 + B.new_state] = new_state;
    this.node.advance(at, HEADER_WORDS + EVENT_WORDS);
  }

  /** Bytes [from, from + size) of a message. task: of a goroutine; asked: it is that of who asked for the write. */
  move(at: number, out: boolean, thread: SimulatedThread, text: Text, from: number, size: number, task = 0, parent_task = 0, asked = false): void {
    const other = out ? this.received : this.sent;
    let used: number;
    if (out) {
      if (this.#out_since !== other) {
        this.#out_since = other;
        this.#out_used = 0;
      }
      used = this.#out_used;
    } else {
      if (this.#in_since !== other) {
        this.#in_since = other;
        this.#in_used = 0;
      }
      used = this.#in_used;
    }
    const captured = Math.min(size, PAYLOAD_BYTES - used);
    if (out) this.#out_used += captured;
    else this.#in_used += captured;
    const cut = captured < size;
    const base = this.#begin(at, out ? OPS.write : OPS.read, thread, out, (cut ? EVENT_FLAGS.payload_truncated : 0) | (asked ? EVENT_FLAGS.task_of_caller : 0), captured, size);
    const { words, bytes } = this.node;
    if (task !== 0) {
      setLong(words, base + W.task_id, task);
      setLong(words, base + W.parent_task_id, parent_task);
    }
    const start = base * 4 + EVENT_BYTES;
    // Of bodies only their length counts, unless they are kept.
    copyText(bytes, start, text, from, this.node.keeps_payload ? captured : Math.min(captured, text.head_length - from));
    if (cut) {
      const known = Math.min(8, size);
      copyText(bytes, base * 4 + W.tail * 4 + 8 - known, text, from + size - known, known);
      bytes[base * 4 + B.tail_length] = known;
    }
    if (out) this.sent += size;
    else this.received += size;
    this.node.advance(at, HEADER_WORDS + ((EVENT_BYTES + captured + 7) >> 3) * 2);
  }
}

function copyText(into: Uint8Array, at: number, text: Text, from: number, count: number): void {
  const { head, head_length, body, body_at } = text;
  const of_head = Math.max(0, Math.min(count, head_length - from));
  for (let i = 0; i < of_head; i += 1) into[at + i] = head[from + i] as number;
  const first = body_at + from - head_length;
  for (let i = of_head; i < count; i += 1) into[at + i] = body[first + i] as number;
}
