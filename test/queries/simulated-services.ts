// Services that never ran: a thread per connection, A -> B -> D and A -> C, over kept-alive connections from pools, on several
// nodes whose clocks differ. Gives the batches that their collectors would send, and which span caused which.
import type { Batch } from '../../ingest/batch.ts';
import { seededRandom } from '../../queries/timing/resolve-service.ts';
import { makeBatch, type Row } from '../support/make-batch.ts';
import { spanId } from './span-id.ts';

export interface SimulationOptions {
  readonly requests: number;
  readonly in_flight: number;
  readonly seed?: number;
  readonly nodes?: number;
  /** Clocks differ by up to this. */
  readonly skew_ms?: number;
  /** This share of the calls opens a connection of its own. */
  readonly fresh_share?: number;
  /** This share of the services' connections speaks something that nobody understands. */
  readonly opaque_share?: number;
  /** Events lost here, as [ms from the start, ms]. */
  readonly losses_ms?: readonly (readonly [number, number])[];
  readonly batch_ms?: number;
  readonly final?: boolean;
}

export interface Simulation {
  /** In the order of delivery. */
  readonly batches: Batch[];
  /** span_id -> parent's span_id; null for roots. */
  readonly truth: ReadonlyMap<bigint, bigint | null>;
  /** span_id -> number of its request. */
  readonly requests: ReadonlyMap<bigint, number>;
}

interface Service {
  readonly name: string;
  readonly node: number;
  readonly process_id: bigint;
  readonly port: number;
  readonly calls: readonly string[];
}

interface Connection {
  readonly conn_id: bigint;
  readonly opaque: boolean;
  readonly client_socket: bigint;
  readonly server_socket: bigint;
  readonly server_thread: bigint;
  free_at: number;
  exchanges: number;
  sent: number;
  received: number;
  connect: { at: number; thread: bigint } | null;
  /** Answers of which nobody knows yet that they are complete. */
  unfinished: Delivered[];
}

/** A row and when its collector knows it: real time in ms. */
interface Delivered {
  known_at: number;
  readonly node: number;
  readonly table: 'messages' | 'socket_events';
  readonly row: Row;
  /** A request stands in a partial row from here until its finished row. */
  readonly open_from?: number;
}

export const START_NS = 1_790_000_000_000_000_000n;
const MOST_MS = 1e6;

export function simulate(options: SimulationOptions): Simulation {
  const { requests, in_flight, seed = 1, nodes = 2, skew_ms = 0, fresh_share = 0, opaque_share = 0, losses_ms = [], batch_ms = 250, final = true } = options;
  const random = seededRandom(seed);
  const random_id = (): bigint => (BigInt(Math.floor(random() * 2 ** 31)) << 32n) | BigInt(Math.floor(random() * 2 ** 32));
  const skews = Array.from({ length: nodes }, (_, node) => (node === 0 ? 0 : (random() * 2 - 1) * skew_ms));
  const services = new Map<string, Service>(
    (
      [
        ['A', 0, ['B', 'C']],
        ['B', 0, ['D']],
        ['C', 1, []],
        ['D', 1, []],
      ] as const
    ).map(([name, node, calls], at) => [name, { name, node: node % nodes, process_id: random_id(), port: 8000 + at, calls }]),
  );
  const rows: Delivered[] = [];
  const truth = new Map<bigint, bigint | null>();
  const numbers = new Map<bigint, number>();
  const pools = new Map<string, Connection[]>();
  const ts = (at: number, node: number): bigint => START_NS + BigInt(Math.round((at + (skews[node] as number)) * 1e6));
  const lost = (at: number): boolean => losses_ms.some(([from, length]) => at >= from && at < from + length);

  function open(at: number, thread: bigint | null): Connection {
    return { conn_id: random_id(), opaque: random() < opaque_share, client_socket: random_id(), server_socket: random_id(), server_thread: random_id(), free_at: at, exchanges: 0, sent: 0, received: 0, connect: thread === null ? null : { at, thread }, unfinished: [] };
  }

  function deliver(node: number, known_at: number, table: Delivered['table'], row: Row, open_from?: number): Delivered {
    const delivered = { node, known_at, table, row, ...(open_from === undefined ? {} : { open_from }) };
    rows.push(delivered);
    return delivered;
  }

  /** One end's view of one message; opaque ones are finished only by what follows on the connection. */
  function message(service: Service, conn: Connection, side: 'client' | 'server', kind: 'request' | 'response', from: number, to: number, offset: number, bytes: number, thread: bigint, path: string, known_at: number): void {
    const server_port = 9000;
    const outgoing = (side === 'client') === (kind === 'request');
    const delivered = deliver(
      service.node,
      known_at,
      'messages',
      {
        ts_ns: ts(from, service.node), end_ts_ns: ts(to, service.node), mono_ns: 0n, socket_id: side === 'client' ? conn.client_socket : conn.server_socket, conn_id: conn.conn_id,
        process_id: service.process_id, pid: service.port, role: side, direction: outgoing ? 'out' : 'in', kind, protocol: conn.opaque ? null : 'http', exchange_no: conn.exchanges,
        stream_offset: offset, end_offset: offset + bytes, head_bytes: 0, first_thread_id: thread, first_tid: 1, last_thread_id: thread, last_tid: 1, comm: service.name, fd: 5,
        local_ip: '10.0.0.1', local_port: server_port, remote_ip: '10.0.0.2', remote_port: server_port,
        ...(kind === 'request' && side === 'client' && conn.connect !== null && conn.exchanges === 0 ? { connect_ts_ns: ts(conn.connect.at, service.node), connect_thread_id: conn.connect.thread } : {}),
        ...(conn.opaque ? {} : kind === 'request' ? { method: 'GET', path } : { status: 200 }),
        end_reason: conn.opaque ? 'next' : kind === 'request' ? 'no_body' : 'length', complete: true, partial: false,
      },
      kind === 'request' || conn.opaque ? from : undefined,
    );
    if (conn.opaque && kind === 'response') conn.unfinished.push(delivered);
  }

  /** The callee serves; real time at which the caller has its answer. */
  function call(caller: Service | null, callee: Service, conn: Connection, thread: bigint, at: number, number: number, cause: bigint | null): number {
    const wire = 0.05 + random() * 0.1;
    const [sent, read] = [at, at + wire];
    const path = `/${callee.name.toLowerCase()}/${number}`;
    const offset = conn.sent;
    for (const answer of conn.unfinished.splice(0)) answer.known_at = Math.min(answer.known_at, at);
    const server = spanId(conn.conn_id, BigInt(offset), 'server');
    const client = spanId(conn.conn_id, BigInt(offset), 'client');
    if (caller !== null) {
      truth.set(client, cause);
      numbers.set(client, number);
    }
    truth.set(server, caller === null ? null : client);
    numbers.set(server, number);
    let now = read + 0.1 + random();
    for (const name of callee.calls) {
      const next = services.get(name) as Service;
      const key = `${callee.name} ${name}`;
      const pool = pools.get(key) ?? [];
      pools.set(key, pool);
      let used = pool.find((one) => one.free_at <= now);
      if (used === undefined || random() < fresh_share) {
        used = open(now, conn.server_thread);
        pool.push(used);
        now += 0.2;
      }
      now = call(callee, next, used, conn.server_thread, now, number, server) + 0.05 + random() * 0.3;
    }
    const [written, got] = [now, now + wire];
    const free = got + 0.01;
    // Nobody knows that bytes which nobody understands are complete, until others follow: here, up to half a second later.
    const answer_known = (seen: number): number => (conn.opaque ? seen + random() * 500 : seen);
    if (caller !== null) {
      message(caller, conn, 'client', 'request', sent, sent + 0.01, conn.sent, 100, thread, path, conn.opaque ? got : sent + 0.01);
      message(caller, conn, 'client', 'response', got, got, conn.received, 50, thread, path, answer_known(got));
    }
    message(callee, conn, 'server', 'request', read, read + 0.01, conn.sent, 100, conn.server_thread, path, conn.opaque ? written : read + 0.01);
    message(callee, conn, 'server', 'response', written, written, conn.received, 50, conn.server_thread, path, answer_known(written));
    conn.exchanges += 1;
    conn.sent += 100;
    conn.received += 50;
    conn.free_at = free;
    return got;
  }

  const outside = Array.from({ length: in_flight }, () => open(random() * 2, null));
  for (let number = 0; number < requests; number += 1) {
    const conn = outside.reduce((first, one) => (one.free_at < first.free_at ? one : first));
    const at = conn.free_at + random() * 0.2;
    conn.free_at = MOST_MS * 1000;
    conn.free_at = call(null, services.get('A') as Service, conn, 0n, at, number, null) + 0.01;
  }

  return { batches: makeBatches(rows.filter((row) => !lost(row.known_at)), { nodes, skews, services: [...services.values()], losses_ms, batch_ms, final, ts }), truth, requests: numbers };
}

interface Delivery {
  readonly nodes: number;
  readonly skews: readonly number[];
  readonly services: readonly Service[];
  readonly losses_ms: readonly (readonly [number, number])[];
  readonly batch_ms: number;
  readonly final: boolean;
  readonly ts: (at: number, node: number) => bigint;
}

function makeBatches(rows: Delivered[], { nodes, services, losses_ms, batch_ms, final, ts }: Delivery): Batch[] {
  const ends = rows.reduce((last, row) => Math.max(last, row.known_at), 0);
  const batches: { at: number; batch: Batch }[] = [];
  for (let node = 0; node < nodes; node += 1) {
    const own = rows.filter((row) => row.node === node).toSorted((a, b) => a.known_at - b.known_at);
    let [next, sequence] = [0, 0n];
    // Collectors do not cut their batches at the same time.
    for (let at = batch_ms * (0.5 + node / nodes); ; at += batch_ms) {
      const tables: Record<'messages' | 'socket_events', Row[]> = { messages: [], socket_events: [] };
      for (; next < own.length && (own[next] as Delivered).known_at <= at; next += 1) {
        const { table, row } = own[next] as Delivered;
        tables[table].push(row);
      }
      for (let later = next; later < own.length; later += 1) {
        const { row, open_from } = own[later] as Delivered;
        if (open_from !== undefined && open_from <= at) tables.messages.push({ ...row, partial: true, end_reason: 'open' });
      }
      sequence += 1n;
      const last = at > ends + batch_ms;
      const losses = losses_ms.filter(([from, length]) => from + length > at - batch_ms && from + length <= at).map(([from, length]) => ({ from_ns: ts(from, node), to_ns: ts(from + length, node), events_lost: 9, cause: 'ring_full' }));
      const processes = sequence === 1n ? services.filter((service) => service.node === node).map((service) => ({ ts_ns: ts(0, node), process_id: service.process_id, pid: service.port, service_name: service.name, service_rule: 'exe' })) : [];
      batches.push({ at, batch: makeBatch({ node: `node-${node}`, boot_id: `boot-${node}`, run_id: BigInt(node + 1), sequence, watermark_ns: ts(at, node), utc_ns: ts(at, node), final: final && last }, { ...tables, losses, processes }) });
      if (last) break;
    }
  }
  return batches.toSorted((a, b) => a.at - b.at).map(({ batch }) => batch);
}
