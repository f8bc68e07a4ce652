// A few requests told in a line each, stored as a collector would have sent them and correlated by the real rules.
import { onTestFinished } from 'vitest';
import { Warehouse } from '../../ingest/warehouse.ts';
import { Correlator } from '../../queries/correlator.ts';
import { makeBatch, type Row } from './make-batch.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** One exchange; both of its ends, unless nobody watches one of them. Times in ms from the start. */
export interface Told {
  readonly from?: string;
  readonly to?: string;
  readonly at: number;
  readonly ms: number;
  /** The connection; one of its own unless it has a name. */
  readonly on?: string;
  readonly path?: string;
  /** Null: never answered. */
  readonly status?: number | null;
  /** A service works on one thread unless it is said: a call is caused by what its thread has read and not answered. */
  readonly from_thread?: number;
  readonly to_thread?: number;
  readonly address?: string;
  readonly port?: number;
  readonly host?: string;
  /** Connecting took so long before it. */
  readonly connect_ms?: number;
  readonly complete?: boolean;
  /** Null: nobody understood the bytes. */
  readonly protocol?: string | null;
}

/** One call of a service on a socket, or a change of its state. */
export interface Moved {
  readonly who: string;
  readonly on: string;
  readonly role: 'client' | 'server';
  readonly op: string;
  readonly at: number;
  readonly bytes?: number;
  readonly more?: Row;
}

export interface Story {
  readonly told?: readonly Told[];
  readonly moved?: readonly Moved[];
  /** Of a service's process: node, netns, container_id, cgroup, ended_ns. */
  readonly places?: Readonly<Record<string, Row>>;
  readonly losses?: readonly Row[];
}

export const START_NS = 1_790_000_000_000_000_000n;
export const at = (ms: number): bigint => START_NS + BigInt(Math.round(ms * 1e6));
export const timeText = (ms: number): string => new Date(Number(at(ms) / 1_000_000n)).toISOString();

class Teller {
  readonly rows: { node: string; table: 'messages' | 'socket_events' | 'processes'; row: Row }[] = [];
  readonly #places: NonNullable<Story['places']>;
  readonly #services: string[] = [];
  readonly #connections: string[] = [];
  readonly #exchanges = new Map<string, number>();

  constructor(places: NonNullable<Story['places']>) {
    this.#places = places;
  }

  nodeOf(name: string): string {
    return String(this.#places[name]?.['node'] ?? 'node-1');
  }

  #service(name: string): number {
    const known = this.#services.indexOf(name);
    if (known >= 0) return known;
    const number = this.#services.push(name) - 1;
    const { node: _, ...place } = this.#places[name] ?? {};
    this.rows.push({ node: this.nodeOf(name), table: 'processes', row: { ts_ns: START_NS, process_id: BigInt(100 + number), pid: 100 + number, service_name: name, service_rule: 'exe', ...place } });
    return number;
  }

  #connection(name: string): number {
    const known = this.#connections.indexOf(name);
    return known >= 0 ? known : this.#connections.push(name) - 1;
  }

  #end(service: string, role: 'client' | 'server', conn: number, thread?: number) {
    const number = this.#service(service);
    const tid = thread ?? 1000 * (number + 1);
    return { process_id: BigInt(100 + number), pid: 100 + number, comm: service, role, conn_id: BigInt(1000 + conn), socket_id: BigInt(5000 + conn * 2 + (role === 'server' ? 1 : 0)), tid, fd: 5 + conn };
  }

  tell(one: Told): void {
    const name = one.on ?? `alone ${this.#connections.length}`;
    const conn = this.#connection(name);
    const exchange_no = this.#exchanges.get(name) ?? 0;
    this.#exchanges.set(name, exchange_no + 1);
    const [address, port] = [one.address ?? '10.0.0.2', one.port ?? 8000 + (one.to === undefined ? 999 : this.#service(one.to))];
    for (const role of ['client', 'server'] as const) {
      const service = role === 'client' ? one.from : one.to;
      if (service === undefined) continue;
      const { tid, ...end } = this.#end(service, role, conn, role === 'client' ? one.from_thread : one.to_thread);
      const inner = role === 'server' ? Math.min(0.01, one.ms / 4) : 0;
      const [near, far] = role === 'client' ? [['10.0.0.1', 40_000 + conn], [address, port]] as const : [[address, port], ['10.0.0.1', 40_000 + conn]] as const;
      const common = {
        ...end, protocol: one.protocol === undefined ? 'http' : one.protocol, exchange_no, stream_offset: exchange_no * 100, end_offset: exchange_no * 100 + 100, head_bytes: 100, mono_ns: 0n,
        first_thread_id: BigInt(tid), first_tid: tid, last_thread_id: BigInt(tid), last_tid: tid, local_ip: near[0], local_port: near[1], remote_ip: far[0], remote_port: far[1], complete: one.complete ?? true, partial: false,
      };
      const http = one.protocol === null ? {} : { method: 'GET', path: one.path ?? '/', host: one.host ?? address };
      const connect = role === 'server' || one.connect_ms === undefined ? {} : { connect_ts_ns: at(one.at - one.connect_ms), connect_thread_id: BigInt(tid) };
      const node = this.nodeOf(service);
      this.rows.push({ node, table: 'messages', row: { ...common, ...http, ...connect, kind: 'request', direction: role === 'client' ? 'out' : 'in', ts_ns: at(one.at + inner), end_ts_ns: at(one.at + inner), end_reason: one.protocol === null ? 'next' : 'no_body' } });
      const status = one.protocol === null ? {} : { status: one.status ?? 200 };
      if (one.status !== null) this.rows.push({ node, table: 'messages', row: { ...common, ...status, kind: 'response', direction: role === 'client' ? 'in' : 'out', ts_ns: at(one.at + one.ms - inner), end_ts_ns: at(one.at + one.ms - inner), end_reason: one.protocol === null ? 'next' : 'length' } });
    }
  }

  move({ who, on, role, op, at: ms, bytes = 0, more = {} }: Moved): void {
    const conn = this.#connection(on);
    const { tid, ...end } = this.#end(who, role, conn);
    const [near, far] = role === 'client' ? [['10.0.0.1', 40_000 + conn], ['10.0.0.2', 8000]] as const : [['10.0.0.2', 8000], ['10.0.0.1', 40_000 + conn]] as const;
    this.rows.push({ node: this.nodeOf(who), table: 'socket_events', row: {
      ...end, tid, thread_id: BigInt(tid), op, ts_ns: at(ms), mono_ns: 0n, bytes, stream_offset: 0, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false,
      local_ip: near[0], local_port: near[1], remote_ip: far[0], remote_port: far[1], ...more } });
  }
}

/** A batch a node. The warehouse is closed when the test is over. */
export async function storeStory({ told = [], moved = [], places = {}, losses = [] }: Story): Promise<Warehouse> {
  const teller = new Teller(places);
  for (const one of told) teller.tell(one);
  for (const one of moved) teller.move(one);
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0 });
  onTestFinished(() => warehouse.close());
  const end = at(Math.max(0, ...told.map((one) => one.at + one.ms), ...moved.map((one) => one.at)) + 10_000);
  for (const [index, node] of [...new Set(['node-1', ...teller.rows.map((row) => row.node)])].entries()) {
    const of = (table: string): Row[] => teller.rows.filter((row) => row.node === node && row.table === table).map(({ row }) => row);
    await warehouse.apply(makeBatch(
      { node, boot_id: `boot-${index}`, run_id: BigInt(index + 1), sequence: 1n, watermark_ns: end, utc_ns: end, final: true },
      { messages: of('messages'), socket_events: of('socket_events'), processes: of('processes'), losses: index === 0 ? losses : [] },
    ));
  }
  await new Correlator(warehouse, { late_pause_ms: 0 }).finish();
  return warehouse;
}
