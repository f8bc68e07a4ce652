// What one process read, called and answered, told in a line each and correlated by the real rules: which link comes out, and how sure.
import { onTestFinished } from 'vitest';
import { Warehouse } from '../../ingest/warehouse.ts';
import { Correlator } from '../../queries/correlator.ts';
import type { Limits } from '../../queries/working-set.ts';
import { START_NS } from '../queries/simulated-services.ts';
import { spanId } from '../queries/span-id.ts';
import { makeBatch, type Row } from './make-batch.ts';
import { temporaryFolder } from './temporary-folder.ts';

export const PROCESS = 77n;

/** One exchange of the process, in ms from the start. Each name is a connection's, unless `on` says which. */
export interface Told {
  readonly name: string;
  readonly on?: string;
  readonly kind: 'server' | 'client';
  readonly from: number;
  readonly to: number;
  /** Nothing was answered by then. */
  readonly unanswered?: true;
  /** Threads that moved the request and the response. */
  readonly threads: readonly [number, number];
  readonly turns?: readonly [number, number];
  readonly port?: number;
  /** By the thread that wrote the request, unless it is said. */
  readonly connect?: { readonly at: number; readonly turn: number; readonly thread?: number };
  readonly task?: number;
  readonly parent_task?: number;
  readonly answer_task?: number;
  readonly traceparent?: string;
  readonly path?: string;
}

export interface Moved {
  readonly op: 'fork' | 'exit' | 'wake';
  readonly at: number;
  readonly thread: number;
  readonly target?: number;
}

/** A connection was closed by the process, or reset by who had opened it. */
export interface Ended {
  readonly on: string;
  readonly at: number;
  readonly by: 'process' | 'peer';
  readonly thread?: number;
}

export interface Link {
  readonly parent: string | null;
  readonly evidence: string | null;
  readonly confidence: number | null;
  /** All candidates, in order of their names. */
  readonly candidates: readonly string[];
}

export interface TellOptions {
  readonly limits?: Partial<Limits>;
  readonly ends?: readonly Ended[];
  /** A cycle of live correlation each so many ms; otherwise all at once. */
  readonly every_ms?: number;
  /** Correlation begins anew then, as after a restart, with what is stored. */
  readonly restart_ms?: number;
  /** After each cycle. */
  after?(told: { readonly warehouse: Warehouse; readonly correlator: Correlator; readonly ms: number }): Promise<void>;
}

export const at = (ms: number): bigint => START_NS + BigInt(Math.round(ms * 1e6));

export async function tell(exchanges: readonly Told[], moves: readonly Moved[] = [], { limits = {}, ends = [], every_ms, restart_ms, after }: TellOptions = {}): Promise<{ links: Record<string, Link>; warehouse: Warehouse }> {
  const conns = [...new Set(exchanges.map((one) => one.on ?? one.name))];
  const done = new Map<string, number>();
  const names = new Map<string, string>();
  const messages: Row[] = [];
  for (const one of exchanges) {
    const conn = conns.indexOf(one.on ?? one.name);
    const number = done.get(one.on ?? one.name) ?? 0;
    done.set(one.on ?? one.name, number + 1);
    const [conn_id, offset] = [BigInt(1000 + conn), number * 100];
    names.set(spanId(conn_id, BigInt(offset), one.kind).toString(16).padStart(16, '0'), one.name);
    for (const [side, kind] of (['request', 'response'] as const).entries()) {
      if (kind === 'response' && one.unanswered === true) continue;
      const time = kind === 'request' ? one.from : one.to;
      messages.push({
        ts_ns: at(time), end_ts_ns: at(time + 0.001), mono_ns: 0n, socket_id: BigInt(5000 + conn), conn_id, process_id: PROCESS, pid: 7, role: one.kind, direction: (one.kind === 'client') === (kind === 'request') ? 'out' : 'in', kind,
        protocol: 'http', exchange_no: number, stream_offset: offset, end_offset: offset + 100, head_bytes: 100, first_thread_id: BigInt(one.threads[side] as number), first_tid: one.threads[side] as number, last_thread_id: BigInt(one.threads[side] as number),
        last_tid: one.threads[side] as number, first_turn: BigInt(one.turns?.[side] ?? 0), last_turn: BigInt(one.turns?.[side] ?? 0), comm: 'p', fd: 5, local_ip: '10.0.0.1', local_port: 9000, remote_ip: '10.0.0.2', remote_port: one.port ?? 80,
        ...(kind === 'request' ? { method: 'GET', path: one.path ?? '/', ...(one.connect === undefined ? {} : { connect_ts_ns: at(one.connect.at), connect_thread_id: BigInt(one.connect.thread ?? one.threads[0]), connect_turn: BigInt(one.connect.turn) }), ...(one.traceparent === undefined ? {} : { traceparent: one.traceparent }), ...(one.task === undefined ? {} : { task_id: BigInt(one.task), parent_task_id: BigInt(one.parent_task ?? 0) }) } : { status: 200, ...(one.answer_task === undefined ? {} : { task_id: BigInt(one.answer_task) }) }),
        end_reason: kind === 'request' ? 'no_body' : 'length', complete: true, partial: false,
      });
    }
  }
  const thread_events = moves.map(({ op, at: ms, thread, target }): Row => ({ ts_ns: at(ms), mono_ns: 0n, process_id: PROCESS, thread_id: BigInt(thread), op, ...(target === undefined ? {} : { target_thread_id: BigInt(target), target_process_id: PROCESS }), in_irq: false, comm: 'p' }));
  const socket_events = ends.map(({ on, at: ms, by, thread }): Row => ({ ts_ns: at(ms), socket_id: BigInt(5000 + conns.indexOf(on)), process_id: PROCESS, layer: 'socket', role: exchanges.find((one) => (one.on ?? one.name) === on)?.kind ?? null, ...(thread === undefined ? {} : { thread_id: BigInt(thread) }), ...(by === 'process' ? { op: 'close', old_state: 7, new_state: 7 } : { op: 'state', old_state: 1, new_state: 7, errno: 104 }) }));
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0 });
  onTestFinished(() => warehouse.close());
  const begin = (): Correlator => new Correlator(warehouse, { late_pause_ms: 0, silent_ms: 1e9, limits });
  let correlator = begin();
  const last = Math.max(...exchanges.map(({ to }) => to), ...ends.map((end) => end.at)) + 10_000;
  const within = (rows: readonly Row[], from: bigint, to: bigint): Row[] => rows.filter((row) => {
    const landed = (row['end_ts_ns'] ?? row['ts_ns']) as bigint;
    return landed > from && landed <= to;
  });
  let from = 0n;
  for (let sequence = 1n, ms = every_ms ?? last; from < at(last); sequence += 1n, ms = ms > last - 9000 ? last : ms + (every_ms ?? 0)) {
    const to = at(Math.min(ms, last));
    await warehouse.apply(makeBatch({ node: 'n', boot_id: 'b', run_id: 1n, sequence, watermark_ns: to, utc_ns: to, final: to === at(last) }, {
      messages: within(messages, from, to), thread_events: within(thread_events, from, to), socket_events: within(socket_events, from, to),
      processes: sequence === 1n ? [{ ts_ns: at(0), process_id: PROCESS, pid: 7, service_name: 'P', service_rule: 'exe' }] : [],
    }));
    if (every_ms !== undefined) await correlator.cycle();
    await after?.({ warehouse, correlator, ms });
    if (restart_ms !== undefined && from < at(restart_ms) && to >= at(restart_ms)) correlator = begin();
    from = to;
  }
  await correlator.finish();
  const nameOf = (id: unknown): string => names.get(String(id)) ?? String(id);
  const spans = await warehouse.query("SELECT span_id, parent_span_id, parent_evidence, parent_confidence FROM spans WHERE kind = 'client'");
  const candidates = new Map<unknown, string[]>();
  for (const [of, candidate] of (await warehouse.query('SELECT span_id, candidate_span_id FROM span_links')).rows) candidates.set(of, [...(candidates.get(of) ?? []), nameOf(candidate)]);
  const links = spans.rows.map(([span_id, parent, evidence, confidence]): [string, Link] => [
    nameOf(span_id),
    { parent: parent === null ? null : nameOf(parent), evidence: evidence as string | null, confidence: confidence as number | null, candidates: (candidates.get(span_id) ?? []).toSorted() },
  ]);
  return { links: Object.fromEntries(links), warehouse };
}
