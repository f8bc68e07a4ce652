// One derived segment that is larger than what is worked on at a time: compaction makes an hour of one, however many spans that are.
import { expect, onTestFinished, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { recorrelate } from '../queries/recorrelate.ts';
import { simulate } from './queries/simulated-services.ts';
import { makeBatch, type Row } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const FOREVER = { from_ns: 0n, to_ns: 1n << 62n };

async function open(): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  return warehouse;
}

async function oneSegment(warehouse: Warehouse): Promise<void> {
  await warehouse.seal();
  await warehouse.withSealed((sealed, gather) => gather(sealed.filter(({ kind }) => kind === 'derived').toSorted((a, b) => (a.to_ns < b.to_ns ? -1 : 1))));
  expect(warehouse.segments.filter(({ kind, state }) => kind === 'derived' && state === 'sealed').length).toBe(1);
}

async function derived(warehouse: Warehouse): Promise<string[]> {
  const rows: string[] = [];
  for (const table of ['spans', 'exchanges', 'span_links']) rows.push(...(await warehouse.query(`SELECT * FROM stored.${table} ORDER BY ALL`)).rows.map((row) => `${table} ${row.join(' ')}`));
  return rows;
}

test('a part of it at a time: the same as before', async () => {
  const simulation = simulate({ requests: 400, in_flight: 6, fresh_share: 0.3, seed: 9 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse);
  for (const [at, batch] of simulation.batches.entries()) {
    await warehouse.apply(batch);
    await correlator.cycle();
    if (at % 6 === 5) await warehouse.seal();
  }
  await correlator.finish();
  const before = await derived(warehouse);
  const spans = simulation.truth.size;
  const unchanged = { spans, kept: 0, unchanged: spans, links_gained: 0, links_lost: 0, links_moved: 0 };
  await oneSegment(warehouse);
  const seen: [number, number][] = [];
  expect(await recorrelate(warehouse, { ...FOREVER, most_spans: spans / 4, progress: (...now) => seen.push(now) })).toEqual(unchanged);
  expect(seen.length).toBeGreaterThan(3);
  expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).toSorted((a, b) => a - b));
  expect(seen.at(-1)).toEqual([spans, spans]);
  expect(await derived(warehouse)).toEqual(before);
  expect((await warehouse.query('SELECT count(*) FROM stored.progress')).rows).toEqual([[1n]]);
});

test('where not even a part fits, it is done in smaller ones; what has been written by then counts once', async () => {
  const simulation = simulate({ requests: 3000, in_flight: 30, seed: 10 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse);
  for (const batch of simulation.batches) await warehouse.apply(batch);
  await correlator.finish();
  const before = await derived(warehouse);
  const spans = simulation.truth.size;
  expect(spans).toBeGreaterThan(20_000);
  await oneSegment(warehouse);
  let begun = 0;
  let failed = false;
  const observe = ({ name }: { name: string }): void => {
    if (name !== 'exchanges') return;
    begun += 1;
    if (begun === 2 && !failed) {
      failed = true;
      throw new Error('Out of Memory Error: could not allocate block');
    }
  };
  expect(await recorrelate(warehouse, { ...FOREVER, most_spans: Math.ceil(spans / 2) + 500, observe })).toMatchObject({ spans, unchanged: spans });
  expect([failed, begun >= 2 + 4]).toEqual([true, true]);
  expect(await derived(warehouse)).toEqual(before);
});

test('ids that traces had before still lead to them', async () => {
  const simulation = simulate({ requests: 40, in_flight: 4, seed: 13 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse, { late_pause_ms: 0 });
  const of = (node: string): typeof simulation.batches => simulation.batches.filter((batch) => batch.node === node);
  const feed = async (node: string): Promise<void> => {
    for (const batch of of(node)) {
      await warehouse.apply(batch);
      await correlator.cycle();
    }
  };
  await feed('node-1');
  const roots = (await warehouse.query('SELECT DISTINCT trace_id FROM spans')).rows.map(([id]) => String(id));
  await feed('node-0');
  await correlator.finish();
  await oneSegment(warehouse);
  const led = async (): Promise<unknown> => (await warehouse.query('SELECT count(DISTINCT a.old_trace_id) FROM trace_aliases a JOIN traces t ON t.trace_id = a.trace_id WHERE list_contains($1, a.old_trace_id)', [roots])).rows[0]?.[0];
  expect(await led()).toBe(80n);
  let pieces = 0;
  await recorrelate(warehouse, { ...FOREVER, most_spans: 60, progress: () => (pieces += 1) });
  expect(pieces).toBeGreaterThan(2);
  expect(await led()).toBe(80n);
});

const at = (seconds: number): bigint => BigInt(Math.round(seconds * 1000)) * 1_000_000n;

interface Asked {
  readonly socket: number;
  readonly thread: number;
  readonly role: 'server' | 'client';
  readonly exchange?: number;
  readonly asked: number;
  /** Seconds; absent: its answer was lost. */
  readonly answered?: number;
}

function exchange({ socket, thread, role, exchange: exchange_no = 0, asked, answered }: Asked): Row[] {
  const own = {
    socket_id: socket, conn_id: socket, process_id: 1, role, protocol: 'http', exchange_no, stream_offset: 10 * exchange_no, end_offset: 10 * exchange_no + 10, first_thread_id: thread, last_thread_id: thread,
    complete: true, partial: false, end_reason: 'no_body', method: 'GET', path: '/',
  };
  const [request_direction, answer_direction] = role === 'server' ? ['in', 'out'] : ['out', 'in'];
  const request = { ...own, kind: 'request', direction: request_direction, ts_ns: at(asked), end_ts_ns: at(asked) };
  return answered === undefined ? [request] : [request, { ...own, kind: 'response', direction: answer_direction, ts_ns: at(answered), end_ts_ns: at(answered), end_reason: 'length', status: 200 }];
}

/** A request a second besides, so that there are parts; each batch is of a second. */
async function storeOnce(asked: readonly Asked[], seconds: number, { sealed_at }: { sealed_at?: number } = {}): Promise<Warehouse> {
  const warehouse = await open();
  const correlator = new Correlator(warehouse);
  const all = [...asked, ...Array.from({ length: seconds }, (_, second): Asked => ({ socket: 1000 + second, thread: 1000 + second, role: 'server', asked: second + 0.6, answered: second + 0.65 }))].flatMap(exchange);
  for (let second = 0; second <= seconds; second += 1) {
    const messages = all.filter(({ ts_ns }) => (ts_ns as bigint) >= at(second) && (ts_ns as bigint) < at(second + 1));
    await warehouse.apply(makeBatch({ sequence: BigInt(second + 1), watermark_ns: at(second + 1) }, { messages }));
    await correlator.cycle();
    if (second + 1 === sealed_at) await warehouse.seal();
  }
  await correlator.finish();
  await oneSegment(warehouse);
  return warehouse;
}

const told = async (warehouse: Warehouse): Promise<unknown[][]> => (await warehouse.query('SELECT socket_id, start_ns // 1000000, end_ns // 1000000, end_reason, parent_span_id IS NOT NULL FROM stored.spans ORDER BY ALL')).rows;

test('an end that is known only when a later part is worked on: the span is written all the same', async () => {
  const warehouse = await storeOnce([
    { socket: 5, thread: 5, role: 'server', asked: 5.2 },
    { socket: 5, thread: 5, role: 'server', exchange: 1, asked: 5.5, answered: 13.5 },
  ], 16);
  const before = await told(warehouse);
  expect(before.filter(([socket]) => socket === 5n)).toEqual([[5n, 5200n, 5500n, 'gap', false], [5n, 5500n, 13500n, 'length', false]]);
  expect(await recorrelate(warehouse, { ...FOREVER, most_spans: 3 })).toEqual({ spans: 18, kept: 0, unchanged: 18, links_gained: 0, links_lost: 0, links_moved: 0 });
  expect(await told(warehouse)).toEqual(before);
});

test('a long request whose raw rows have gone keeps the calls of earlier parts', async () => {
  const warehouse = await storeOnce([
    { socket: 5, thread: 5, role: 'server', asked: 0.5, answered: 9 },
    { socket: 6, thread: 5, role: 'client', asked: 3.2, answered: 3.3 },
  ], 12, { sealed_at: 2 });
  const before = await told(warehouse);
  expect(before.filter(([socket]) => socket === 6n)).toEqual([[6n, 3200n, 3300n, 'length', true]]);
  await warehouse.drop((sealed) => sealed.filter(({ kind }) => kind === 'raw').toSorted((a, b) => Number(a.to_ns - b.to_ns)).slice(0, 1), () => 'age');
  const report = await recorrelate(warehouse, { ...FOREVER, most_spans: 3 });
  expect(report).toMatchObject({ spans: 14, unchanged: 14 });
  expect(report.kept).toBeGreaterThan(2);
  expect(await told(warehouse)).toEqual(before);
});
