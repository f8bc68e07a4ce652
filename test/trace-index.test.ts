// However long the history is, a lookup reads the files in which its trace may be and no others, and misses nothing.
import { join } from 'node:path';
import { mkdirSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { buildApp } from '../api/app.ts';
import type { Trace, TraceSummary } from '../api/trace-json.ts';
import { joinNearest } from '../ingest/trace-index.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { EPOCH_NS, storeSpans, traceId } from './support/stored-spans.ts';
import { keptFolder } from './support/temporary-folder.ts';

const FILES = 12;
const MINUTE = 60_000_000_000n;
const SECOND = 1_000_000_000n;
const NOW_NS = EPOCH_NS + 3600n * SECOND;
const begin = (file: number): bigint => EPOCH_NS + BigInt(file) * MINUTE;

/** Trace 1 of each file, three spans; its second span starts 5 s before its root: another node's clock. */
const ORDINARY = (file: number): string =>
  `SELECT ${begin(file)} AS trace_hi, 1 AS trace_lo, ${file * 100} + i AS span_id, CASE WHEN i > 1 THEN ${file * 100} + 1 END AS parent_span_id,
    ${begin(file)} + CASE WHEN i = 2 THEN -5000000000 ELSE i * 1000 END AS start_ns, ${begin(file)} + 1000000 - i AS end_ns FROM range(1, 4) AS r (i)`;
/** Begins with the history; a span of it ends in each of these files. */
const [LONG, LONG_IN] = [traceId(EPOCH_NS - SECOND, 7n), [0, 5, 9]];
const LATE = (file: number): string => `SELECT ${EPOCH_NS - SECOND} AS trace_hi, 7 AS trace_lo, ${7000 + file} AS span_id, NULL AS parent_span_id, ${begin(file)} - 3000000 AS start_ns, ${begin(file)} AS end_ns`;
/** Its alias lies in file 3, where its trace is; its own time is that of file 1. */
const OLD_ID = traceId(begin(1) + 17n, 5n);
const ordinaryId = (file: number): string => traceId(begin(file), 1n);

const { folder, remove } = keptFolder();
const data = join(folder, 'data');
let warehouse: Warehouse;
let app: FastifyInstance;
let kept: ReturnType<typeof vi.spyOn>;
const lines: string[] = [];

async function open(read_only = false): Promise<void> {
  warehouse = await Warehouse.open({ folder: data, seal_every_ms: 0, retire_after_ms: 1, read_only, log: (line) => lines.push(line), more_folders: [join(folder, 'parquet')] });
  kept = vi.spyOn(warehouse, 'keptWhere');
  app = buildApp({ warehouse }, { now_ns: () => NOW_NS });
}

async function close(): Promise<void> {
  await app.close();
  await warehouse.close();
}

beforeAll(async () => {
  mkdirSync(data);
  mkdirSync(join(folder, 'parquet'));
  await open();
  for (let file = 0; file < FILES; file++) {
    await storeSpans(warehouse, [ORDINARY(file), ...(LONG_IN.includes(file) ? [LATE(file)] : [])].join(' UNION ALL '));
    if (file === 3) await warehouse.withDerived(async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.trace_aliases VALUES ('${OLD_ID}', '${ordinaryId(3)}')`)));
    await warehouse.seal();
  }
});

afterAll(async () => {
  await close();
  remove();
});

/** Sealed segments and exported files that the requests since the last call named. */
function filesRead(): number {
  const text = kept.mock.results.map(({ value }) => String(value)).join(' ');
  kept.mockClear();
  return new Set(text.match(/"derived_[0-9a-f]{12}"|'[^']+\.parquet'/g) ?? []).size;
}

async function lookUp(id: string): Promise<{ trace: Trace; files: number }> {
  kept.mockClear();
  const answer = await app.inject(`/api/v1/traces/${id}`);
  expect(answer.statusCode, answer.body).toBe(200);
  return { trace: answer.json() as Trace, files: filesRead() };
}

async function expectSameAsViews(): Promise<void> {
  for (const id of [ordinaryId(0), ordinaryId(5), ordinaryId(11), LONG]) {
    const { trace } = await lookUp(id);
    const { rows } = await warehouse.query('SELECT span_id, parent_span_id, start_ns::VARCHAR, duration_ns::VARCHAR, span_name FROM spans WHERE trace_id = $1 ORDER BY start_ns, span_id', [id]);
    expect(trace.spans.map((span) => [span.span_id, span.parent_span_id, span.start_time_unix_nano, span.duration_ns, span.span_name])).toEqual(rows);
    expect(rows.length).toBe(3);
  }
}

async function search(query: string): Promise<{ ids: string[]; files: number; searched: { start: string; end: string } }> {
  kept.mockClear();
  const answer = await app.inject(`/api/v1/traces?${query}`);
  expect(answer.statusCode, answer.body).toBe(200);
  const { traces, searched } = answer.json() as { traces: TraceSummary[]; searched: { start: string; end: string } };
  return { ids: traces.map(({ trace_id }) => trace_id), files: filesRead(), searched };
}

describe('a lookup reads the files that its trace is in', () => {
  test('one of many, three for a long trace, the right ones for a renamed one, none for what is not there', async () => {
    expect((await lookUp(ordinaryId(6))).files).toBe(1);
    expect((await lookUp(LONG)).files).toBe(LONG_IN.length);
    const renamed = await lookUp(OLD_ID);
    expect([renamed.trace.trace_id, renamed.files]).toEqual([ordinaryId(3), 1]);
    kept.mockClear();
    for (const id of [traceId(NOW_NS, 1n), 'f'.repeat(32), '0'.repeat(32)]) expect((await app.inject(`/api/v1/traces/${id}`)).statusCode).toBe(404);
    expect(filesRead()).toBe(0);
    await expectSameAsViews();
  });

  test('what is not sealed yet is read besides', async () => {
    await storeSpans(warehouse, ORDINARY(FILES));
    const { trace, files } = await lookUp(ordinaryId(FILES));
    expect([trace.span_count, files]).toEqual([3, 0]);
    await warehouse.seal();
    expect((await lookUp(ordinaryId(FILES))).files).toBe(1);
  });

  test('children and evidence too', async () => {
    kept.mockClear();
    expect((await app.inject(`/api/v1/traces/${ordinaryId(4)}/spans/${(401).toString(16).padStart(16, '0')}/children`)).json()).toMatchObject({ children_count: 2 });
    expect(filesRead()).toBe(1);
    expect((await app.inject(`/api/v1/traces/${ordinaryId(4)}/evidence`)).statusCode).toBe(200);
    expect(filesRead()).toBe(1);
  });
});

test('a search reads the files of its range', async () => {
  const two = await search(`start=${begin(4)}&end=${begin(5) + 1n}`);
  expect([two.ids, two.files]).toEqual([[ordinaryId(5), ordinaryId(4)], 2]);
  const none = await search(`start=${begin(4) + MINUTE / 2n}&end=${begin(4) + MINUTE / 2n + 1n}`);
  expect([none.ids, none.files, none.searched.start]).toEqual([[], 0, '2026-09-21T14:17:50.000000000Z']);
  const newest = await search(`limit=1&end=${begin(FILES) + SECOND}&start=${begin(0) - MINUTE}`);
  expect([newest.ids, newest.files < FILES]).toEqual([[ordinaryId(FILES)], true]);
  const all = await search('limit=100');
  expect(all.ids).toHaveLength(FILES + 2);
  // Where nothing was asked for, from the oldest span that is there; nothing is read to find it.
  expect(all.searched.start).toBe('2026-09-21T14:13:15.000000000Z');
});

test('services and operations of a range: by the start of their spans, whatever trace they are in', async () => {
  kept.mockClear();
  const { services } = (await app.inject(`/api/v1/services?start=${begin(5) - 6_000_000_000n}&end=${begin(5)}`)).json() as { services: { request_count: number; call_count: number }[] };
  expect(services.reduce((sum, { request_count, call_count }) => sum + request_count + call_count, 0)).toBe(2);
  expect(filesRead()).toBe(1);
  expect((await app.inject(`/api/v1/operations?start=${begin(5)}&end=${begin(6) - 10_000_000_000n}`)).json()).toMatchObject({ next_cursor: null });
  expect(filesRead()).toBe(1);
  expect((await app.inject(`/api/v1/graph?end=${begin(0) - 10_000_000_000n}&start=0`)).json()).toMatchObject({ edges: [], nodes: [], truncated: false });
});

test('trace_id in ad-hoc SQL skips what cannot match in every file', async () => {
  const { rows } = await warehouse.query(`EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM spans WHERE trace_id = '${ordinaryId(6)}'`);
  const scanned = (JSON.parse((rows[0] as string[])[1] as string) as { cumulative_rows_scanned: number }).cumulative_rows_scanned;
  const all = (await warehouse.query('SELECT count(*) FROM spans')).rows[0]?.[0] as bigint;
  expect([scanned > 0, scanned < Number(all) / 4]).toEqual([true, true]);
});

describe('the index outlives', () => {
  test('a restart, and its own loss', async () => {
    await close();
    await open();
    expect((await lookUp(LONG)).files).toBe(LONG_IN.length);
    await warehouse.query('DELETE FROM ledger.trace_ranges');
    await close();
    await open(true);
    expect((await lookUp(ordinaryId(6))).files).toBe(1);
    await close();
    await open();
    expect((await lookUp(ordinaryId(6))).files).toBe(1);
    await expectSameAsViews();
  });

  test('compaction: one file then, and nothing kept of those that went', async () => {
    await close();
    warehouse = await Warehouse.open({ folder: data, seal_every_ms: 0, retire_after_ms: 1, compaction: { small: 5, minutes: 60, hours: 48, idle_ms: 0 } });
    await warehouse.compact();
    const sealed = warehouse.segments.filter(({ kind, state }) => kind === 'derived' && state === 'sealed');
    expect(sealed.length).toBeLessThan(FILES);
    expect((await warehouse.query('SELECT count(DISTINCT uid) FROM ledger.trace_ranges')).rows).toEqual([[BigInt(sealed.length)]]);
    await warehouse.close();
    await open();
    await expectSameAsViews();
    expect((await lookUp(traceId(begin(FILES), 1n))).files).toBe(1);
  });

  test('retention: exported files are found by it, and read in whole where it does not know them', async () => {
    const scheduler = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) });
    const { export_id } = await scheduler.add({ destination: join(folder, 'parquet') });
    await scheduler.run(export_id);
    await storeSpans(warehouse, ORDINARY(FILES + 1));
    await warehouse.seal();
    await warehouse.drop((sealed) => sealed.filter((segment) => warehouse.exports.exportedBy(segment).length > 0), () => 'age');
    const { files } = await lookUp(ordinaryId(FILES + 1));
    expect(files).toBe(1);
    expect((await lookUp(LONG)).trace.span_count).toBe(3);
    expect((await lookUp(OLD_ID)).trace.trace_id).toBe(ordinaryId(3));
    await expectSameAsViews();
    await warehouse.query('DELETE FROM ledger.trace_ranges');
    await close();
    await open();
    await expectSameAsViews();
    expect((await lookUp(ordinaryId(FILES + 1))).files).toBeGreaterThan(1);
    expect(lines).toEqual([]);
  });
});

test('ranges are joined where least lies between them', () => {
  const at = (...bounds: [number, number][]) => bounds.map(([from, to]) => ({ from_ns: BigInt(from), to_ns: BigInt(to) }));
  const ranges = at([0, 1], [3, 4], [100, 110], [112, 113], [1000, 1001]);
  expect(joinNearest(ranges, 9)).toEqual(ranges);
  expect(joinNearest(ranges, 3)).toEqual(at([0, 4], [100, 113], [1000, 1001]));
  expect(joinNearest(ranges, 1)).toEqual(at([0, 1001]));
  expect(joinNearest([], 3)).toEqual([]);
});
