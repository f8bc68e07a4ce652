import { expect, onTestFinished, test } from 'vitest';
import type { Batch } from '../ingest/batch.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator, type CorrelatorOptions, type CycleReport } from '../queries/correlator.ts';
import { recorrelate } from '../queries/recorrelate.ts';
import { score } from './queries/score.ts';
import { seededRandom } from '../queries/timing/resolve-service.ts';
import { simulate } from './queries/simulated-services.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const FOREVER = { from_ns: 0n, to_ns: 1n << 62n };
const OPTIONS: CorrelatorOptions = { late_pause_ms: 0 };

async function open(folder = temporaryFolder(), now: () => number = Date.now): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 10, now });
  onTestFinished(() => warehouse.close());
  return warehouse;
}

async function feed(warehouse: Warehouse, correlator: Correlator, batches: readonly Batch[], random: () => number = () => 0): Promise<CycleReport[]> {
  const reports: CycleReport[] = [];
  for (const batch of batches) {
    await warehouse.apply(batch);
    if (random() < 0.5) reports.push(await correlator.cycle());
    if (random() > 0.9) await warehouse.seal();
  }
  return reports;
}

/** Everything derived, without what says when it was derived. */
async function derived(warehouse: Warehouse): Promise<unknown[][]> {
  const rows: unknown[][] = [];
  for (const table of ['spans', 'exchanges', 'span_links']) {
    const result = await warehouse.query(`SELECT * FROM stored.${table} ORDER BY ALL`);
    rows.push(...result.rows.map((row) => [table, ...row.map((value) => String(value))]));
  }
  return rows;
}

test('concurrent requests over pooled connections between nodes: every link is right', async () => {
  const simulation = simulate({ requests: 200, in_flight: 8, fresh_share: 0.2, opaque_share: 0.2 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  await feed(warehouse, correlator, simulation.batches);
  await correlator.finish();
  expect(await score(warehouse, simulation)).toEqual({ exact: 200, orphaned: 0, wrong: 0 });
  const { rows } = await warehouse.query("SELECT min(span_count), max(span_count), any_value(root_service), max(root_name), count(*), bool_and(complete) FROM traces");
  expect(rows).toEqual([[7n, 7n, 'A', 'exchange', 200n, true]]);
});

test.each([400, 4000])('clocks that differ by up to %i ms change no link, live and in history by pieces', async (skew_ms) => {
  const simulation = simulate({ requests: 100, in_flight: 8, nodes: 3, skew_ms, seed: 5 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  await feed(warehouse, correlator, simulation.batches);
  await correlator.finish();
  expect(await score(warehouse, simulation)).toEqual({ exact: 100, orphaned: 0, wrong: 0 });
  await warehouse.seal();
  await recorrelate(warehouse, { ...FOREVER, most_spans: 1 });
  expect(await score(warehouse, simulation)).toEqual({ exact: 100, orphaned: 0, wrong: 0 });
});

test('files are put together after history was done again: its working set is gone, and would not stand before their tables', async () => {
  const simulation = simulate({ requests: 100, in_flight: 8, batch_ms: 100 });
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10, compaction: { small: 3, minutes: 60, hours: 48, idle_ms: 0 } });
  onTestFinished(() => warehouse.close());
  const correlator = new Correlator(warehouse, OPTIONS);
  for (const batch of simulation.batches) {
    await warehouse.apply(batch);
    await warehouse.seal();
  }
  await correlator.finish();
  await warehouse.seal();
  let left: unknown[][] = [];
  await recorrelate(warehouse, FOREVER);
  await warehouse.replaceDerived(warehouse.derivedSegments(0n, 1n << 62n).map(({ id }) => id), async (alias, connection) => {
    left = (await connection.runAndReadAll("SELECT table_name FROM duckdb_tables() WHERE database_name = 'temp' UNION ALL SELECT view_name FROM duckdb_views() WHERE database_name = 'temp' AND NOT internal")).getRows();
    await connection.run('CREATE OR REPLACE TEMP TABLE messages AS SELECT 1 AS one; CREATE OR REPLACE TEMP TABLE exchanges AS SELECT 1 AS one');
    await connection.run(`INSERT INTO ${alias}.spans FROM stored.spans`);
  });
  expect(left).toEqual([]);
  const before = warehouse.segments.length;
  await warehouse.compact();
  expect(warehouse.segments.length).toBeLessThan(before);
  const { rows } = await warehouse.query("SELECT count(*) > 0 FROM duckdb_tables() WHERE table_name LIKE 'messages_packed_%'");
  expect(rows).toEqual([[true]]);
  expect(await score(warehouse, simulation)).toEqual({ exact: 100, orphaned: 0, wrong: 0 });
});

test('live, in whatever cycles, says the same as history done at once; twice changes nothing', async () => {
  const simulation = simulate({ requests: 150, in_flight: 12, fresh_share: 0.3, seed: 7 });
  const answers: unknown[][][] = [];
  for (const seed of [1, 2]) {
    const warehouse = await open();
    const correlator = new Correlator(warehouse, OPTIONS);
    await feed(warehouse, correlator, simulation.batches, seededRandom(seed));
    await correlator.finish();
    await correlator.finish();
    expect(await correlator.cycle()).toMatchObject({ messages: 0, spans: 0, late: 0 });
    answers.push(await derived(warehouse));
    if (seed === 2) {
      expect(await recorrelate(warehouse, FOREVER)).toEqual({ spans: 1050, kept: 0, unchanged: 1050, links_gained: 0, links_lost: 0, links_moved: 0 });
      answers.push(await derived(warehouse));
    }
  }
  const once = await open();
  for (const batch of simulation.batches) await once.apply(batch);
  await new Correlator(once, OPTIONS).finish();
  const expected = await derived(once);
  for (const answer of answers) expect(answer).toEqual(expected);
});

test('history in pieces, each with what the one before has left: the same as live', async () => {
  const simulation = simulate({ requests: 150, in_flight: 12, fresh_share: 0.3, seed: 7 });
  const folder = temporaryFolder();
  const parts = 4;
  const size = Math.ceil(simulation.batches.length / parts);
  for (let part = 0; part < parts; part += 1) {
    const warehouse = await open(folder);
    await feed(warehouse, new Correlator(warehouse, OPTIONS), simulation.batches.slice(part * size, (part + 1) * size));
    await warehouse.close();
  }
  const warehouse = await open(folder);
  await new Correlator(warehouse, OPTIONS).finish();
  const live = await derived(warehouse);
  let pieces = 0;
  expect(await recorrelate(warehouse, { ...FOREVER, most_spans: 1, many_rows: 0, progress: () => (pieces += 1) })).toEqual({ spans: 1050, kept: 0, unchanged: 1050, links_gained: 0, links_lost: 0, links_moved: 0 });
  expect(pieces).toBeGreaterThan(1);
  expect(await derived(warehouse)).toEqual(live);
  let failed = 0;
  const observe = (): void => {
    if (failed === 0 && (failed += 1)) throw new Error('Out of Memory Error: could not allocate block');
  };
  pieces = 0;
  expect(await recorrelate(warehouse, { ...FOREVER, observe, progress: () => (pieces += 1) })).toMatchObject({ spans: 1050, unchanged: 1050 });
  expect([failed, pieces > 1]).toEqual([1, true]);
  expect(await derived(warehouse)).toEqual(live);
  expect(await score(warehouse, simulation)).toEqual({ exact: 150, orphaned: 0, wrong: 0 });
});

test('a restart in the middle loses and repeats nothing', async () => {
  const simulation = simulate({ requests: 120, in_flight: 8, nodes: 1, opaque_share: 0.2, seed: 3 });
  const folder = temporaryFolder();
  const middle = Math.floor(simulation.batches.length / 2);
  let warehouse = await open(folder);
  await feed(warehouse, new Correlator(warehouse, OPTIONS), simulation.batches.slice(0, middle));
  await warehouse.close();
  warehouse = await open(folder);
  const correlator = new Correlator(warehouse, OPTIONS);
  await feed(warehouse, correlator, simulation.batches.slice(middle));
  await correlator.finish();
  expect(await score(warehouse, simulation)).toEqual({ exact: 120, orphaned: 0, wrong: 0 });
  const { rows } = await warehouse.query('SELECT count(*), count(DISTINCT span_id) FROM spans');
  expect(rows).toEqual([[840n, 840n]]);
});

test('a node whose batches come late: its part of history is done again, old ids still lead to their traces', async () => {
  const simulation = simulate({ requests: 60, in_flight: 4, seed: 11 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  const [first, second] = [simulation.batches.filter((batch) => batch.node === 'node-0'), simulation.batches.filter((batch) => batch.node === 'node-1')];
  await feed(warehouse, correlator, first);
  const before = await warehouse.query('SELECT count(*) FROM spans');
  expect(before.rows).toEqual([[300n]]);
  await feed(warehouse, correlator, second);
  await correlator.finish();
  expect(await score(warehouse, simulation)).toEqual({ exact: 60, orphaned: 0, wrong: 0 });
});

test('what led to nothing gets a name when its cause comes late', async () => {
  const simulation = simulate({ requests: 40, in_flight: 4, seed: 13 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  const [first, second] = [simulation.batches.filter((batch) => batch.node === 'node-0'), simulation.batches.filter((batch) => batch.node === 'node-1')];
  await feed(warehouse, correlator, second);
  const roots = (await warehouse.query('SELECT DISTINCT trace_id FROM spans')).rows.map(([id]) => String(id));
  expect(roots.length).toBe(80);
  await feed(warehouse, correlator, first);
  await correlator.finish();
  expect(await score(warehouse, simulation)).toEqual({ exact: 40, orphaned: 0, wrong: 0 });
  const found = await warehouse.query('SELECT count(DISTINCT a.old_trace_id) FROM trace_aliases a JOIN traces t ON t.trace_id = a.trace_id WHERE list_contains($1, a.old_trace_id)', [roots]);
  expect(found.rows).toEqual([[80n]]);
});

test('under losses links may be missing, none is wrong, and what a loss touches says so', async () => {
  const simulation = simulate({ requests: 200, in_flight: 8, seed: 17, losses_ms: [[30, 8], [60, 5]] });
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  await feed(warehouse, correlator, simulation.batches);
  await correlator.finish();
  const result = await score(warehouse, simulation);
  expect(result.exact).toBeGreaterThan(20);
  expect(result.exact).toBeLessThan(200);
  expect(result.wrong).toBe(0);
  const { rows } = await warehouse.query('SELECT count(*) FROM traces WHERE span_count < 7 AND complete');
  // an end that was lost just outside of what the other end saw of the loss
  expect(Number(rows[0]?.[0])).toBeLessThan(8);
});

test.each(['goes on', 'is started again'])('what a slow node holds back is told when that node has spoken, by a correlator that %s', async (meanwhile) => {
  const simulation = simulate({ requests: 300, in_flight: 1, nodes: 1, opaque_share: 0, seed: 19, batch_ms: 50 });
  const marks = simulation.batches.map((batch) => batch.watermark_ns).toSorted((a, b) => Number(a - b));
  const slow = (sequence: bigint, watermark_ns: bigint): Batch => makeBatch({ node: 'slow', boot_id: 'slow', run_id: 77n, sequence, watermark_ns });
  const folder = temporaryFolder();
  const options = { ...OPTIONS, silent_ms: 600_000 };
  let warehouse = await open(folder);
  let correlator = new Correlator(warehouse, options);
  // Told up to a third, and the margin between nodes.
  await warehouse.apply(slow(1n, (marks[0] as bigint) + ((marks.at(-1) as bigint) - (marks[0] as bigint)) / 3n + 300_000_000n));
  for (const [at, batch] of simulation.batches.entries()) {
    await warehouse.apply(batch);
    if (at % 5 === 0) await correlator.cycle();
  }
  await correlator.cycle();
  const before = Number((await warehouse.query('SELECT count(*) FROM spans')).rows[0]?.[0]);
  expect(before).toBeGreaterThan(7);
  expect(before).toBeLessThan(1400);
  await warehouse.seal();
  if (meanwhile === 'is started again') {
    await warehouse.close();
    warehouse = await open(folder);
    correlator = new Correlator(warehouse, options);
    await correlator.cycle();
  }
  await warehouse.apply(slow(2n, (marks.at(-1) as bigint) + 1_000_000_000n));
  expect(await correlator.cycle()).toMatchObject({ messages: 0, late: 0 });
  expect(await score(warehouse, simulation)).toEqual({ exact: 300, orphaned: 0, wrong: 0 });
  const { rows } = await warehouse.query('SELECT count(*), count(DISTINCT span_id) FROM spans');
  expect(rows).toEqual([[2100n, 2100n]]);
});

const CALL = { socket_id: 1, conn_id: 1, process_id: 9, role: 'server', kind: 'request', direction: 'in', protocol: 'http', exchange_no: 0, stream_offset: 0, end_offset: 10, first_thread_id: 5, last_thread_id: 5, complete: true, partial: false, end_reason: 'no_body', method: 'GET', path: '/' };

test('a request without an answer ends with its socket, with its run, or when it has been open for too long', async () => {
  let now_ms = 1_000_000;
  const warehouse = await open(undefined, () => now_ms);
  const correlator = new Correlator(warehouse, { now_ms: () => now_ms, limits: { open_limit_ns: 600_000_000_000n } });
  const second = 1_000_000_000n;
  const at = (s: number): bigint => BigInt(s) * second;
  await warehouse.apply(makeBatch({ sequence: 1n, watermark_ns: at(20) }, {
    messages: [
      { ...CALL, ts_ns: at(10), end_ts_ns: at(10) },
      { ...CALL, socket_id: 2, conn_id: 2, first_thread_id: 6, ts_ns: at(11), end_ts_ns: at(11) },
      { ...CALL, socket_id: 3, conn_id: 3, first_thread_id: 7, ts_ns: at(12), end_ts_ns: at(12), partial: true, end_reason: 'open' },
    ],
    socket_events: [{ ts_ns: at(15), socket_id: 1, op: 'close', layer: 'socket' }],
  }));
  await correlator.cycle();
  const spans = async (): Promise<unknown> => (await warehouse.query("SELECT socket_id, epoch_ns(end_time) // 1000000000, status, complete, json_extract_string(attributes, 'end_reason') FROM spans ORDER BY socket_id")).rows.map((row) => row.map(String).join(' '));
  expect(await spans()).toEqual(['1 15 error true close']);
  await warehouse.apply(makeBatch({ sequence: 2n, watermark_ns: at(613) }));
  await correlator.cycle();
  expect(await spans()).toEqual(['1 15 error true close', '2 611 unset false open', '3 612 unset false open']);
  await warehouse.apply(makeBatch({ sequence: 3n, watermark_ns: at(620) }, { messages: [{ ...CALL, socket_id: 4, conn_id: 4, first_thread_id: 8, ts_ns: at(615), end_ts_ns: at(615) }] }));
  await correlator.cycle();
  now_ms += 11_000;
  await correlator.cycle();
  expect(await spans()).toEqual(['1 15 error true close', '2 611 unset false open', '3 612 unset false open', '4 620 unset false stop']);
});

test('a request that was told while it was open counts once: by its newest row, and by the finished one as soon as that is there', async () => {
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  const at = (ms: number): bigint => 1_000_000_000_000n + BigInt(ms) * 1_000_000n;
  const open_row = (socket_id: number, ms: number, end_offset: number) => ({ ...CALL, socket_id, conn_id: socket_id, ts_ns: at(10), end_ts_ns: at(ms), end_offset, partial: true, end_reason: 'open' });
  const answer = (socket_id: number) => ({ ...CALL, socket_id, conn_id: socket_id, kind: 'response', direction: 'out', status: 200, ts_ns: at(90), end_ts_ns: at(95), end_offset: 20 });
  await warehouse.apply(makeBatch({ sequence: 1n, watermark_ns: at(30) }, { messages: [open_row(1, 20, 10), open_row(2, 20, 10), open_row(3, 20, 10)] }));
  await warehouse.apply(makeBatch({ sequence: 2n, watermark_ns: at(60) }, { messages: [open_row(1, 50, 20), open_row(2, 50, 20), open_row(3, 50, 20)] }));
  await correlator.cycle();
  // One is finished in a batch with its answer, one in an earlier one, and one never is.
  await warehouse.apply(makeBatch({ sequence: 3n, watermark_ns: at(85) }, { messages: [{ ...CALL, socket_id: 2, conn_id: 2, ts_ns: at(10), end_ts_ns: at(80), end_offset: 30 }] }));
  await warehouse.apply(makeBatch({ sequence: 4n, watermark_ns: at(500) }, { messages: [{ ...CALL, socket_id: 1, conn_id: 1, ts_ns: at(10), end_ts_ns: at(85), end_offset: 40 }, answer(1), answer(2), answer(3)] }));
  await correlator.cycle();
  await correlator.finish();
  const { rows } = await warehouse.query('SELECT socket_id, request_bytes, complete, count(*) FROM stored.spans GROUP BY ALL ORDER BY ALL');
  expect(rows).toEqual([[1n, 40n, true, 1n], [2n, 30n, true, 1n], [3n, 20n, false, 1n]]);
});

test('history whose raw rows have gone stays as it is when it is correlated again, with its links, and late rows are added to it', async () => {
  const simulation = simulate({ requests: 200, in_flight: 6, nodes: 1, seed: 23, batch_ms: 50 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  const middle = Math.floor(simulation.batches.length / 2);
  await feed(warehouse, correlator, simulation.batches.slice(0, middle));
  await warehouse.seal();
  const [[gone_to]] = (await warehouse.query('SELECT max(ts_ns) FROM stored.messages')).rows as [[bigint]];
  await feed(warehouse, correlator, simulation.batches.slice(middle));
  await correlator.finish();
  const before = await derived(warehouse);
  await warehouse.seal();
  await warehouse.drop((sealed) => sealed.filter(({ kind }) => kind === 'raw').toSorted((a, b) => Number(a.from_ns - b.from_ns)).slice(0, 1), () => 'age');
  const [[left]] = (await warehouse.query('SELECT count(*) FROM stored.messages')).rows as [[bigint]];
  expect(left).toBeGreaterThan(100n);
  for (const most_spans of [1, undefined]) {
    const report = await recorrelate(warehouse, { ...FOREVER, ...(most_spans === undefined ? {} : { most_spans }) });
    expect(report).toMatchObject({ spans: 1400, unchanged: 1400, links_lost: 0, links_moved: 0, links_gained: 0 });
    expect(report.kept).toBeGreaterThan(300);
    expect(report.kept).toBeLessThan(1300);
    expect(await derived(warehouse)).toEqual(before);
  }
  await warehouse.apply(makeBatch({ node: 'away', boot_id: 'away', run_id: 78n, sequence: 1n, watermark_ns: gone_to, final: true }, {
    messages: [{ ...CALL, run_id: 78n, socket_id: 5, conn_id: 5, first_thread_id: 9, ts_ns: gone_to - 2_000_000n, end_ts_ns: gone_to - 2_000_000n }],
    socket_events: [{ ts_ns: gone_to - 1_000_000n, socket_id: 5, op: 'close', layer: 'socket' }],
  }));
  await correlator.finish();
  const after = await derived(warehouse);
  expect(after.length).toBe(before.length + 2);
  const now = new Set(after.map(String));
  expect(before.filter((row) => !now.has(String(row)))).toEqual([]);
}, 60_000);
