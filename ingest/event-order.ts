// Which of a socket's pending events comes next in the order of bytes.
import { OPS } from '../schema/records.ts';
import { IN, OUT } from './open-message.ts';
import type { SocketEvent } from './socket-event.ts';
import type { Side, SocketState } from './socket-state.ts';

export function sideOf(socket: SocketState, event: SocketEvent): Side {
  return socket.sides[event.op === OPS.write ? OUT : IN];
}

/** How far a direction will have come once its pending events are through. */
function reach(socket: SocketState, side: Side): number {
  let end = side.expected;
  for (let found = true; found; ) {
    found = false;
    for (const event of socket.pending) {
      if (sideOf(socket, event) === side && event.offset <= end && event.end > end) {
        end = event.end;
        found = true;
      }
    }
  }
  return end;
}

/** Index of an event that has all it depends on, or depends only on events that wait for it (both ends wrote at once); else -1. */
export function nextInOrder(socket: SocketState): number {
  const { pending } = socket;
  const ready = pending.findIndex((event) => {
    const side = sideOf(socket, event);
    return event.offset <= side.expected && event.other <= socket.other(side).expected;
  });
  if (ready >= 0 || pending.length < 2) return ready;
  const ends = [reach(socket, socket.sides[IN]), reach(socket, socket.sides[OUT])] as const;
  let next = -1;
  let oldest = Infinity;
  for (const [index, event] of pending.entries()) {
    const side = sideOf(socket, event);
    if (event.offset > side.expected || event.other > ends[side.direction === IN ? OUT : IN] || event.mono >= oldest) continue;
    oldest = event.mono;
    next = index;
  }
  return next;
}

export function oldestPending(socket: SocketState): number {
  return socket.pending.reduce((best, event, index) => (event.mono < (socket.pending[best] as SocketEvent).mono ? index : best), 0);
}
