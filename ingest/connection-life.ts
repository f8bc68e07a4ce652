// What happens to connections besides bytes: connect, accept, changes of state, close.
import { OPS } from '../schema/records.ts';
import type { MessageBook } from './message-book.ts';
import { IN, OUT } from './open-message.ts';
import type { EndReason } from './open-message.ts';
import { START } from './protocol-http1.ts';
import { EVENT_WORDS, W } from './socket-event.ts';
import type { SocketEvent } from './socket-event.ts';
import { CLIENT, SERVER } from './socket-state.ts';
import type { SocketState } from './socket-state.ts';

/** After the kernel has closed a connection the application may still read what lies in its queue. */
const DRAIN_NS = 250e6;
/** A closed socket is kept that long for events that come late. */
const KEEP_CLOSED_NS = 1e9;

const TCP_ESTABLISHED = 1;
const TCP_SYN_SENT = 2;
const TCP_CLOSE = 7;
const EINTR = 4;
const EISCONN = 106;
const EALREADY = 114;
const EINPROGRESS = 115;
const CONNECTING: ReadonlySet<number> = new Set([0, EINTR, EISCONN, EALREADY, EINPROGRESS]);

export class ConnectionLife {
  readonly #book: MessageBook;
  /** Bytes that wait for others have their turn now: nothing comes after this. */
  readonly #flush: (socket: SocketState) => void;
  /** Closed by the kernel, not yet by the application. */
  readonly #draining = new Set<SocketState>();
  /** Closed sockets, oldest first. */
  readonly #closed: { socket: SocketState; at: number }[] = [];

  constructor(book: MessageBook, flush: (socket: SocketState) => void) {
    this.#book = book;
    this.#flush = flush;
  }

  note(socket: SocketState, event: SocketEvent): void {
    const { op } = event;
    if (op === OPS.connect) this.#connect(socket, event);
    else if (op === OPS.accept) this.#fresh(socket, SERVER);
    else if (op === OPS.state) this.#state(socket, event);
    else if (op === OPS.shutdown) this.#shutdown(socket);
    else if (op === OPS.close) this.#close(socket, event);
  }

  #fresh(socket: SocketState, role: typeof CLIENT | typeof SERVER): void {
    socket.role = role;
    for (const side of socket.sides) {
      if (side.expected >= 0) continue;
      side.expected = 0;
      side.state = START;
    }
  }

  #connect(socket: SocketState, event: SocketEvent): void {
    if (socket.sides[IN].expected <= 0 && socket.sides[OUT].expected <= 0) {
      // A socket may connect again after it failed: as another connection.
      socket.connect = event.words.slice(event.base, event.base + EVENT_WORDS);
      socket.connect_failed = false;
      socket.conn_low = event.words[event.base + W.conn_id] as number;
      socket.conn_high = event.words[event.base + W.conn_id + 1] as number;
      this.#draining.delete(socket);
    }
    this.#fresh(socket, CLIENT);
    if (!CONNECTING.has(event.errno)) this.#refused(socket, event);
  }

  #refused(socket: SocketState, event: SocketEvent): void {
    if (socket.connect_failed) return;
    socket.connect_failed = true;
    this.#book.refused(socket, event, event.errno);
  }

  #state(socket: SocketState, event: SocketEvent): void {
    if (event.new_state !== TCP_CLOSE) {
      if (event.new_state === TCP_ESTABLISHED && event.old_state === TCP_SYN_SENT) this.#fresh(socket, CLIENT);
      return;
    }
    if (event.old_state === TCP_SYN_SENT) {
      this.#fresh(socket, CLIENT);
      this.#refused(socket, event);
    }
    if (socket.closed) return;
    socket.kernel_closed = event.mono;
    socket.close_errno = event.errno;
    this.#draining.add(socket);
  }

  #shutdown(socket: SocketState): void {
    this.#flush(socket);
    socket.protocol.close(socket, socket.sides[OUT], 'close', 0);
  }

  #close(socket: SocketState, event: SocketEvent): void {
    this.#flush(socket);
    const errno = event.errno === 0 ? socket.close_errno : event.errno;
    this.finish(socket, errno === 0 ? 'close' : 'reset', errno);
    this.#markClosed(socket, event.mono);
  }

  /** No more bytes in either direction. */
  finish(socket: SocketState, reason: EndReason, errno: number): void {
    for (const side of socket.sides) socket.protocol.close(socket, side, reason, errno);
  }

  #markClosed(socket: SocketState, at: number): void {
    this.#draining.delete(socket);
    if (socket.closed) return;
    socket.closed = true;
    this.#closed.push({ socket, at });
  }

  forget(socket: SocketState): void {
    this.#draining.delete(socket);
  }

  /** Ends what the kernel closed a while ago; returns the sockets that have been closed long enough to be forgotten. */
  watermark(mono: number): SocketState[] {
    for (const socket of this.#draining) {
      if (socket.kernel_closed >= mono - DRAIN_NS) continue;
      this.#flush(socket);
      this.finish(socket, socket.close_errno === 0 ? 'close' : 'reset', socket.close_errno);
      this.#markClosed(socket, mono);
    }
    const kept = this.#closed.findIndex(({ at }) => at > mono - KEEP_CLOSED_NS);
    return this.#closed.splice(0, kept < 0 ? this.#closed.length : kept).map(({ socket }) => socket);
  }
}
