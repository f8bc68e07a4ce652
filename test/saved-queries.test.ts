import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { exportQueries } from '../api/sql-export.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { cookbookQueries } from '../queries/cookbook.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { QUERY_LIMITS } from '../queries/query-book.ts';
import { NOW_NS, ORDERS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder, temporaryFolder } from './support/temporary-folder.ts';

interface Query { id: string; name: string; sql: string; description: string | null; versions: { id: string }[]; permalink: string; source: string }

const { folder, remove } = keptFolder();
const destination = keptFolder();
let warehouse: Warehouse;
let sql: SqlPool;
let app: FastifyInstance;

beforeAll(async () => {
  ({ warehouse } = await shopWarehouse(folder));
  sql = new SqlPool(warehouse);
  app = buildApp({ warehouse, sql, exporter: new ExportScheduler(warehouse, { queries: exportQueries(sql) }) }, { now_ns: () => NOW_NS });
});

afterAll(async () => {
  await app.close();
  await sql.close();
  await warehouse.close();
  remove();
  destination.remove();
});

const post = (payload: object, url = '/api/v1/queries') => app.inject({ method: 'POST', url, payload });
async function save(name: string, sql: string, more: object = {}): Promise<Query> {
  const answer = await post({ name, sql, ...more });
  expect(answer.statusCode, answer.body).toBe(201);
  return answer.json();
}
const get = async (url: string): Promise<Record<string, unknown>> => (await app.inject(url)).json();
const rowsOf = async (url: string): Promise<unknown> => (await get(url))['rows'];
async function refused(work: ReturnType<typeof post>, status: number, code: string): Promise<void> {
  const answer = await work;
  expect([answer.statusCode, (answer.json() as { code: string }).code], answer.body).toEqual([status, code]);
}

describe('saving', () => {
  test('the same text has the same id; a name moves on, and its permalinks stay', async () => {
    const first = await save('moves-on', 'SELECT 1 AS n');
    const second = await save('moves-on', 'SELECT 2 AS n');
    expect((await save('another-name', 'SELECT 1 AS n')).id).toBe(first.id);
    expect((await save('another-name', 'SELECT $n::INTEGER AS n', { params: { n: 1 } })).id).not.toBe((await save('another-name', 'SELECT $n::INTEGER AS n', { params: { n: 2 } })).id);
    expect(await get('/api/v1/queries/moves-on')).toMatchObject({ id: second.id, source: 'saved', saved_at: '2026-09-21T14:13:20.000000000Z', versions: [{ id: first.id }, { id: second.id }] });
    expect([await rowsOf('/api/v1/queries/moves-on/run'), await rowsOf(first.permalink), await rowsOf(second.permalink)]).toEqual([[[2]], [[1]], [[2]]]);
    expect((await save('moves-on', 'SELECT 1 AS n')).versions.map(({ id }) => id)).toEqual([second.id, first.id]);
  });

  test('what the gate refuses is not saved', async () => {
    await refused(post({ name: 'bad', sql: 'SELEC 1' }), 400, 'sql-syntax');
    await refused(post({ name: 'bad', sql: "SELECT * FROM read_csv('/etc/passwd')" }), 403, 'sql-forbidden');
    await refused(post({ name: 'bad', sql: 'DELETE FROM spans' }), 403, 'sql-forbidden');
    await refused(post({ name: 'bad', sql: 'SELECT nothing FROM spans' }), 422, 'sql-failed');
    expect((await app.inject('/api/v1/queries/bad')).statusCode).toBe(404);
  });

  test('names: none of the cookbook, none like an id, no paths', async () => {
    await refused(post({ name: 'slowest-operations', sql: 'SELECT 1' }), 422, 'query-name');
    await refused(post({ name: '0123456789abcdef', sql: 'SELECT 1' }), 422, 'query-name');
    for (const name of ['', 'Upper', '../x', '-x', 'x'.repeat(65), 'a b']) await refused(post({ name, sql: 'SELECT 1' }), 400, 'invalid-request');
    await refused(post({ name: 'long', sql: `SELECT '${'x'.repeat(QUERY_LIMITS.sql_characters)}'` }), 400, 'invalid-request');
  });

  test('deleted by name or by id; the cookbook stays', async () => {
    const one = await save('goes', 'SELECT 10');
    const other = await save('goes', 'SELECT 11');
    await save('goes-too', 'SELECT 11');
    const drop = (key: string) => app.inject({ method: 'DELETE', url: `/api/v1/queries/${key}` });
    expect((await drop(other.id)).statusCode).toBe(200);
    expect(await get('/api/v1/queries/goes')).toMatchObject({ id: one.id, versions: [{ id: one.id }] });
    await refused(app.inject('/api/v1/queries/goes-too'), 404, 'query-not-found');
    expect((await drop('goes')).statusCode).toBe(200);
    await refused(drop('goes'), 404, 'query-not-found');
    await refused(drop('slowest-operations'), 409, 'query-built-in');
  });
});

describe('listing', () => {
  test('cookbook and saved ones by name, page by page', async () => {
    await save('aaa-first', 'SELECT 3');
    await save('zzz-last', 'SELECT 4');
    const names: string[] = [];
    let cursor: string | null = null;
    do {
      const page = (await get(`/api/v1/queries?limit=7${cursor === null ? '' : `&cursor=${cursor}`}`)) as { queries: Query[]; next_cursor: string | null };
      expect(page.queries.length).toBeLessThanOrEqual(7);
      names.push(...page.queries.map(({ name }) => name));
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(names).toEqual(names.toSorted());
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining(['aaa-first', 'zzz-last', ...cookbookQueries().map(({ name }) => name)]));
    await refused(app.inject('/api/v1/queries?cursor=Li4'), 400, 'invalid-cursor');
  });

  test('the schema shows the cookbook', async () => {
    const { examples } = (await get('/api/v1/schema')) as { examples: { title: string }[] };
    expect(examples.map(({ title }) => title)).toEqual(cookbookQueries().map(({ question }) => question));
  });
});

describe('running', () => {
  test('parameters by name, as JSON, as saved, and none', async () => {
    await save('spans-of', 'SELECT count(*)::INTEGER AS n FROM spans WHERE service_name = coalesce($service, service_name) AND http_response_status_code >= $status', { params: { service: 'stock', status: 500 } });
    expect(await rowsOf('/api/v1/queries/spans-of/run')).toEqual([[1]]);
    expect(await rowsOf('/api/v1/queries/spans-of/run?param.status=200')).toEqual([[ORDERS]]);
    expect(await rowsOf(`/api/v1/queries/spans-of/run?params=${encodeURIComponent('{"service":null,"status":200}')}`)).toEqual([[3 * ORDERS + 3]]);
    expect(await rowsOf(`/api/v1/queries/spans-of/run?param.service=shop&params=${encodeURIComponent('{"service":"stock","status":500}')}`)).toEqual([[2]]);
    await refused(app.inject('/api/v1/queries/spans-of/run?param.servise=shop'), 400, 'sql-params');
    await refused(app.inject('/api/v1/queries/spans-of/run?service=shop'), 400, 'invalid-request');
  });

  test('parameters by position', async () => {
    await save('by-position', 'SELECT ?::INTEGER + ?::INTEGER AS sum', { params: [1, 2] });
    expect(await rowsOf('/api/v1/queries/by-position/run')).toEqual([[3]]);
    expect(await rowsOf('/api/v1/queries/by-position/run?param.2=40')).toEqual([[41]]);
    await save('by-position', 'SELECT ?::INTEGER AS n');
    await refused(app.inject('/api/v1/queries/by-position/run'), 400, 'sql-params');
    expect(await rowsOf(`/api/v1/queries/by-position/run?params=${encodeURIComponent('[5]')}`)).toEqual([[5]]);
  });

  test('formats and limits are those of /sql', async () => {
    await save('numbers', 'SELECT range AS n FROM range(100)');
    expect((await app.inject('/api/v1/queries/numbers/run?format=csv&max_rows=2')).body).toBe('n\r\n0\r\n1\r\n');
    expect(await get('/api/v1/queries/numbers/run?max_rows=2')).toMatchObject({ row_count: 2, truncated: true, query_id: expect.any(String) });
    expect((await app.inject({ url: '/api/v1/queries/numbers/run', headers: { accept: 'application/x-ndjson' } })).body).toContain('{"n":"99"}\n');
    await save('endless', 'SELECT count(*) FROM range(100000000000) a, range(1000) b');
    await refused(app.inject('/api/v1/queries/endless/run?timeout_ms=50'), 408, 'sql-timeout');
    await refused(app.inject('/api/v1/queries/nothing/run'), 404, 'query-not-found');
  });

  test('the cookbook, by name and by id', async () => {
    const { id } = (await get('/api/v1/queries/slowest-operations')) as unknown as Query;
    const by_name = await rowsOf('/api/v1/queries/slowest-operations/run?param.service=stock&param.limit=1');
    expect(by_name).toEqual([expect.arrayContaining(['stock', 'GET /stock/{id}', String(ORDERS)])]);
    expect(await rowsOf(`/api/v1/queries/${id}/run?param.service=stock`)).toEqual(by_name);
  });
});

describe('kept in the data folder', () => {
  test('by another process, through every application of this one, and by nobody else', async () => {
    const other = temporaryFolder();
    const first = await Warehouse.open({ folder: other, seal_every_ms: 0 });
    const [tcp, unix] = [buildApp({ warehouse: first }), buildApp({ warehouse: first })];
    await Promise.all([tcp, unix].flatMap((one, at) => ['a', 'b', 'c'].map((name) => one.inject({ method: 'POST', url: '/api/v1/queries', payload: { name: `${name}-${at}`, sql: `SELECT '${name}'` } }))));
    await Promise.all([tcp.close(), unix.close()]);
    await first.close();
    expect(statSync(join(other, 'queries.json')).mode & 0o777).toBe(0o600);
    expect(readdirSync(other).filter((name) => name.includes('.part'))).toEqual([]);
    writeFileSync(join(other, 'queries.json.part'), '{"half'); // killed while it wrote
    const second = await Warehouse.open({ folder: other, read_only: true });
    const reading = buildApp({ warehouse: second });
    onTestFinished(async () => void (await reading.close(), await second.close()));
    const saved = ((await reading.inject('/api/v1/queries')).json() as { queries: Query[] }).queries.filter(({ source }) => source === 'saved').map(({ name }) => name);
    expect(saved).toEqual(['a-0', 'a-1', 'b-0', 'b-1', 'c-0', 'c-1']);
    await refused(reading.inject({ method: 'POST', url: '/api/v1/queries', payload: { name: 'x', sql: 'SELECT 1' } }), 503, 'warehouse-read-only');
  });

  test('there is an end to it, and a damaged file is said, not overwritten', async () => {
    const other = temporaryFolder();
    const here = await Warehouse.open({ folder: other, seal_every_ms: 0 });
    const full = { version: 1, queries: Array.from({ length: QUERY_LIMITS.versions }, (_, at) => ({ name: `n-${at}`, id: String(at).padStart(16, '0'), sql: 'SELECT 1', params: null, parameters: [], description: null, saved_ns: '0' })) };
    writeFileSync(join(other, 'queries.json'), JSON.stringify(full));
    const one = buildApp({ warehouse: here });
    await refused(one.inject({ method: 'POST', url: '/api/v1/queries', payload: { name: 'one-more', sql: 'SELECT 1' } }), 422, 'query-limit');
    await Promise.all([one.close(), here.close()]);
    writeFileSync(join(other, 'queries.json'), '{');
    const damaged = await Warehouse.open({ folder: other, seal_every_ms: 0 });
    const two = buildApp({ warehouse: damaged });
    onTestFinished(async () => void (await two.close(), await damaged.close()));
    await refused(two.inject('/api/v1/queries'), 503, 'saved-queries-damaged');
    await refused(two.inject({ method: 'POST', url: '/api/v1/queries', payload: { name: 'x', sql: 'SELECT 1' } }), 503, 'saved-queries-damaged');
    expect(readFileSync(join(other, 'queries.json'), 'utf8')).toBe('{');
  });
});

test('an export takes over what a saved query says', async () => {
  const sql = 'SELECT service_name, count(*) AS spans FROM spans WHERE end_ns > $from_ns AND end_ns <= $to_ns GROUP BY 1';
  const { id } = await save('spans-per-service', sql);
  const add = (query: string) => post({ destination: destination.folder, query }, '/api/v1/exports');
  const made = (await add('spans-per-service')).json() as { export_id: string; query: string };
  expect(made.query).toBe(sql);
  expect((await add(id)).json()).toMatchObject({ export_id: made.export_id });
  await save('spans-per-service', 'SELECT 1');
  const report = (await app.inject({ method: 'POST', url: `/api/v1/exports/${made.export_id}/run` })).json();
  expect(report).toMatchObject({ files: 1, rows: '2' });
  expect(existsSync(join(destination.folder, 'query'))).toBe(true);
  await refused(add('nothing-like-it'), 404, 'query-not-found');
  await refused(add('spans-per-service'), 422, 'export-query');
});

test('numbers beyond 64 bits are refused, and which', async () => {
  const beyond = '9223372036854775808';
  for (const [url, field, body] of [
    ['/api/v1/exports', 'max_bytes', { destination: '/tmp/x', max_bytes: beyond }],
    ['/api/v1/exports', 'max_age_ns', { destination: '/tmp/x', max_age_ns: '99999999999999999999' }],
    ['/api/v1/correlate', 'from_ns', { from_ns: `-${beyond}0`, to_ns: '1' }],
    ['/api/v1/correlate', 'to_ns', { from_ns: '0', to_ns: beyond }],
  ] as const) {
    const answer = await app.inject({ method: 'POST', url, payload: body });
    expect([answer.statusCode, (answer.json() as { detail: string }).detail.split(':')[0]], url).toEqual([400, field]);
  }
});
