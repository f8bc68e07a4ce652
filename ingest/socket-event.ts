// One socket_event record, read in place. The tracker keeps one of these for the record at hand, and copies for those that wait.
import { fieldOffset, fixedBytes, wordOf } from './record-fields.ts';

const word = (name: Parameters<typeof wordOf<'socket_event'>>[1]): number => wordOf('socket_event', name);
const byte = (name: Parameters<typeof fieldOffset<'socket_event'>>[1]): number => fieldOffset('socket_event', name);

export const EVENT_BYTES = fixedBytes('socket_event');
export const EVENT_WORDS = EVENT_BYTES >> 2;

/** Word indices within the record; of 64-bit fields the low half. */
export const W = {
  mono: word('mono_ns'),
  thread_id: word('thread_id'),
  process_id: word('process_id'),
  socket_id: word('socket_id'),
  conn_id: word('conn_id'),
  peer_socket_id: word('peer_socket_id'),
  stream_offset: word('stream_offset'),
  other_offset: word('other_offset'),
  cgroup_id: word('cgroup_id'),
  turn: word('turn'),
  task_id: word('task_id'),
  parent_task_id: word('parent_task_id'),
  stack_id: word('stack_id'),
  tail: word('tail'),
  tcp_seq: word('tcp_seq'),
  other_tcp_seq: word('other_tcp_seq'),
  pid: word('pid'),
  tid: word('tid'),
  fd: word('fd'),
  bytes: word('bytes'),
  netns: word('netns'),
  flags: word('flags'),
  errno: word('errno'),
  payload_length: word('payload_length'),
  local_ip: word('local_ip'),
  remote_ip: word('remote_ip'),
  comm: word('comm'),
} as const;

const TAIL = byte('tail');

/** Byte offsets of the narrow fields. */
export const B = {
  local_port: byte('local_port'),
  remote_port: byte('remote_port'),
  family: byte('family'),
  op: byte('op'),
  layer: byte('layer'),
  role: byte('role'),
  old_state: byte('old_state'),
  new_state: byte('new_state'),
  tail_length: byte('tail_length'),
} as const;

export const u16 = (words: Int32Array, base: number, at: number): number => ((words[base + (at >> 2)] as number) >>> ((at & 2) << 3)) & 0xffff;
export const u8 = (words: Int32Array, base: number, at: number): number => ((words[base + (at >> 2)] as number) >>> ((at & 3) << 3)) & 0xff;
/** Exact up to 2^53: right for stream offsets; of times it is good to a microsecond. */
export const u64 = (words: Int32Array, at: number): number => ((words[at + 1] as number) >>> 0) * 4294967296 + ((words[at] as number) >>> 0);

export class SocketEvent {
  words: Int32Array = new Int32Array(0);
  base = 0;
  bytes: Uint8Array = new Uint8Array(0);
  op = 0;
  flags = 0;
  /** Bytes moved. */
  size = 0;
  /** Of the first byte, in its own direction. */
  offset = 0;
  end = 0;
  /** Position of the other direction. */
  other = 0;
  captured_end = 0;
  /** Where the byte at stream offset 0 would lie in `bytes`: add a stream offset to it. */
  origin = 0;
  #own = new Uint8Array(0);

  load(words: Int32Array, base: number, bytes: Uint8Array): this {
    this.words = words;
    this.base = base;
    this.bytes = bytes;
    this.op = u8(words, base, B.op);
    this.flags = words[base + W.flags] as number;
    this.size = words[base + W.bytes] as number;
    this.offset = u64(words, base + W.stream_offset);
    this.end = this.offset + this.size;
    this.other = u64(words, base + W.other_offset);
    this.captured_end = this.offset + Math.min(words[base + W.payload_length] as number, this.size);
    this.origin = base * 4 + EVENT_BYTES - this.offset;
    return this;
  }

  /** Becomes a copy that outlives the other's record, in memory of its own that it keeps. */
  copyOf(other: SocketEvent): this {
    const length = EVENT_BYTES + (other.words[other.base + W.payload_length] as number);
    if (this.#own.length < length) this.#own = new Uint8Array((length + 7) & ~7);
    const from = other.base * 4;
    this.#own.set(other.bytes.subarray(from, from + length));
    return this.load(new Int32Array(this.#own.buffer), 0, this.#own);
  }

  /** CLOCK_MONOTONIC, good to a microsecond. */
  get mono(): number {
    return u64(this.words, this.base + W.mono);
  }

  get mono_ns(): bigint {
    return (BigInt((this.words[this.base + W.mono + 1] as number) >>> 0) << 32n) | BigInt((this.words[this.base + W.mono] as number) >>> 0);
  }

  get errno(): number {
    return this.words[this.base + W.errno] as number;
  }

  get role(): number {
    return u8(this.words, this.base, B.role);
  }

  get old_state(): number {
    return u8(this.words, this.base, B.old_state);
  }

  get new_state(): number {
    return u8(this.words, this.base, B.new_state);
  }

  /** Puts the last bytes of the call at the end of `into` (8 bytes); returns how many are known. */
  lastBytes(into: Uint8Array): number {
    if (this.captured_end >= this.end) {
      const count = Math.min(8, this.size);
      const from = this.origin + this.end - count;
      for (let i = 0; i < count; i += 1) into[8 - count + i] = this.bytes[from + i] as number;
      return count;
    }
    const count = Math.min(8, u8(this.words, this.base, B.tail_length));
    const from = this.base * 4 + TAIL + 8 - count;
    for (let i = 0; i < count; i += 1) into[8 - count + i] = this.bytes[from + i] as number;
    return count;
  }
}
