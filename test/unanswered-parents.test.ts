// Bytes that nobody understood and nobody answered are no span, unless something hangs on them.
import { expect, onTestFinished, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { makeBatch } from './support/make-batch.ts';
import type { Row } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';
import { at } from './support/told-process.ts';

interface Said {
  readonly kind: 'request' | 'response';
  readonly role: 'server' | 'client';
  readonly process: number;
  readonly socket: number;
  readonly conn: number;
  readonly ms: number;
  readonly http?: true;
}

function message({ kind, role, process, socket, conn, ms, http }: Said): Row {
  const thread = BigInt(process);
  return {
    ts_ns: at(ms), end_ts_ns: at(ms), mono_ns: 0n, socket_id: BigInt(socket), conn_id: BigInt(conn), process_id: thread, pid: process, role, direction: (role === 'client') === (kind === 'request') ? 'out' : 'in', kind, protocol: http === true ? 'http' : null,
    exchange_no: 0, stream_offset: 0, end_offset: 100, head_bytes: 0, first_thread_id: thread, first_tid: process, last_thread_id: thread, last_tid: process, first_turn: 0n, last_turn: 0n, comm: 'p', fd: 5, local_ip: '10.0.0.1', local_port: 9, remote_ip: '10.0.0.2', remote_port: 443,
    ...(http !== true ? { end_reason: 'close' } : kind === 'request' ? { method: 'GET', path: '/', end_reason: 'no_body' } : { status: 504, end_reason: 'length' }), complete: true, partial: false,
  };
}

/** Service and name of each span, and what its parent is called. */
async function correlated(messages: readonly Said[], closes: readonly (readonly [ms: number, socket: number, process: number, role: 'server' | 'client'])[], every_ms: number): Promise<string[]> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0 });
  onTestFinished(() => warehouse.close());
  const correlator = new Correlator(warehouse, { late_pause_ms: 0, silent_ms: 1e9 });
  const rows = messages.map(message);
  const events = closes.map(([ms, socket, process, role]): Row => ({ ts_ns: at(ms), socket_id: BigInt(socket), process_id: BigInt(process), layer: 'socket', role, op: 'close', old_state: 7, new_state: 7 }));
  const last = 20_000;
  for (let ms = every_ms, sequence = 1n; ms <= last; ms += every_ms, sequence += 1n) {
    const of = (all: readonly Row[]): Row[] => all.filter(({ ts_ns }) => (ts_ns as bigint) > at(ms - every_ms) - (sequence === 1n ? 1n : 0n) && (ts_ns as bigint) <= at(ms));
    await warehouse.apply(makeBatch({ node: 'n', boot_id: 'b', run_id: 1n, sequence, watermark_ns: at(ms), utc_ns: at(ms), final: ms === last }, {
      messages: of(rows), socket_events: of(events), processes: sequence === 1n ? [1, 2, 3].map((id) => ({ ts_ns: at(0), process_id: BigInt(id), pid: id, service_name: 'ABC'[id - 1] as string, service_rule: 'exe' })) : [],
    }));
    await correlator.cycle();
  }
  await correlator.finish();
  const { rows: spans } = await warehouse.query("SELECT s.service_name || ' ' || s.kind || ' ' || s.span_name || ' ' || s.status || ' < ' || CASE WHEN s.parent_span_id IS NULL THEN 'none' ELSE coalesce(p.service_name || ' ' || p.kind, 'lost') END FROM spans s LEFT JOIN spans p ON p.span_id = s.parent_span_id ORDER BY s.start_ns");
  return spans.map(([told]) => told as string);
}

test.each([500, 20_000])('a call that was given up before the callee had answered, in bytes that nobody understood (a cycle each %d ms)', async (every_ms) => {
  const spans = await correlated(
    [
      { kind: 'request', role: 'server', process: 1, socket: 1, conn: 11, ms: 0, http: true },
      { kind: 'request', role: 'client', process: 1, socket: 2, conn: 22, ms: 10 },
      { kind: 'request', role: 'server', process: 2, socket: 3, conn: 22, ms: 10.1 },
      { kind: 'response', role: 'server', process: 1, socket: 1, conn: 11, ms: 5010, http: true },
      { kind: 'response', role: 'server', process: 2, socket: 3, conn: 22, ms: 6000 },
    ],
    [[5000, 2, 1, 'client'], [6001, 3, 2, 'server']],
    every_ms,
  );
  expect(spans).toEqual(['A server GET / error < none', 'A client exchange unset < A server', 'B server exchange unset < A client']);
});

test.each([500, 20_000])('and one on which the callee called in turn, without an answer of its own (a cycle each %d ms)', async (every_ms) => {
  const spans = await correlated(
    [
      { kind: 'request', role: 'server', process: 1, socket: 1, conn: 11, ms: 0, http: true },
      { kind: 'request', role: 'client', process: 1, socket: 2, conn: 22, ms: 10 },
      { kind: 'request', role: 'server', process: 2, socket: 3, conn: 22, ms: 10.1 },
      { kind: 'request', role: 'client', process: 2, socket: 4, conn: 33, ms: 20, http: true },
      { kind: 'response', role: 'client', process: 2, socket: 4, conn: 33, ms: 4000, http: true },
      { kind: 'response', role: 'server', process: 1, socket: 1, conn: 11, ms: 5010, http: true },
    ],
    [[5000, 2, 1, 'client'], [5001, 3, 2, 'server'], [6000, 4, 2, 'client']],
    every_ms,
  );
  expect(spans).toEqual(['A server GET / error < none', 'A client exchange unset < A server', 'B server exchange unset < A client', 'B client GET / error < B server']);
});

test.each([500, 20_000])('a message that asks for no answer, and what was called for it (a cycle each %d ms)', async (every_ms) => {
  const spans = await correlated(
    [
      { kind: 'request', role: 'server', process: 1, socket: 1, conn: 11, ms: 0 },
      { kind: 'request', role: 'client', process: 1, socket: 2, conn: 22, ms: 10, http: true },
      { kind: 'response', role: 'client', process: 1, socket: 2, conn: 22, ms: 20, http: true },
    ],
    [[5000, 1, 1, 'server']],
    every_ms,
  );
  expect(spans).toEqual(['A server exchange unset < none', 'A client GET / error < A server']);
});

test('where nothing hangs on them they are none', async () => {
  const spans = await correlated(
    [
      { kind: 'request', role: 'client', process: 1, socket: 2, conn: 22, ms: 10 },
      { kind: 'request', role: 'server', process: 2, socket: 3, conn: 22, ms: 10.1 },
      { kind: 'request', role: 'server', process: 3, socket: 4, conn: 33, ms: 10, http: true },
      { kind: 'response', role: 'server', process: 3, socket: 4, conn: 33, ms: 20, http: true },
    ],
    [[300, 3, 2, 'server'], [300, 2, 1, 'client']],
    500,
  );
  expect(spans).toEqual(['C server GET / error < none']);
});
