// What a protocol module is to the tracker.
import type { EndReason } from './open-message.ts';
import type { SocketEvent } from './socket-event.ts';
import type { Side, SocketState } from './socket-state.ts';

export interface Protocol {
  /**
   * Takes bytes of one direction, in stream order, from stream offset `at` (within the event) on, and returns the offset
   * up to which it took them, at least one more. It may set socket.protocol: the rest goes to that one.
   */
  consume(socket: SocketState, side: Side, event: SocketEvent, at: number): number;
  /** Bytes from side.expected up to `to` were never seen; event is the one that shows it. */
  gap(socket: SocketState, side: Side, to: number, event: SocketEvent): void;
  /** No more bytes follow in this direction. */
  close(socket: SocketState, side: Side, reason: EndReason, errno: number): void;
}
