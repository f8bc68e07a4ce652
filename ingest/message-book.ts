// Messages from their first byte to their row: numbers of exchanges, pairing, rows, partial rows, counts.
import { IN, OUT, OpenMessage } from './open-message.ts';
import type { EndReason, Exchange, MessageKind } from './open-message.ts';
import type { SocketEvent } from './socket-event.ts';
import { CLIENT, SERVER, UNKNOWN_ROLE } from './socket-state.ts';
import type { Side, SocketState } from './socket-state.ts';

export interface MessageRows {
  append(message: OpenMessage, socket: SocketState, end_reason: EndReason, partial: boolean): void;
}

export interface BookOptions {
  readonly rows: MessageRows;
  /** The loader should capture every event of this socket, or need not any more. */
  readonly on_follow: (socket: SocketState, on: boolean) => void;
  /** Leave where messages begin in side.begins: somebody takes them out after each event. */
  readonly note_begins: boolean;
}

/** Requests that may wait for their responses on one connection. */
const MOST_WAITING = 1024;
const SPARE_MESSAGES = 4096;

export class MessageBook {
  readonly #options: BookOptions;
  readonly #open: OpenMessage[] = [];
  readonly #spare: OpenMessage[] = [];
  /** Messages whose boundaries or fields the captured bytes did not tell, and when: from, to. */
  gaps = 0;
  gap_from = 0n;
  gap_to = 0n;

  constructor(options: BookOptions) {
    this.#options = options;
  }

  get open(): number {
    return this.#open.length;
  }

  follow(socket: SocketState): void {
    if (socket.followed) return;
    socket.followed = true;
    this.#options.on_follow(socket, true);
  }

  unfollow(socket: SocketState): void {
    if (!socket.followed) return;
    socket.followed = false;
    this.#options.on_follow(socket, false);
  }

  countGap(event: SocketEvent): void {
    const mono = event.mono_ns;
    if (this.gaps === 0 || mono < this.gap_from) this.gap_from = mono;
    if (this.gaps === 0 || mono > this.gap_to) this.gap_to = mono;
    this.gaps += 1;
  }

  begin(socket: SocketState, side: Side, event: SocketEvent, at: number): OpenMessage {
    if (socket.requester === -1) {
      socket.requester = socket.role === CLIENT ? OUT : socket.role === SERVER ? IN : side.direction;
    }
    return socket.isRequestSide(side) ? this.#beginRequest(socket, side, event, at) : this.#beginResponse(socket, side, event, at);
  }

  #beginRequest(socket: SocketState, side: Side, event: SocketEvent, at: number): OpenMessage {
    const exchange: Exchange = { no: socket.next_exchange, start: at, method: null, answered: false };
    socket.next_exchange += 1;
    socket.waiting.push(exchange);
    if (socket.waiting.length > MOST_WAITING) {
      socket.waiting.shift();
      this.countGap(event);
    }
    const message = this.#begin(socket, side, event, 'request', exchange, at);
    if (exchange.no === 0) message.connect = socket.connect;
    return message;
  }

  #beginResponse(socket: SocketState, side: Side, event: SocketEvent, at: number): OpenMessage {
    const { waiting } = socket;
    if (socket.pairing_lost) {
      // Without pipelining the request before this response is the latest one that lies before it; one that was lost may have followed those before the gap.
      const before = waiting.filter((exchange) => exchange.start >= socket.requests_lost_to && exchange.start < event.other);
      const after = waiting.filter((exchange) => exchange.start >= event.other);
      waiting.splice(0, waiting.length, ...before.slice(-1), ...after);
      socket.pairing_lost = false;
    }
    const first = waiting[0];
    let exchange: Exchange;
    if (first !== undefined && first.start < event.other) {
      waiting.shift();
      first.answered = true;
      exchange = first;
    } else {
      exchange = { no: socket.next_orphan, start: -1, method: null, answered: true };
      socket.next_orphan -= 1;
    }
    return this.#begin(socket, side, event, 'response', exchange, at);
  }

  #begin(socket: SocketState, side: Side, event: SocketEvent, kind: MessageKind, exchange: Exchange, at: number): OpenMessage {
    const message = this.#spare.pop() ?? new OpenMessage();
    message.begin(event, kind, side.direction, exchange, at);
    side.message = message;
    if (this.#options.note_begins) side.begins.push(at);
    message.index = this.#open.length;
    message.socket = socket;
    this.#open.push(message);
    return message;
  }

  /** An interim response is no message of its own: its exchange waits on. */
  putBack(socket: SocketState, side: Side): void {
    const message = side.message;
    if (message === null) return;
    if (message.exchange.no >= 0) {
      message.exchange.answered = false;
      socket.waiting.unshift(message.exchange);
    } else {
      socket.next_orphan += 1;
    }
    this.#release(side, message);
  }

  /** What was taken for a message is none: as if it had never begun. */
  discard(socket: SocketState, side: Side): void {
    const message = side.message;
    if (message === null) return;
    if (message.kind === 'response') return this.putBack(socket, side);
    const at = socket.waiting.indexOf(message.exchange);
    if (at >= 0) socket.waiting.splice(at, 1);
    if (message.exchange.no === socket.next_exchange - 1) socket.next_exchange -= 1;
    this.#release(side, message);
  }

  finish(socket: SocketState, side: Side, reason: EndReason): void {
    const message = side.message;
    if (message === null) return;
    this.#options.rows.append(message, socket, reason, false);
    this.#release(side, message);
  }

  /** Finishes with complete = false; the captured bytes left something open. */
  breakOff(socket: SocketState, side: Side, reason: EndReason, errno = 0): void {
    const message = side.message;
    if (message === null) return;
    message.complete = false;
    message.errno = errno;
    this.finish(socket, side, reason);
  }

  /** A connection that did not come about. */
  refused(socket: SocketState, event: SocketEvent, errno: number): void {
    const message = this.#spare.pop() ?? new OpenMessage();
    const exchange: Exchange = { no: socket.next_exchange, start: 0, method: null, answered: true };
    message.begin(event, 'connect', OUT, exchange, 0);
    if (socket.connect !== null) {
      message.fromConnect(socket.connect);
    }
    message.errno = errno;
    if (socket.role === UNKNOWN_ROLE) socket.role = CLIENT;
    this.#options.rows.append(message, socket, errno === 0 ? 'close' : 'refused', false);
    this.#spare.push(message);
  }

  /**
   * Rows for what is still open and has grown since its last one: requests, and answers that end only when more follows: nobody understands
   * them, or their heads were longer than what is captured.
   */
  appendPartial(): void {
    for (const message of this.#open) {
      const socket = message.socket;
      if (socket === null || !message.changed || (message.kind !== 'request' && message.http && message.complete) || !message.head_done) continue;
      message.changed = false;
      this.#options.rows.append(message, socket, 'open', true);
    }
  }

  #release(side: Side, message: OpenMessage): void {
    side.message = null;
    const last = this.#open.pop();
    if (last !== undefined && last !== message) {
      this.#open[message.index] = last;
      last.index = message.index;
    }
    message.socket = null;
    message.index = -1;
    if (this.#spare.length < SPARE_MESSAGES) this.#spare.push(message);
  }
}
