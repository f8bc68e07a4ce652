// Requests of every operation of the OpenAPI document, as documented and with one thing about them wrong: always the same ones here, others and for longer
// with `npm run fuzz` (FUZZ_SEED, FUZZ_SECONDS).
import type { AddressInfo } from 'node:net';
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { exportQueries } from '../api/sql-export.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import { encodeBatches } from '../ingest/arrow-format.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { expectGoodAnswer } from './fuzz/answer-rules.ts';
import type { AnswerRules } from './fuzz/answer-rules.ts';
import { operationsOf } from './fuzz/document.ts';
import type { Document, Operation } from './fuzz/document.ts';
import { encodeRequest, exchangeBytes } from './fuzz/raw-client.ts';
import type { RawAnswer, RawRequest } from './fuzz/raw-client.ts';
import { requestsOf } from './fuzz/requests.ts';
import type { Known } from './fuzz/requests.ts';
import { childProcesses, hashRelations, openFiles, temporaryFiles } from './fuzz/server-state.ts';
import { makeBatch } from './support/make-batch.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 1);
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 12);
const DEADLINE_MS = 20_000;
const AT_ONCE = 6;
const A_ROUND = 3;
const MOST_INGEST_BYTES = 4 * 1024 * 1024;
const ARROW = 'application/vnd.apache.arrow.stream';
const MIB = 2 ** 20;
/** What requests may change by right. */
const CHANGEABLE = new Set(['exports', 'export_files', 'dropped_segments']);

const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let sql: SqlPool;
let exporter: ExportScheduler;
let app: FastifyInstance;
let port: number;
let operations: readonly Operation[];
let known: Known;
let relations: string[];
const logged: string[] = [];

beforeAll(async () => {
  mkdirSync(join(folder, 'data'));
  const shop = await shopWarehouse(join(folder, 'data'));
  ({ warehouse } = shop);
  const trace_id = await shop.traceOf('/orders/3');
  sql = new SqlPool(warehouse, { limits: { timeout_ms: 1000, max_rows: 100_000, at_once: 3 }, memory_bytes: 256e6, temp_bytes: 50e6 });
  exporter = new ExportScheduler(warehouse, { queries: exportQueries(sql), now_ms: () => Number(NOW_NS / 1_000_000n) });
  const { export_id } = await exporter.add({ destination: join(folder, 'out'), relations: ['losses'] });
  app = buildApp({ warehouse, sql, exporter }, { now_ns: () => NOW_NS, log: (line) => logged.push(line), ingest_limit_bytes: MOST_INGEST_BYTES, sql_jobs: { timeout_ms: 1000, most_jobs: 20, keep_ms: 2000 } });
  await app.listen({ host: '127.0.0.1', port: 0 });
  ({ port } = app.server.address() as AddressInfo);
  operations = operationsOf((await app.inject('/openapi.json')).json() as Document);
  relations = (await warehouse.query("SELECT view_name FROM duckdb_views() WHERE database_name = 'memory' AND schema_name = 'main' AND NOT internal ORDER BY 1")).rows.map(([name]) => name as string).filter((name) => !CHANGEABLE.has(name));
  known = {
    trace_id: [trace_id], export_id: [export_id], destination: [join(folder, 'out')], cron: ['5 * * * *'], relations: ['spans'], service: ['shop-worker'], query: ['slowest-operations', 'fuzzed'], name: ['fuzzed'],
    sql: ['SELECT 1', 'SELECT * FROM spans', 'FROM range(100000000)', "SELECT string_agg(repeat('x', 1000000), '') FROM range(2000)", 'SELECT $a', "FROM '/etc/passwd'", 'SELECT count(*) FROM range(100000000) a, range(100000) b', 'EXPLAIN ANALYZE FROM spans'],
    q: ['SELECT 1', 'FROM socket_events', "SELECT error('x')"], format: ['json', 'csv', 'arrow', 'parquet', 'ndjson', 'otlp', 'jaeger'],
  };
  console.log(`fuzzing with FUZZ_SEED=${SEED} for ${SECONDS} s`);
});

afterAll(async () => {
  await app.close();
  await exporter.close();
  await sql.close();
  await warehouse.close();
  remove();
});

const ONLY_KNOWN = new Set(['destination', 'cron', 'relations']);
const rulesOf = ({ statuses, is_foreign }: Pick<Operation, 'statuses' | 'is_foreign'>): AnswerRules => ({ documented: statuses, is_foreign, secret_paths: [folder] });
const send = (request: RawRequest): Promise<RawAnswer> => exchangeBytes(port, [encodeRequest(request)], { deadline_ms: DEADLINE_MS, half_close: request.content_length !== undefined });

async function stillWell(): Promise<void> {
  for (const url of ['/healthz', '/readyz', '/api/v1/services', '/metrics']) expect((await app.inject(url)).statusCode, url).toBe(200);
  await expect.poll(async () => (await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: 'SELECT 42' } })).statusCode, { timeout: 5000 }).toBe(200);
}

test('whatever is asked, the answer is in order, soon, and nothing is lost or left behind', async () => {
  const before = await hashRelations(warehouse, relations);
  await stillWell();
  const files = openFiles();
  const until = performance.now() + SECONDS * 1000;
  const statuses = new Map<number, number>();
  const wrong = new Map<string, string>();
  for (let round = 0; performance.now() < until; round++) {
    const todo = operations.flatMap((operation, at) => fc.sample(requestsOf(operation, known, ONLY_KNOWN), { seed: SEED + round * 1000 + at, numRuns: A_ROUND }).map((request) => ({ operation, request })));
    const work = async (): Promise<void> => {
      for (let next = todo.pop(); next !== undefined && performance.now() < until; next = todo.pop()) {
        const { operation, request } = next;
        try {
          const answer = await send(request);
          expectGoodAnswer(request, answer, rulesOf(operation));
          statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        } catch (error) {
          // One of each operation is enough to begin with.
          const where = `${operation.method} ${operation.path}`;
          if (!wrong.has(where)) wrong.set(where, `${request.method} ${request.target.slice(0, 300)} ${request.body.toString().slice(0, 300)}: ${(error as Error).message}`);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }
  console.log(`answers: ${[...statuses].toSorted(([a], [b]) => a - b).map(([status, count]) => `${count} of ${status}`).join(', ')}`);
  expect([...wrong.values(), ...(wrong.size === 0 ? [] : logged.slice(0, 5))]).toEqual([]);
  expect((statuses.get(200) ?? 0) > 20 && (statuses.get(400) ?? 0) > 20, 'both sense and nonsense were asked').toBe(true);
  await stillWell();
  expect(await hashRelations(warehouse, relations)).toEqual(before);
  await expect.poll(() => openFiles(), { timeout: 10_000 }).toBeLessThan(files + 30);
  expect(childProcesses()).toBeLessThan(10);
  await expect.poll(() => temporaryFiles(warehouse.folder).filter((name) => /\.parquet$|sql-answers\/./.test(name)), { timeout: 10_000 }).toEqual([]);
}, SECONDS * 1000 + 90_000);

test('batches cut short or changed on their way are refused whole or taken whole, and the next one goes in', async () => {
  const stream = Buffer.from(encodeBatches([makeBatch({ sequence: 50n, node: 'fuzz', run_id: 77n }, { socket_events: [{ ts_ns: NOW_NS, mono_ns: 1, socket_id: 1, op: 'read', bytes: 1, stream_offset: 0, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false, comm: 'fuzz' }] })]));
  const rules = rulesOf({ statuses: new Set([503, 507]), is_foreign: false });
  const damage = fc.oneof(
    fc.integer({ min: 0, max: stream.length - 1 }).map((length) => stream.subarray(0, length)),
    fc.array(fc.tuple(fc.integer({ min: 0, max: stream.length - 1 }), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 }).map((changes) => changes.reduce((bytes, [at, value]) => (bytes.writeUInt8(value, at), bytes), Buffer.from(stream))),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.concat([stream, bytes])),
  );
  const seen = new Set<number>();
  for (const body of fc.sample(damage, { seed: SEED, numRuns: 300 })) {
    const request: RawRequest = { method: 'POST', target: '/api/v1/ingest', headers: [['host', '127.0.0.1'], ['content-type', ARROW]], body, content_length: undefined };
    const answer = await send(request);
    expectGoodAnswer(request, answer, rules);
    seen.add(answer.status);
  }
  expect([...seen]).toContain(400);
  const good = await app.inject({ method: 'POST', url: '/api/v1/ingest', payload: Buffer.from(encodeBatches([makeBatch({ sequence: 51n, node: 'fuzz', run_id: 78n }, {})])), headers: { 'content-type': ARROW } });
  expect(good.statusCode, good.body).toBe(200);
  for (const name of relations) await warehouse.query(`SELECT count(*) FROM "${name}"`);
});

test('what grows when it is unpacked is stopped at its limit', async () => {
  const bomb = gzipSync(Buffer.alloc(256 * MIB));
  const before = process.memoryUsage().rss;
  for (const [target, type, encoding] of [['/api/v1/ingest', ARROW, 'gzip'], ['/api/v1/ingest', ARROW, 'gzip, gzip'], ['/api/v1/ingest', ARROW, 'br'], ['/api/v1/sql', 'application/json', 'gzip'], ['/api/v1/queries', 'application/json', 'deflate']] as const) {
    const request: RawRequest = { method: 'POST', target, headers: [['host', '127.0.0.1'], ['content-type', type], ['content-encoding', encoding]], body: bomb, content_length: undefined };
    const answer = await send(request);
    expectGoodAnswer(request, answer, rulesOf({ statuses: new Set([503]), is_foreign: false }));
    expect([400, 413, 415], `${target} ${encoding}`).toContain(answer.status);
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(128 * MIB);
  await stillWell();
});

test('bodies that come slowly, stop, or never come hold nobody else up', async () => {
  const body = Buffer.from(JSON.stringify({ sql: 'SELECT 1 AS x' }));
  const request: RawRequest = { method: 'POST', target: '/api/v1/sql', headers: [['host', '127.0.0.1'], ['content-type', 'application/json']], body, content_length: undefined };
  const bytes = encodeRequest(request);
  const slow = exchangeBytes(port, Array.from({ length: 10 }, (_, at) => bytes.subarray(Math.floor((bytes.length * at) / 10), Math.floor((bytes.length * (at + 1)) / 10))), { deadline_ms: DEADLINE_MS, pause_ms: 20 });
  const silent = Array.from({ length: 50 }, () => connect({ port, host: '127.0.0.1' }).on('error', () => undefined));
  for (const socket of silent) socket.write(bytes.subarray(0, bytes.length - 5));
  const halves = await Promise.all(Array.from({ length: 20 }, (_, at) => exchangeBytes(port, [bytes.subarray(0, Math.floor((bytes.length * at) / 20))], { deadline_ms: DEADLINE_MS, half_close: true })));
  for (const answer of halves) expect([0, 400]).toContain(answer.status);
  expect((await slow).status).toBe(200);
  await stillWell();
  for (const socket of silent) socket.destroy();
  await stillWell();
});
