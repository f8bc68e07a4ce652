// A connection between two services, and the one exchange that is on it.
import type { Actor } from './event-heap.ts';
import type { Job } from './job.ts';
import type { SocketEnd, Text } from './socket-end.ts';
import type { SimulatedThread } from './simulated-process.ts';
import type { Station } from './station.ts';
import { SpanIds } from './span-ids.ts';
import { MOST_HEAD } from './http-text.ts';

/** What arrives. */
export const [CONNECTED, REQUEST, RESPONSE] = [0, 1, 2] as const;

/** Who opens connections, and gets answers on them. */
export interface Caller {
  answered(connection: Connection, at: number): void;
  opened(connection: Connection, at: number): void;
}

const newText = (body: Uint8Array): Text => ({ head: new Uint8Array(MOST_HEAD), head_length: 0, body, body_at: 0, body_length: 0 });

export class Connection implements Actor {
  readonly caller: Caller;
  readonly callee: Station;
  /** null: outside of what is watched. */
  readonly client: SocketEnd | null;
  readonly server: SocketEnd;
  readonly ids: SpanIds;
  /** One way, ns. */
  readonly latency: number;
  readonly request: Text;
  readonly response: Text;
  /** Requests that it will still carry. */
  left: number;
  /** The request that the exchange at hand is made for, and the one that it is at the callee. */
  owner: Job | null = null;
  job: Job | null = null;
  /** Who made the call at hand; who serves the connection. */
  caller_thread: SimulatedThread | null = null;
  server_thread: SimulatedThread | null = null;
  /** From when on the next call may take it. */
  free_at = 0;

  constructor(caller: Caller, callee: Station, ends: { client: SocketEnd | null; server: SocketEnd }, conn_id: readonly [number, number], latency: number, left: number, body: Uint8Array) {
    this.caller = caller;
    this.callee = callee;
    this.client = ends.client;
    this.server = ends.server;
    this.ids = new SpanIds(conn_id[0], conn_id[1]);
    this.latency = latency;
    this.left = left;
    this.request = newText(body);
    this.response = newText(body);
  }

  act(at: number, what: number): void {
    if (what === REQUEST) this.callee.requested(this, at);
    else if (what === RESPONSE) this.caller.answered(this, at);
    else this.callee.connected(this, at);
  }
}
