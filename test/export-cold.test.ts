import { mkdirSync, readdirSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { ColdCache } from '../queries/export/cold-cache.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { S3Server } from './support/s3-server.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const ENOUGH = 100e6;
let folder: string;
let remove: () => void;
let server: S3Server;
let warehouse: Warehouse;
let cold: ColdCache;
let sql: SqlPool;
let app: FastifyInstance;
let trace_id: string;
let before: unknown[];
const lines: string[] = [];

async function open(limit_bytes: number): Promise<void> {
  warehouse = await Warehouse.open({ folder: join(folder, 'data'), seal_every_ms: 0, retire_after_ms: 1, log: (line) => lines.push(line) });
  await serve(limit_bytes);
}

async function serve(limit_bytes: number): Promise<void> {
  cold = new ColdCache(warehouse, { limit_bytes, log: (line) => lines.push(line), linger_ms: 1 });
  sql = new SqlPool(warehouse);
  app = buildApp({ warehouse, sql, cold }, { now_ns: () => NOW_NS });
}

async function close(): Promise<void> {
  await app.close();
  await sql.close();
  await cold.close();
  await warehouse.close();
}

async function reopen(limit_bytes: number): Promise<void> {
  await close();
  await open(limit_bytes);
}

const range = `start=${NOW_NS - 100_000_000_000n}&end=${NOW_NS}`;
const get = (url: string) => app.inject(url);
const answers = async (): Promise<unknown[]> => Promise.all([get(`/api/v1/traces/${trace_id}`), get(`/api/v1/traces/${trace_id}/evidence`), get(`/api/v1/traces?limit=50&${range}`), get(`/api/v1/graph?${range}`), get(`/jaeger/api/traces/${trace_id}`)].map(async (answer) => (await answer).json()));
const count = (of: string) => app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: `SELECT count(*)::INTEGER AS n FROM ${of}` } });
const copies = (): string[] => readdirSync(join(folder, 'data', 'cold-cache'));
const fetchAll = async (payload: object = {}) => {
  const begun = await app.inject({ method: 'POST', url: '/api/v1/cold', payload });
  await expect.poll(async () => (await get('/api/v1/cold')).json().fetching).toBe(null);
  return begun;
};

beforeEach(async () => {
  ({ folder, remove } = keptFolder());
  lines.length = 0;
  server = await S3Server.start(folder);
  const shop = await shopWarehouse(join(folder, 'data'));
  ({ warehouse } = shop);
  trace_id = await shop.traceOf('/orders/9');
  await serve(ENOUGH);
  before = await answers();
  const scheduler = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) });
  const { export_id } = await scheduler.add({ destination: 's3://traces/all' });
  await scheduler.run(export_id);
  await warehouse.drop((sealed) => sealed, () => 'age');
  await app.close();
  await sql.close();
  await cold.close();
  await serve(ENOUGH);
});

afterEach(async () => {
  await close();
  await server.stop();
  remove();
});

test('lookups bring what they need from the store, and answer as before', async () => {
  expect((await warehouse.query('SELECT count(*) FROM stored.spans')).rows).toEqual([[0n]]);
  expect(await answers()).toEqual(before);
  const found = await get(`/api/v1/traces?limit=50&${range}`);
  expect(found.headers['tracehouse-missing-files']).toBeUndefined();
  expect(lines).toEqual([]);
});

test('SQL says what it did not read, and reads it once it was fetched', async () => {
  const without = await count('spans');
  expect(without.json().rows).toEqual([[0]]);
  expect(Number(without.headers['tracehouse-missing-files'])).toBeGreaterThan(0);
  const job = (await app.inject({ method: 'POST', url: '/api/v1/sql/async', payload: { sql: 'SELECT count(*)::INTEGER AS n FROM spans' } })).json();
  await expect.poll(async () => (await get(`/api/v1/sql/${job.query_id}`)).json().state).toBe('done');
  expect((await get(`/api/v1/sql/${job.query_id}`)).json().missing_files).toBe(Number(without.headers['tracehouse-missing-files']));
  expect((await get(`/api/v1/sql/${job.query_id}/result`)).headers['tracehouse-missing-files']).toBe(without.headers['tracehouse-missing-files']);
  const twice = fetchAll({ relations: ['spans'] });
  expect((await app.inject({ method: 'POST', url: '/api/v1/cold', payload: {} })).json().code).toBe('cold-busy');
  const begun = await twice;
  expect(begun.statusCode).toBe(202);
  const whole = await count('spans');
  expect(whole.json().rows).toEqual([[78]]);
  expect(whole.headers['tracehouse-missing-files']).toBeUndefined();
  const events = await count('socket_events');
  expect([events.json().rows, Number(events.headers['tracehouse-missing-files']) > 0]).toEqual([[[0]], true]);
  await fetchAll();
  expect((await count('socket_events')).json().rows).toEqual([[100]]);
  const state = (await get('/api/v1/cold')).json();
  expect(state.away).toEqual({ files: 0, bytes: 0, rows: 0, first: null, last: null });
  expect(state.cache.bytes).toBe(state.bytes);
  expect((await count('exports')).headers['tracehouse-missing-files']).toBeUndefined();
});

test('what is fetched is still here after a restart; half copies and strangers go', async () => {
  await fetchAll();
  const whole = copies();
  writeFileSync(join(folder, 'data', 'cold-cache', `${'0'.repeat(32)}.parquet`), 'no such file');
  writeFileSync(join(folder, 'data', 'cold-cache', `${whole[0]}.part`), 'half of it');
  await server.goAway();
  await reopen(ENOUGH);
  expect(copies()).toEqual(whole);
  expect(await answers()).toEqual(before);
  expect((await count('spans')).json().rows).toEqual([[78]]);
});

test('a small cache keeps what was used last; what does not fit is said to be missing, or refused', async () => {
  const sizes = new Map((await warehouse.query("SELECT relation, sum(bytes)::BIGINT FROM export_files GROUP BY 1")).rows.map(([relation, bytes]) => [relation as string, Number(bytes)]));
  const [spans, links] = [sizes.get('spans') as number, sizes.get('span_links') as number];
  await reopen(Math.max(spans, links) + 100);
  const search = await get(`/api/v1/traces?limit=50&${range}`);
  expect(search.json()).toMatchObject({ traces: [], searched: { missing_files: Number(search.headers['tracehouse-missing-files']) } });
  expect(search.json().searched.missing_files).toBeGreaterThan(0);
  const lost = await get(`/api/v1/traces/${trace_id}`);
  expect([lost.statusCode, lost.json().code, lost.json().detail]).toEqual([404, 'trace-not-found', expect.stringMatching(/exported files that may hold it are elsewhere/)]);
  const refused = await app.inject({ method: 'POST', url: '/api/v1/cold', payload: {} });
  expect([refused.statusCode, refused.json().code]).toEqual([413, 'cold-too-much']);
  await fetchAll({ relations: ['spans'] });
  expect((await count('spans')).json().rows).toEqual([[78]]);
  expect((await get(`/api/v1/traces?limit=50&${range}`)).json()).toEqual(before[2]);
  await fetchAll({ relations: ['span_links'] });
  expect((await count('spans')).json().rows).toEqual([[0]]);
  expect((await get('/api/v1/cold')).json().cache.bytes).toBe(links);
  await expect.poll(() => copies().length).toBe(Number((await warehouse.query("SELECT count(*) FROM export_files WHERE relation = 'span_links'")).rows[0]?.[0]));
});

test('a copy that makes room and cannot be removed is told, and nothing ends', async () => {
  const [[most]] = (await warehouse.query("SELECT max(bytes)::BIGINT FROM (SELECT sum(bytes) AS bytes FROM export_files WHERE relation IN ('spans', 'span_links') GROUP BY relation)")).rows as [[bigint]];
  await reopen(Number(most) + 100);
  await fetchAll({ relations: ['spans'] });
  const path = join(folder, 'data', 'cold-cache', copies()[0] as string);
  rmSync(path);
  mkdirSync(path);
  await fetchAll({ relations: ['span_links'] });
  await expect.poll(() => lines).toContainEqual(expect.stringMatching(/a copy of an exported file stays until the next start: /));
  rmdirSync(path);
});

test('a store that is away, or gives other bytes, is said to; the next fetch goes on', async () => {
  await server.goAway();
  const lost = await get(`/api/v1/traces/${trace_id}`);
  expect([lost.statusCode, lost.json().mend]).toEqual([404, expect.stringMatching(/fetch/)]);
  await fetchAll();
  expect((await get('/api/v1/cold')).json().last_error).toMatch(/ECONNREFUSED/);
  expect(copies()).toEqual([]);
  await server.comeBack();
  const [path] = (await warehouse.query("SELECT path FROM export_files WHERE relation = 'spans'")).rows[0] as [string];
  writeFileSync(join(server.folder, `${path.replace('s3://', '')}._S3rver_object`), 'PAR1 of somebody else');
  await fetchAll({ relations: ['spans'] });
  expect((await get('/api/v1/cold')).json().last_error).toMatch(/its checksum is another/);
  await fetchAll({ relations: ['socket_events'] });
  expect((await get('/api/v1/cold')).json().last_error).toBe(null);
  expect((await count('socket_events')).json().rows).toEqual([[100]]);
  expect((await count('spans')).json().rows).toEqual([[0]]);
});
