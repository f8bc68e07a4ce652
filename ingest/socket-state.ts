// What is known of one socket between its events.
import { IN, OUT } from './open-message.ts';
import type { Direction, Exchange, OpenMessage } from './open-message.ts';
import type { Protocol } from './protocol.ts';
import type { SocketEvent } from './socket-event.ts';

export const UNKNOWN_ROLE = 0;
export const CLIENT = 1;
export const SERVER = 2;
/** As tables have them. */
export const ROLE_NAMES: readonly (string | undefined)[] = [undefined, 'client', 'server'];

/** One direction of a socket: a stream of bytes, read in order. */
export class Side {
  readonly direction: Direction;
  /** Stream offset up to which this direction has been followed; -1 = nothing seen. */
  expected = -1;
  /** The other direction's position at this direction's latest event; -1 = none yet. */
  last_other = -1;
  message: OpenMessage | null = null;
  /** Where the protocol's parser stands: its own number. */
  state = 0;
  /** A start line was found after a loss, not where it had to be: take the message back if it turns out wrong. */
  tentative = false;
  /** Head that is not whole yet. */
  head: Uint8Array | null = null;
  head_length = 0;
  /** Stream offset of the body's end, or up to where a chunk goes. */
  until = 0;
  chunk_state = 0;
  chunk_size = 0;
  /** The latest bytes of the stream, at the end of the array; how many are known. */
  readonly tail = new Uint8Array(8);
  tail_length = 0;
  /** Where the redactor stands, when payload is kept. */
  redaction = 0;
  redaction_name = '';
  redacted_to = -1;
  /** Stream offsets at which messages began in the event at hand. */
  readonly begins: number[] = [];

  constructor(direction: Direction) {
    this.direction = direction;
  }
}

export class SocketState {
  readonly low: number;
  readonly high: number;
  readonly sides = [new Side(IN), new Side(OUT)] as const;
  role = UNKNOWN_ROLE;
  /** Direction that carries requests; -1 = not known. */
  requester: Direction | -1 = -1;
  protocol: Protocol;
  /** The protocol is certain. */
  decided = false;
  /** It is certain, and it is none that we know. */
  decided_opaque = false;
  /** The stream was not followed from its beginning: a start line may come later. */
  may_turn_http = false;
  conn_low = 0;
  conn_high = 0;
  connect: Int32Array | null = null;
  connect_failed = false;
  next_exchange = 0;
  /** Numbers of responses whose request was never seen. */
  next_orphan = -1;
  /** Exchanges whose response has not begun. */
  readonly waiting: Exchange[] = [];
  /** Responses were lost: which exchanges wait is no longer known. */
  pairing_lost = false;
  /** Offset in the requests up to which some may have been lost. */
  requests_lost_to = -1;
  followed = false;
  /** Events that came before what they depend on. */
  pending: SocketEvent[] = [];
  /** The kernel has closed the connection (CLOCK_MONOTONIC), the application may still read; 0 = no. */
  kernel_closed = 0;
  close_errno = 0;
  closed = false;
  /** Of the table: when it was asked for last, its place, and another one with the same low id word. */
  used = 0;
  place = 0;
  collision: SocketState | null = null;

  constructor(low: number, high: number, protocol: Protocol) {
    this.low = low;
    this.high = high;
    this.protocol = protocol;
  }

  other(side: Side): Side {
    return this.sides[side.direction === IN ? OUT : IN];
  }

  isRequestSide(side: Side): boolean {
    return this.requester === side.direction;
  }
}
