// Every error status that the description names is produced here by a request, or the test that produces it is named.
import { join } from 'node:path';
import type { FastifyInstance, InjectOptions } from 'fastify';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { encodeBatches } from '../ingest/arrow-format.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { ColdCache } from '../queries/export/cold-cache.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { makeBatch } from './support/make-batch.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const ARROW = 'application/vnd.apache.arrow.stream';
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let app: FastifyInstance;
/** Its warehouse is closed, it takes ten bytes, and it has nothing that exports. */
let poor: FastifyInstance;
let document: { paths: Record<string, Record<string, { tags?: string[]; responses: Record<string, unknown> }>>; components: { schemas: Record<string, object> } };
let export_id: string;
let trace_id: string;

beforeAll(async () => {
  const shop = await shopWarehouse(join(folder, 'data'));
  ({ warehouse } = shop);
  trace_id = await shop.traceOf('/orders/1');
  const exporter = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) });
  ({ export_id } = await exporter.add({ destination: '/dev/null/nowhere', relations: ['spans'] }));
  app = buildApp({ warehouse, correlator: shop.correlator, exporter, cold: new ColdCache(warehouse, { limit_bytes: 1e6 }) }, { now_ns: () => NOW_NS });
  const { warehouse: closed } = await shopWarehouse(join(folder, 'closed'));
  await closed.close();
  poor = buildApp({ warehouse: closed }, { ingest_limit_bytes: 10 });
  for (const query of [{ name: 'slow', sql: SLOW }, { name: 'cast', sql: 'SELECT CAST($x AS INTEGER)' }]) await app.inject(post('/api/v1/queries', query));
  document = (await app.inject('/openapi.json')).json() as typeof document;
});

afterAll(async () => {
  await Promise.all([app.close(), poor.close()]);
  await warehouse.close();
  remove();
});

type Ask = (sent: InjectOptions) => Promise<{ statusCode: number; body: string; headers: Record<string, unknown> }>;
const get = (url: string): InjectOptions => ({ method: 'GET', url });
const post = (url: string, payload: object | string, headers: Record<string, string> = { 'content-type': 'application/json' }): InjectOptions => ({ method: 'POST', url, payload, headers });
const sql = (statement: string, more: object = {}): InjectOptions => post('/api/v1/sql', { sql: statement, ...more });
const sqlUrl = (statement: string, more = ''): InjectOptions => get(`/api/v1/sql?q=${encodeURIComponent(statement)}${more}`);
const SLOW = 'SELECT count(*) FROM range(100000000) a, range(100000) b';
const range = { from_ns: '0', to_ns: String(NOW_NS) };

/** A request that is answered so, one for the app without anything, several of which one is, or where it is tested. */
type Produced = InjectOptions | (() => InjectOptions | Promise<InjectOptions>) | { readonly poor: InjectOptions } | { readonly several: () => InjectOptions[] } | { readonly elsewhere: string };

/** The result of an asynchronous statement, once it has come so far. */
async function resultOf(statement: string, state: string, more: object = {}): Promise<InjectOptions> {
  const { query_id } = (await app.inject(post('/api/v1/sql/async', { sql: statement, ...more }))).json() as { query_id: string };
  await expect.poll(async () => ((await app.inject(`/api/v1/sql/${query_id}`)).json() as { state: string }).state).toBe(state);
  return get(`/api/v1/sql/${query_id}/result`);
}

const SAME_PLACES = { elsewhere: 'it takes the places of POST /api/v1/sql' };
const DAMAGED = { elsewhere: 'saved-queries.test.ts damages the file' };
const DISK_FULL = { elsewhere: 'disk-room and storageError make it of ENOSPC: warehouse-storage.test.ts and failing-disks.test.ts fill the disk' };
const PRODUCED: Readonly<Record<string, Produced>> = {
  'get /readyz 503': { poor: get('/readyz') },
  'get /api/v1/traces 400': get('/api/v1/traces?limit=1e999'),
  'get /api/v1/traces/{trace_id} 400': get('/api/v1/traces/x'),
  'get /api/v1/traces/{trace_id} 404': get(`/api/v1/traces/${NO_TRACE}`),
  'get /api/v1/traces/{trace_id}/spans/{span_id}/children 400': get(`/api/v1/traces/${NO_TRACE}/spans/x/children`),
  'get /api/v1/traces/{trace_id}/spans/{span_id}/children 404': () => get(`/api/v1/traces/${trace_id}/spans/${NO_SPAN}/children`),
  'get /api/v1/traces/{trace_id}/evidence 400': get('/api/v1/traces/x/evidence'),
  'get /api/v1/traces/{trace_id}/evidence 404': get(`/api/v1/traces/${NO_TRACE}/evidence`),
  'get /api/v1/services 400': get('/api/v1/services?start=2h&end=3h'),
  'get /api/v1/operations 400': get('/api/v1/operations?kind=both'),
  'get /api/v1/graph 400': get('/api/v1/graph?limit=0'),
  'post /api/v1/sql 400': sql('SELECT FROM FROM'),
  'post /api/v1/sql 403': sql("SELECT * FROM read_csv('/etc/passwd')"),
  'post /api/v1/sql 406': { ...sql('SELECT 1'), headers: { accept: 'image/png', 'content-type': 'application/json' } },
  'post /api/v1/sql 408': sql(SLOW, { timeout_ms: 50 }),
  'post /api/v1/sql 422': sql("SELECT CAST('x' AS INTEGER)"),
  'post /api/v1/sql 429': { several: () => Array.from({ length: 8 }, () => sql(SLOW, { timeout_ms: 500 })) },
  'get /api/v1/sql 400': get('/api/v1/sql'),
  'get /api/v1/sql 403': sqlUrl("SELECT * FROM read_csv('/etc/passwd')"),
  'get /api/v1/sql 406': { ...sqlUrl('SELECT 1'), headers: { accept: 'image/png' } },
  'get /api/v1/sql 408': sqlUrl(SLOW, '&timeout_ms=50'),
  'get /api/v1/sql 422': sqlUrl("SELECT CAST('x' AS INTEGER)"),
  'get /api/v1/sql 429': { several: () => Array.from({ length: 8 }, () => sqlUrl(SLOW, '&timeout_ms=500')) },
  'post /api/v1/sql/async 400': post('/api/v1/sql/async', {}),
  'post /api/v1/sql/async 406': { ...post('/api/v1/sql/async', { sql: 'SELECT 1' }), headers: { accept: 'image/png', 'content-type': 'application/json' } },
  'post /api/v1/sql/async 429': { elsewhere: 'api-sql-jobs.test.ts submits too many' },
  'post /api/v1/sql/async 503': { elsewhere: 'only while the server shuts down' },
  'get /api/v1/sql/{query_id} 404': get('/api/v1/sql/none'),
  'delete /api/v1/sql/{query_id} 404': { method: 'DELETE', url: '/api/v1/sql/none' },
  'get /api/v1/sql/{query_id}/result 403': () => resultOf("SELECT * FROM read_csv('/etc/passwd')", 'failed'),
  'get /api/v1/sql/{query_id}/result 404': get('/api/v1/sql/none/result'),
  'get /api/v1/sql/{query_id}/result 408': () => resultOf(SLOW, 'failed', { timeout_ms: 50 }),
  'get /api/v1/sql/{query_id}/result 409': () => resultOf(SLOW, 'running', { timeout_ms: 2000 }),
  'get /api/v1/sql/{query_id}/result 422': () => resultOf("SELECT CAST('x' AS INTEGER)", 'failed'),
  'get /api/v1/sql/{query_id}/result 507': DISK_FULL,
  'post /api/v1/queries 400': post('/api/v1/queries', {}),
  'post /api/v1/queries 403': post('/api/v1/queries', { name: 'files', sql: "SELECT * FROM read_csv('/etc/passwd')" }),
  'post /api/v1/queries 413': post('/api/v1/queries', { name: 'long', sql: `SELECT '${'x'.repeat(2 ** 21)}'` }),
  'post /api/v1/queries 422': post('/api/v1/queries', { name: 'wrong', sql: 'SELECT nothing_like_it FROM spans' }),
  'post /api/v1/queries 429': SAME_PLACES,
  'post /api/v1/queries 503': DAMAGED,
  'post /api/v1/queries 507': DISK_FULL,
  'get /api/v1/queries 400': get('/api/v1/queries?limit=0'),
  'get /api/v1/queries 503': DAMAGED,
  'get /api/v1/queries/{query} 404': get('/api/v1/queries/none'),
  'get /api/v1/queries/{query} 503': DAMAGED,
  'delete /api/v1/queries/{query} 404': { method: 'DELETE', url: '/api/v1/queries/none' },
  'delete /api/v1/queries/{query} 409': { method: 'DELETE', url: '/api/v1/queries/slowest-operations' },
  'delete /api/v1/queries/{query} 503': DAMAGED,
  'delete /api/v1/queries/{query} 507': DISK_FULL,
  'get /api/v1/queries/{query}/run 400': get('/api/v1/queries/slow/run?max_rows=0'),
  'get /api/v1/queries/{query}/run 403': { ...get('/api/v1/queries/slow/run'), headers: { origin: 'https://elsewhere.example' } },
  'get /api/v1/queries/{query}/run 404': get('/api/v1/queries/none/run'),
  'get /api/v1/queries/{query}/run 406': { ...get('/api/v1/queries/slow/run'), headers: { accept: 'image/png' } },
  'get /api/v1/queries/{query}/run 408': get('/api/v1/queries/slow/run?timeout_ms=50'),
  'get /api/v1/queries/{query}/run 422': get('/api/v1/queries/cast/run?param.x=y'),
  'get /api/v1/queries/{query}/run 429': { several: () => Array.from({ length: 8 }, () => get('/api/v1/queries/slow/run?timeout_ms=500')) },
  'get /api/v1/queries/{query}/run 503': DAMAGED,
  'post /api/v1/ingest 400': post('/api/v1/ingest', 'no Arrow', { 'content-type': ARROW }),
  'post /api/v1/ingest 413': { poor: post('/api/v1/ingest', 'more than ten bytes', { 'content-type': ARROW }) },
  'post /api/v1/ingest 415': post('/api/v1/ingest', 'x', { 'content-type': 'text/csv' }),
  'post /api/v1/ingest 422': () => ({ ...post('/api/v1/ingest', '', { 'content-type': ARROW }), payload: Buffer.from(encodeBatches([makeBatch({ schema_version: 99, sequence: 99n })])) }),
  'post /api/v1/ingest 429': { elsewhere: 'api-ingest.test.ts holds two streams open' },
  'post /api/v1/ingest 503': { elsewhere: 'failing-disks.test.ts has a disk that dies' },
  'post /api/v1/ingest 507': DISK_FULL,
  'post /api/v1/correlate 400': post('/api/v1/correlate', { from_ns: '2', to_ns: '1' }),
  'post /api/v1/correlate 409': { several: () => [post('/api/v1/correlate', range), post('/api/v1/correlate', range)] },
  'post /api/v1/correlate 503': { poor: post('/api/v1/correlate', range) },
  'post /api/v1/correlate 507': DISK_FULL,
  'post /api/v1/exports 400': post('/api/v1/exports', {}),
  'post /api/v1/exports 404': post('/api/v1/exports', { destination: '/tmp/x', query: 'none' }),
  'post /api/v1/exports 422': post('/api/v1/exports', { destination: '/tmp/x', cron: 'sometimes' }),
  'post /api/v1/exports 503': { poor: post('/api/v1/exports', { destination: '/tmp/x' }) },
  'get /api/v1/cold 400': { method: 'GET', url: '/api/v1/cold?start=sometimes' },
  'get /api/v1/cold 503': { poor: { method: 'GET', url: '/api/v1/cold' } },
  'post /api/v1/cold 400': post('/api/v1/cold', { relations: ['none'] }),
  'post /api/v1/cold 409': { elsewhere: 'export-cold.test.ts asks twice at once' },
  'post /api/v1/cold 413': { elsewhere: 'export-cold.test.ts has a cache that is too small' },
  'post /api/v1/cold 503': { poor: post('/api/v1/cold', {}) },
  'delete /api/v1/exports/{export_id} 400': { method: 'DELETE', url: '/api/v1/exports/x' },
  'delete /api/v1/exports/{export_id} 404': { method: 'DELETE', url: '/api/v1/exports/ffffffffffff' },
  'delete /api/v1/exports/{export_id} 503': { poor: { method: 'DELETE', url: '/api/v1/exports/ffffffffffff' } },
  'post /api/v1/exports/{export_id}/run 400': { method: 'POST', url: '/api/v1/exports/x/run' },
  'post /api/v1/exports/{export_id}/run 404': { method: 'POST', url: '/api/v1/exports/ffffffffffff/run' },
  'post /api/v1/exports/{export_id}/run 409': { elsewhere: 'export-schedule.test.ts runs one twice at once' },
  'post /api/v1/exports/{export_id}/run 422': () => ({ method: 'POST', url: `/api/v1/exports/${export_id}/run` }),
  'post /api/v1/exports/{export_id}/run 503': { poor: { method: 'POST', url: '/api/v1/exports/ffffffffffff/run' } },
  'post /api/v1/exports/{export_id}/run 507': DISK_FULL,
};

/** Their errors are not problems: api-jaeger.test.ts and api-tempo.test.ts produce them. */
const FOREIGN = new Set(['jaeger', 'tempo']);

test('each documented error has a line here, and nothing else has', () => {
  const documented = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).filter(([, { tags }]) => !FOREIGN.has(tags?.[0] ?? '')).flatMap(([method, { responses }]) => Object.keys(responses).filter((status) => Number(status) >= 400).map((status) => `${method} ${path} ${status}`)));
  expect(Object.keys(PRODUCED).toSorted()).toEqual(documented.toSorted());
});

describe('produced', () => {
  const requests = Object.entries(PRODUCED).filter(([, how]) => !('elsewhere' in how));
  test.each(requests)('%s', async (name, how) => {
    const problem = new Ajv2020({ strict: false }).compile({ ...document.components.schemas['Problem'], $id: name } as object);
    const status = Number(name.split(' ').at(-1));
    const ask: Ask = (sent) => (typeof how === 'object' && 'poor' in how ? poor : app).inject(sent);
    const sent = typeof how === 'function' ? [await how()] : 'several' in how ? how.several() : 'poor' in how ? [how.poor] : [how as InjectOptions];
    const answers = await Promise.all(sent.map(ask));
    const found = answers.find(({ statusCode }) => statusCode === status);
    expect(found, answers.map(({ statusCode, body }) => `${statusCode} ${body.slice(0, 300)}`).join('\n')).toBeDefined();
    expect(found?.headers['content-type']).toBe('application/problem+json');
    const said = JSON.parse(found?.body ?? '') as { status: number; code: string };
    expect(problem(said), JSON.stringify(problem.errors)).toBe(true);
    expect([said.status, said.code]).toEqual([status, expect.stringMatching(/^[a-z-]+$/)]);
  });
});
