// Events of sockets, put into the order of their bytes, and handed to the protocol of their connection.
//
// A hook runs after its call: a response's read may arrive before its request's write. Every event says how far the other
// direction was, so an event waits until that has been seen, or until the watermark says that it will not come.
import { EVENT_FLAGS, OPS } from '../schema/records.ts';
import { ConnectionLife } from './connection-life.ts';
import { nextInOrder, oldestPending, sideOf } from './event-order.ts';
import { MessageBook } from './message-book.ts';
import type { MessageRows } from './message-book.ts';
import { IN, OUT } from './open-message.ts';
import { Http1, LOST } from './protocol-http1.ts';
import { Opaque } from './protocol-opaque.ts';
import { B, SocketEvent, W, u8 } from './socket-event.ts';
import type { Side, SocketState } from './socket-state.ts';
import { SocketTable } from './socket-table.ts';

export interface TrackerOptions {
  readonly rows: MessageRows;
  /** Called once for every event, when its bytes had their turn; side is null for what moves no bytes. */
  readonly on_event: (event: SocketEvent, socket: SocketState, side: Side | null) => void;
  readonly on_follow: (socket: SocketState, on: boolean) => void;
  readonly keep_query: boolean;
  /** See MessageBook. */
  readonly note_begins: boolean;
  readonly most_sockets?: number;
  /** Events of one socket, and of all, that may wait for earlier ones. */
  readonly most_pending?: number;
  readonly most_pending_all?: number;
}

const WAIT_NS = 100e6;
const MOST_SPARE = 256;
const ECONNRESET = 104;
const EPIPE = 32;
const SOCKET_LAYER = 0;
const FARTHEST = 2 ** 53;

export class SocketTracker {
  readonly #options: TrackerOptions;
  readonly #book: MessageBook;
  readonly #table: SocketTable;
  readonly #event = new SocketEvent();
  /** Copies that wait no longer. */
  readonly #spare: SocketEvent[] = [];
  /** Sockets with pending events. */
  readonly #waiting = new Set<SocketState>();
  readonly #life: ConnectionLife;
  readonly #most_pending: number;
  readonly #most_pending_all: number;
  #pending_all = 0;
  readonly counters = { evicted_sockets: 0, forced_events: 0, late_events: 0 };

  constructor(options: TrackerOptions) {
    this.#options = options;
    this.#book = new MessageBook({ rows: options.rows, on_follow: options.on_follow, note_begins: options.note_begins });
    const opaque = new Opaque(this.#book);
    const http = new Http1(this.#book, opaque, { keep_query: options.keep_query });
    opaque.http = http;
    this.#table = new SocketTable(options.most_sockets ?? 65_536, http);
    this.#life = new ConnectionLife(this.#book, (socket) => this.#force(socket, Infinity, 0));
    this.#most_pending = options.most_pending ?? 64;
    this.#most_pending_all = options.most_pending_all ?? 16_384;
  }

  get book(): MessageBook {
    return this.#book;
  }

  get sockets(): number {
    return this.#table.size;
  }

  get pending(): number {
    return this.#pending_all;
  }

  /** One record; its memory is not referred to after the call. False when its numbers have no meaning. */
  handle(words: Int32Array, base: number, bytes: Uint8Array): boolean {
    const event = this.#event.load(words, base, bytes);
    if (event.size < 0 || event.end > FARTHEST || event.other > FARTHEST) return false;
    const socket = this.#table.touch(words[base + W.socket_id] as number, words[base + W.socket_id + 1] as number);
    const overdue = this.#table.overdue();
    if (overdue !== null) this.#evict(overdue);
    if (socket.role === 0) socket.role = event.role;
    if (socket.conn_low === 0 && socket.conn_high === 0) {
      socket.conn_low = words[base + W.conn_id] as number;
      socket.conn_high = words[base + W.conn_id + 1] as number;
    }
    const { op } = event;
    if ((op !== OPS.read && op !== OPS.write) || u8(words, base, B.layer) !== SOCKET_LAYER) {
      this.#life.note(socket, event);
      this.#options.on_event(event, socket, null);
      return true;
    }
    const side = socket.sides[op === OPS.write ? OUT : IN];
    if (side.expected < 0) this.#meet(socket, side, event);
    if (socket.pending.length === 0 && event.offset <= side.expected && event.other <= socket.other(side).expected) {
      this.#process(socket, side, event);
    } else {
      this.#wait(socket, (this.#spare.pop() ?? new SocketEvent()).copyOf(event));
    }
    return true;
  }

  /** First bytes of a direction. */
  #meet(socket: SocketState, side: Side, event: SocketEvent): void {
    const other = socket.other(side);
    side.expected = event.offset;
    const fresh = event.offset === 0 && (event.flags & EVENT_FLAGS.relative_offset) === 0;
    if (!fresh) side.state = LOST;
    if (other.expected >= 0) return;
    const from_start = fresh && (event.flags & EVENT_FLAGS.preexisting) === 0;
    other.expected = from_start ? 0 : event.other;
    if (other.expected > 0 || !fresh) other.state = LOST;
    if (!fresh || other.expected > 0) socket.may_turn_http = true;
  }

  #wait(socket: SocketState, event: SocketEvent): void {
    socket.pending.push(event);
    this.#pending_all += 1;
    this.#waiting.add(socket);
    this.#settle(socket);
    if (socket.pending.length > this.#most_pending) this.#force(socket, Infinity, Math.floor(this.#most_pending / 2));
    if (this.#pending_all > this.#most_pending_all) {
      for (const other of this.#waiting) {
        this.#force(other, Infinity, 0);
        if (this.#pending_all <= this.#most_pending_all / 2) break;
      }
    }
  }

  /** Processes what has all it depends on; and what only waits for events that wait for it (both ends wrote at once). */
  #settle(socket: SocketState): void {
    for (let at = nextInOrder(socket); at >= 0; at = nextInOrder(socket)) this.#take(socket, at);
    this.#forgetIfIdle(socket);
  }

  #take(socket: SocketState, at: number): void {
    const [event] = socket.pending.splice(at, 1);
    this.#pending_all -= 1;
    if (event === undefined) return;
    this.#process(socket, sideOf(socket, event), event);
    if (this.#spare.length < MOST_SPARE) this.#spare.push(event);
  }

  /** What is older than the cutoff waits no longer: what it waited for is a gap. Leaves at most `keep` events. */
  #force(socket: SocketState, cutoff: number, keep: number): void {
    while (socket.pending.length > keep) {
      const at = oldestPending(socket);
      const event = socket.pending[at] as SocketEvent;
      if (event.mono > cutoff) break;
      const side = sideOf(socket, event);
      const other = socket.other(side);
      this.counters.forced_events += 1;
      if (event.other > other.expected) this.#gap(socket, other, event.other, event);
      if (event.offset > side.expected) this.#gap(socket, side, event.offset, event);
      this.#take(socket, at);
      this.#settle(socket);
    }
    this.#forgetIfIdle(socket);
  }

  #gap(socket: SocketState, side: Side, to: number, event: SocketEvent): void {
    if (side.expected < 0) {
      side.state = LOST;
    } else {
      socket.protocol.gap(socket, side, to, event);
    }
    side.expected = to;
  }

  #process(socket: SocketState, side: Side, event: SocketEvent): void {
    if (socket.closed) socket.closed = false;
    const end = event.end;
    let at = Math.max(event.offset, side.expected);
    if (at > event.offset || (event.size > 0 && end <= side.expected)) this.counters.late_events += 1;
    if (end > side.expected) side.expected = end;
    while (at < end) at = socket.protocol.consume(socket, side, event, at);
    side.last_other = event.other;
    if (event.size === 0) {
      const { errno } = event;
      if (errno === ECONNRESET || errno === EPIPE) this.#life.finish(socket, 'reset', errno);
      else if ((event.flags & EVENT_FLAGS.eof) !== 0) socket.protocol.close(socket, side, 'close', 0);
    }
    this.#options.on_event(event, socket, side);
  }

  #forgetIfIdle(socket: SocketState): void {
    if (socket.pending.length === 0) this.#waiting.delete(socket);
  }

  /** No event older than this follows. */
  watermark(mono: number): void {
    for (const socket of this.#waiting) this.#force(socket, mono - WAIT_NS, 0);
    for (const socket of this.#life.watermark(mono)) if (socket.closed && socket.pending.length === 0) this.#drop(socket);
  }

  /** The oldest event whose row has not been written; null = none waits. */
  oldestPending(): bigint | null {
    let oldest: bigint | null = null;
    for (const socket of this.#waiting) {
      for (const event of socket.pending) if (oldest === null || event.mono_ns < oldest) oldest = event.mono_ns;
    }
    return oldest;
  }

  #evict(socket: SocketState): void {
    this.#force(socket, Infinity, 0);
    if (!socket.closed) {
      this.counters.evicted_sockets += 1;
      for (const side of socket.sides) {
        if (side.message === null) continue;
        this.#book.countGap(this.#event);
        this.#book.breakOff(socket, side, 'gap');
      }
    }
    this.#drop(socket);
  }

  #drop(socket: SocketState): void {
    this.#life.forget(socket);
    this.#book.unfollow(socket);
    this.#waiting.delete(socket);
    this.#table.delete(socket);
  }

  /** The run ends: every event has its row, every open message too. */
  end(): void {
    for (const socket of this.#waiting) this.#force(socket, Infinity, 0);
    for (const socket of this.#table) {
      for (const side of socket.sides) this.#book.breakOff(socket, side, 'stop');
    }
  }
}
