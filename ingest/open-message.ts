// A message that has begun. Reused: at 100k messages a second fresh objects would be what the collector is busy with.
import { EVENT_WORDS, W } from './socket-event.ts';
import type { SocketEvent } from './socket-event.ts';
import type { SocketState } from './socket-state.ts';

export const IN = 0;
export const OUT = 1;
export type Direction = typeof IN | typeof OUT;
export type MessageKind = 'request' | 'response' | 'connect';
export type EndReason = 'length' | 'chunked' | 'no_body' | 'close' | 'reset' | 'next' | 'gap' | 'open' | 'refused' | 'stop';

/** Longer paths are cut. */
const PATH_BYTES = 8192;

/** Request and response belong together by this. */
export interface Exchange {
  readonly no: number;
  /** First byte of the request in its direction. */
  readonly start: number;
  method: string | null;
  /** Its response (not an interim one) has begun. */
  answered: boolean;
}

export class OpenMessage {
  /** The record of the event that carried the first byte. */
  readonly first = new Int32Array(EVENT_WORDS);
  /** Words mono_ns, thread_id, turn (two each), tid and flags of the event that carried the last byte. */
  readonly last = new Int32Array(8);
  /** The record of the socket's connect, for its first request. */
  connect: Int32Array | null = null;
  kind: MessageKind = 'request';
  direction: Direction = IN;
  exchange: Exchange = { no: 0, start: 0, method: null, answered: false };
  http = false;
  /** The head is understood as far as it ever will be. */
  head_done = false;
  start = 0;
  end = 0;
  head_bytes = 0;
  method: string | null = null;
  path: Uint8Array = new Uint8Array(256);
  /** -1 = none. */
  path_length = -1;
  status = 0;
  host: string | null = null;
  http_version: string | null = null;
  /** -1 = not said. */
  content_length = -1;
  expects_continue = false;
  traceparent: string | null = null;
  request_id: string | null = null;
  errno = 0;
  complete = true;
  /** Something was added since the last partial row. */
  changed = true;
  /** Whose message it is while it is open, and its place in the list of open ones. */
  socket: SocketState | null = null;
  index = -1;

  begin(event: SocketEvent, kind: MessageKind, direction: Direction, exchange: Exchange, start: number): void {
    const { words, base } = event;
    const first = this.first;
    for (let i = 0; i < EVENT_WORDS; i += 1) first[i] = words[base + i] as number;
    this.connect = null;
    this.kind = kind;
    this.direction = direction;
    this.exchange = exchange;
    this.http = false;
    this.head_done = false;
    this.start = start;
    this.head_bytes = 0;
    this.method = null;
    this.path_length = -1;
    this.status = 0;
    this.host = null;
    this.http_version = null;
    this.content_length = -1;
    this.expects_continue = false;
    this.traceparent = null;
    this.request_id = null;
    this.errno = 0;
    this.complete = true;
    this.extend(event, start);
  }

  /** It began with the call of connect; its end stays the event's. */
  fromConnect(connect: Int32Array): void {
    const { first, last } = this;
    first.set(connect);
    this.connect = connect;
    last[2] = connect[W.thread_id] as number;
    last[3] = connect[W.thread_id + 1] as number;
    last[4] = connect[W.turn] as number;
    last[5] = connect[W.turn + 1] as number;
    last[6] = connect[W.tid] as number;
    last[7] = connect[W.flags] as number;
  }

  /** The message reaches up to this stream offset, by this event. */
  extend(event: SocketEvent, end: number): void {
    const { words, base } = event;
    const last = this.last;
    last[0] = words[base + W.mono] as number;
    last[1] = words[base + W.mono + 1] as number;
    last[2] = words[base + W.thread_id] as number;
    last[3] = words[base + W.thread_id + 1] as number;
    last[4] = words[base + W.turn] as number;
    last[5] = words[base + W.turn + 1] as number;
    last[6] = words[base + W.tid] as number;
    last[7] = event.flags;
    // Go's server reads one byte ahead in a goroutine made for it; the one that does the work reads the rest.
    if (this.direction === IN && this.end - this.start === 1 && end > this.end) {
      const first = this.first;
      for (let i = W.task_id; i < W.task_id + 4; i += 1) first[i] = words[base + i] as number;
    }
    this.end = end;
    this.changed = true;
  }

  /** Anything that is no printable ASCII is percent-encoded: the column is text. */
  setPath(bytes: Uint8Array, start: number, end: number): void {
    if (this.path.length < (end - start) * 3) this.path = new Uint8Array(Math.min(PATH_BYTES, (end - start) * 3 + 64));
    const path = this.path;
    let to = 0;
    for (let from = start; from < end && to + 3 <= path.length; from += 1) {
      const byte = bytes[from] as number;
      if (byte > 0x20 && byte < 0x7f) {
        path[to++] = byte;
      } else {
        path[to++] = 0x25;
        path[to++] = HEX.charCodeAt(byte >> 4);
        path[to++] = HEX.charCodeAt(byte & 15);
      }
    }
    this.path_length = to;
  }
}

const HEX = '0123456789ABCDEF';
