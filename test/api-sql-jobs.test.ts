import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import type { SqlJobOptions } from '../api/sql-jobs.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const ENDLESS = 'SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range + b.range = -1';
let folder: string;
let warehouse: Warehouse;
let sql: SqlPool;
let app: FastifyInstance;

beforeEach(async () => {
  folder = temporaryFolder();
  ({ warehouse } = await shopWarehouse(folder));
  sql = new SqlPool(warehouse, { limits: { timeout_ms: 500, max_rows: 2_000_000, at_once: 2 } });
  start({});
});

afterEach(async () => {
  await app.close();
  await sql.close();
  await warehouse.close();
});

function start(sql_jobs: Partial<SqlJobOptions>): void {
  app = buildApp({ warehouse, sql }, { now_ns: () => NOW_NS, sql_jobs });
}

interface Status { readonly query_id: string; readonly state: string; readonly row_count: number | null; readonly bytes: number; readonly result_url: string | null; readonly error: { code: string } | null; readonly elapsed_ms: number }
const submit = async (statement: string, format = 'json', more = {}): Promise<Status> => {
  const answer = await app.inject({ method: 'POST', url: `/api/v1/sql/async?format=${format}`, payload: { sql: statement, ...more } });
  expect([answer.statusCode, answer.headers['location']], answer.body).toEqual([202, `/api/v1/sql/${(answer.json() as Status).query_id}`]);
  return answer.json() as Status;
};
const status = async (query_id: string): Promise<Status> => (await app.inject(`/api/v1/sql/${query_id}`)).json() as Status;
const until = (query_id: string, state: string) => expect.poll(async () => (await status(query_id)).state, { timeout: 25_000 }).toBe(state);

test('asked for now, fetched later, as often as you like', async () => {
  const { query_id } = await submit('SELECT kind, count(*) AS n FROM spans GROUP BY 1 ORDER BY 1');
  await until(query_id, 'done');
  const done = await status(query_id);
  expect(done).toMatchObject({ row_count: 2, truncated: false, error: null, result_url: `/api/v1/sql/${query_id}/result` });
  for (let n = 0; n < 2; n++) {
    const answer = await app.inject(String(done.result_url));
    expect(answer.json()).toMatchObject({ query_id, row_count: 2, rows: [['client', expect.any(String)], ['server', expect.any(String)]] });
    expect(answer.headers['content-length']).toBe(String(done.bytes));
  }
  const arrow = await submit('FROM range(100000)', 'arrow');
  await until(arrow.query_id, 'done');
  const answer = await app.inject(`/api/v1/sql/${arrow.query_id}/result`);
  expect([answer.headers['content-type'], tableFromIPC(answer.rawPayload).numRows]).toEqual(['application/vnd.apache.arrow.stream', 100_000]);
});

test('it may take longer than a request may', async () => {
  const slow = 'SELECT count(*) FROM range(60000) a, range(10000) b WHERE a.range + b.range = -1';
  expect((await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: ENDLESS } })).json()).toMatchObject({ code: 'sql-timeout' });
  const { query_id } = await submit(slow);
  await until(query_id, 'done');
  expect((await app.inject(`/api/v1/sql/${query_id}/result`)).json()).toMatchObject({ rows: [['0']] });
});

test('what goes wrong is told where it is asked for', async () => {
  const refused = await submit("SELECT * FROM '/etc/passwd'");
  await until(refused.query_id, 'failed');
  expect(await status(refused.query_id)).toMatchObject({ error: { code: 'sql-forbidden' }, result_url: null });
  const answer = await app.inject(`/api/v1/sql/${refused.query_id}/result`);
  expect([answer.statusCode, answer.json()]).toEqual([403, expect.objectContaining({ code: 'sql-forbidden' })]);
  const late = await submit(ENDLESS, 'json', { timeout_ms: 100 });
  await until(late.query_id, 'failed');
  expect(await status(late.query_id)).toMatchObject({ error: { code: 'sql-timeout' } });
  expect((await app.inject('/api/v1/sql/no-such')).json()).toMatchObject({ status: 404, code: 'query-not-found' });
});

test('one place is left for those who wait; the next one waits for its turn; a deleted one stops', async () => {
  const first = await submit(ENDLESS);
  const second = await submit('SELECT 2');
  await until(first.query_id, 'running');
  expect((await status(second.query_id)).state).toBe('queued');
  expect((await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: 'SELECT 1' } })).statusCode).toBe(200);
  const early = await app.inject(`/api/v1/sql/${first.query_id}/result`);
  expect([early.statusCode, early.json()]).toEqual([409, expect.objectContaining({ code: 'query-running' })]);
  expect((await app.inject({ method: 'DELETE', url: `/api/v1/sql/${first.query_id}` })).statusCode).toBe(200);
  await until(second.query_id, 'done');
  expect((await app.inject(`/api/v1/sql/${first.query_id}`)).statusCode).toBe(404);
});

test('answers that are too large, too many or too old do not stay', async () => {
  await app.close();
  start({ most_bytes: 100_000, most_jobs: 2, keep_ms: 3000 });
  const large = await submit('FROM range(1000000)', 'csv');
  await until(large.query_id, 'failed');
  expect(await status(large.query_id)).toMatchObject({ error: { code: 'sql-limit' } });
  const small = await submit('SELECT 1');
  await until(small.query_id, 'done');
  const third = await app.inject({ method: 'POST', url: '/api/v1/sql/async', payload: { sql: 'SELECT 1' } });
  expect([third.statusCode, third.json()]).toEqual([429, expect.objectContaining({ code: 'sql-busy' })]);
  await expect.poll(async () => (await app.inject(`/api/v1/sql/${small.query_id}`)).statusCode, { timeout: 10_000 }).toBe(404);
  await expect.poll(() => readdirSync(join(folder, 'tmp', 'sql-answers'))).toEqual([]);
}, 30_000);

test('all answers that are kept have a limit together; deleting one makes room', async () => {
  await app.close();
  start({ most_bytes_kept: 60_000 });
  const ask = (): ReturnType<typeof submit> => submit('FROM range(8000)', 'csv'); // 39 kB
  const first = await ask();
  await until(first.query_id, 'done');
  const second = await ask();
  await until(second.query_id, 'failed');
  expect(await status(second.query_id)).toMatchObject({ error: { code: 'sql-limit' } });
  await app.inject({ method: 'DELETE', url: `/api/v1/sql/${first.query_id}` });
  await until((await ask()).query_id, 'done');
});

test('with the server they go', async () => {
  await submit(ENDLESS);
  const { query_id } = await submit('SELECT 1');
  await app.close();
  expect(existsSync(join(folder, 'tmp', 'sql-answers'))).toBe(false);
  start({});
  expect((await app.inject(`/api/v1/sql/${query_id}`)).statusCode).toBe(404);
});
