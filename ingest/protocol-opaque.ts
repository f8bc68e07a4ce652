// Bytes that nobody understood: a message is what one end sends until the other one does.
import { EVENT_FLAGS } from '../schema/records.ts';
import { LIKELY_REQUEST, classify } from './http1-head.ts';
import type { MessageBook } from './message-book.ts';
import type { EndReason } from './open-message.ts';
import type { Protocol } from './protocol.ts';
import type { SocketEvent } from './socket-event.ts';
import type { Side, SocketState } from './socket-state.ts';

export class Opaque implements Protocol {
  readonly #book: MessageBook;
  /** Where a connection goes that turns out to be HTTP after all. */
  http: Protocol | null = null;

  constructor(book: MessageBook) {
    this.#book = book;
  }

  consume(socket: SocketState, side: Side, event: SocketEvent, at: number): number {
    const other = socket.other(side);
    if (other.message !== null) this.#book.finish(socket, other, 'next');
    if (side.message === null) {
      if (socket.may_turn_http && this.http !== null && event.captured_end > at && classify(event.bytes, event.origin + at, event.origin + event.captured_end) >= LIKELY_REQUEST) {
        socket.may_turn_http = false;
        socket.waiting.length = 0;
        socket.protocol = this.http;
        return at;
      }
      if (!socket.isRequestSide(side) && socket.waiting.length > 1) socket.waiting.splice(0, socket.waiting.length - 1);
      const message = this.#book.begin(socket, side, event, at);
      message.head_done = true;
      // Perhaps understood, had the kernel had room for its bytes: a span without its name is not whole.
      if (socket.may_turn_http && (event.flags & EVENT_FLAGS.payload_shed) !== 0) message.complete = false;
    }
    side.message?.extend(event, event.end);
    return event.end;
  }

  gap(socket: SocketState, side: Side, _to: number, event: SocketEvent): void {
    if (side.message === null) return;
    this.#book.countGap(event);
    this.#book.breakOff(socket, side, 'gap');
  }

  close(socket: SocketState, side: Side, reason: EndReason, errno: number): void {
    if (side.message === null) return;
    if (reason === 'close') this.#book.finish(socket, side, 'close');
    else this.#book.breakOff(socket, side, reason, errno);
  }
}
