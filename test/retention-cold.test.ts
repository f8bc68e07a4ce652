import { cpSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { makeBatch } from './support/make-batch.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const VIEWS = ['socket_events', 'messages', 'processes', 'losses', 'sockets', 'spans', 'traces', 'span_links', 'exchanges', 'ids', 'trace_aliases'];
let folder: string;
let remove: () => void;
let data: string;
let warehouse: Warehouse;
let trace_id: string;
const lines: string[] = [];

beforeEach(async () => {
  ({ folder, remove } = keptFolder());
  data = join(folder, 'data');
  mkdirSync(data);
  const shop = await shopWarehouse(data);
  ({ warehouse } = shop);
  trace_id = await shop.traceOf('/orders/9');
  await warehouse.close();
  lines.length = 0;
  await reopen();
});

afterEach(async () => {
  await warehouse.close();
  remove();
});

async function reopen(read_only = false): Promise<void> {
  await warehouse.close();
  warehouse = await Warehouse.open({ folder: data, seal_every_ms: 0, retire_after_ms: 1, read_only, log: (line) => lines.push(line) });
}

const scheduler = (): ExportScheduler => new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) });
const rowsOf = async (sql: string): Promise<unknown[][]> => (await warehouse.query(sql)).rows;

async function everything(): Promise<Map<string, unknown[][]>> {
  const found = new Map<string, unknown[][]>();
  for (const view of VIEWS) found.set(view, await rowsOf(`SELECT * FROM ${view} ORDER BY ALL`));
  return found;
}

async function answers(): Promise<unknown[]> {
  const app = buildApp({ warehouse }, { now_ns: () => NOW_NS });
  const urls = [`/api/v1/traces/${trace_id}`, `/api/v1/traces/${trace_id}/evidence`, `/api/v1/traces?limit=50&start=${NOW_NS - 100_000_000_000n}&end=${NOW_NS}`];
  const bodies = [];
  for (const url of urls) {
    const answer = await app.inject(url);
    bodies.push([answer.statusCode, answer.json()]);
  }
  await app.close();
  return bodies;
}

async function exportTo(destination: string, relations?: string[]): Promise<string> {
  const { export_id } = await scheduler().add({ destination, ...(relations === undefined ? {} : { relations }) });
  await scheduler().run(export_id);
  return export_id;
}

const dropAll = () => warehouse.drop((sealed) => sealed, () => 'age');

test('what was exported and dropped is answered as if it had stayed: at once, after a restart, and by a reader', async () => {
  const before = await everything();
  const said = await answers();
  expect(before.get('spans')).toHaveLength(78);
  await exportTo(join(folder, 'parquet'));
  await dropAll();
  expect(await rowsOf('SELECT (SELECT count(*) FROM stored.spans), (SELECT count(*) FROM stored.socket_events)')).toEqual([[0n, 0n]]);
  expect(await everything()).toEqual(before);
  expect(await answers()).toEqual(said);
  await reopen();
  expect(readdirSync(data)).not.toContain('cold');
  expect(await everything()).toEqual(before);
  expect(await answers()).toEqual(said);
  await reopen(true);
  expect(await everything()).toEqual(before);
  await reopen();
  expect(lines).toEqual([]);
});

test('hot and cold rows are one relation, and rows that two exports have written are read once', async () => {
  await exportTo(join(folder, 'one'));
  await exportTo(join(folder, 'two'));
  const event = { mono_ns: 1, socket_id: 1, op: 'read', bytes: 1, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false };
  await warehouse.apply(makeBatch({ sequence: 2n, node: 'node-2', run_id: 8n }, { socket_events: [{ ...event, ts_ns: NOW_NS + 1n, stream_offset: 1 }] }));
  await warehouse.seal();
  const before = await everything();
  await warehouse.drop((sealed) => sealed.filter((segment) => warehouse.exports.exportedBy(segment).length === 2), () => 'age');
  expect(await rowsOf('SELECT count(*) FROM stored.socket_events')).toEqual([[1n]]);
  expect(await everything()).toEqual(before);
  await exportTo(join(folder, 'two'));
  await exportTo(join(folder, 'one'));
  await dropAll();
  expect(await everything()).toEqual(before);
});

test('killed between the ledger and the file that was to go: its rows are there once', async () => {
  await exportTo(join(folder, 'parquet'));
  const before = await everything();
  cpSync(data, join(folder, 'saved'), { recursive: true });
  await dropAll();
  await warehouse.close();
  for (const kind of ['raw', 'derived']) cpSync(join(folder, 'saved', kind), join(data, kind), { recursive: true });
  await reopen();
  expect(Number((await rowsOf('SELECT count(*) FROM stored.spans'))[0]?.[0])).toBe(78);
  expect(await everything()).toEqual(before);
});

test('files that somebody took away are left out, and said to be', async () => {
  await exportTo(join(folder, 'parquet'));
  await dropAll();
  await warehouse.close();
  rmSync(join(folder, 'parquet', 'spans'), { recursive: true });
  await reopen();
  expect(await rowsOf('SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM socket_events)')).toEqual([[0n, 100n]]);
  expect(lines).toEqual([expect.stringMatching(/^rows that were exported to .*\/spans\/.* are left out of answers: it is not there$/)]);
});

test('exported files that have gone or were cut short keep nothing from being sealed, dropped and started again', async () => {
  const [to, event] = [join(folder, 'parquet'), { ts_ns: NOW_NS, socket_id: 1n, op: 'read', bytes: 1n, layer: 'socket' }];
  const add = async (sequence: bigint): Promise<void> => {
    await warehouse.apply(makeBatch({ node: 'node-9', run_id: 9n, sequence, watermark_ns: NOW_NS }, { socket_events: [event] }));
    await warehouse.seal();
  };
  await exportTo(to, ['socket_events']);
  await dropAll();
  await reopen(); // the files are read in their own places
  expect(await rowsOf('SELECT count(*) FROM socket_events')).toEqual([[100n]]);
  rmSync(join(to, 'socket_events'), { recursive: true });
  await add(1n);
  await exportTo(to, ['socket_events']);
  await dropAll();
  await add(2n);
  expect(await rowsOf('SELECT count(*) FROM socket_events')).toEqual([[2n]]);
  const written = readdirSync(to, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.parquet'));
  truncateSync(join(to, written[0] as string), 8);
  await reopen();
  expect(await rowsOf('SELECT count(*) FROM socket_events')).toEqual([[1n]]);
  expect(lines.at(-1)).toMatch(/left out of answers: it no longer has the \d+ bytes that were written/);
});

test('while retention drops what was exported, lookups have each row once', async () => {
  await exportTo(join(folder, 'parquet'));
  const counts: unknown[] = [];
  let dropping = true;
  const dropped = dropAll().finally(() => (dropping = false));
  const all = { from_ns: 0n, to_ns: NOW_NS * 2n };
  while (dropping) counts.push(...(await rowsOf(`SELECT count(*) FROM ${warehouse.keptBetween('derived', 'spans', all.from_ns, all.to_ns)}`)).flat());
  await dropped;
  expect(new Set(counts)).toEqual(new Set([78n]));
});

test('a segment that is correlated again while its files are on their way is in the folder once', async () => {
  const to = join(folder, 'parquet');
  const { export_id } = await scheduler().add({ destination: to, relations: ['spans'] });
  rmSync(to, { recursive: true, force: true });
  writeFileSync(to, 'no folder, so that nothing arrives');
  const ledger = warehouse.exports;
  const commit = ledger.commitSegment.bind(ledger);
  let again: Promise<void> | undefined;
  ledger.commitSegment = async (id, segment, files) => {
    await commit(id, segment, files);
    if (again !== undefined) return;
    again = warehouse.replaceDerived([segment.uid], async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans FROM "${segment.alias}".main.spans`)));
    await new Promise((resolve) => setTimeout(resolve, 50)); // it waits for this segment to be free, before the run takes the next one
  };
  await expect(scheduler().run(export_id)).rejects.toThrow(to);
  await again;
  // It was on its way when it was done again, or this says nothing.
  expect((await ledger.files("state = 'retracted'")).length).toBeGreaterThan(0);
  rmSync(to);
  await scheduler().run(export_id);
  const reader = await (await DuckDBInstance.create(':memory:')).connect();
  expect((await reader.runAndReadAll(`SELECT count(*), count(DISTINCT span_id) FROM read_parquet('${to}/**/*.parquet', hive_partitioning = false)`)).getRows()).toEqual([[78n, 78n]]);
  reader.closeSync();
});

test('what no folder has of a segment is gone when it is dropped', async () => {
  await exportTo(join(folder, 'parquet'), ['spans']);
  await dropAll();
  expect(await rowsOf('SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM span_links), (SELECT count(*) FROM socket_events)')).toEqual([[78n, 0n, 0n]]);
});

test('conditions on time and trace skip what cannot match', async () => {
  await exportTo(join(folder, 'parquet'));
  await dropAll();
  const plan = String((await rowsOf(`EXPLAIN (FORMAT json) SELECT * FROM spans WHERE start_ns > ${NOW_NS - 9_500_000_000n} AND trace_id = '${trace_id}'`))[0]?.[1]);
  expect(plan).toMatch(/start_time_unix_nano\s*>\s*\d+/);
  expect(plan).toContain(`trace_id='${trace_id}'`);
});
