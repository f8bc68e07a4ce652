// The description is what the server does: it is valid, names every route, and every example in it works.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { EXAMPLE_QUERIES } from '../api/example-queries.ts';
import { encodeBatches } from '../ingest/arrow-format.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { ColdCache } from '../queries/export/cold-cache.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { queryBook } from '../queries/query-book.ts';
import { packageRoot } from '../schema/package-root.ts';
import { NOW_NS, shopBatch, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

interface Schema {
  readonly type?: string | string[];
  readonly properties?: Record<string, Schema>;
  readonly examples?: unknown[];
  readonly required?: string[];
  readonly enum?: unknown[];
  readonly description?: string;
}
interface Parameter { readonly name: string; readonly in: string; readonly required?: boolean; readonly description?: string; readonly schema: Schema; readonly example?: unknown }
interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly tags?: string[];
  readonly parameters?: Parameter[];
  readonly requestBody?: { content: Record<string, { schema: Schema }> };
  readonly responses: Record<string, { description: string; content?: Record<string, { schema: Schema }> }>;
}
interface Document extends Record<string, unknown> { readonly openapi: string; readonly paths: Record<string, Record<string, Operation>>; readonly components: { schemas: Record<string, Schema> } }

const ARROW = 'application/vnd.apache.arrow.stream';
const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let exporter: ExportScheduler;
let app: FastifyInstance;
let document: Document;
let trace_id: string;
let span_id: string;
/** As the server has them, hidden ones too. */
const registered: string[] = [];
/** What no program asks for, and what describes the rest. */
const HIDDEN = ['get /', 'get /openapi.json'];

beforeAll(async () => {
  const shop = await shopWarehouse(folder);
  ({ warehouse } = shop);
  trace_id = await shop.traceOf('/orders/1');
  exporter = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) });
  app = buildApp({ warehouse, correlator: shop.correlator, exporter, cold: new ColdCache(warehouse, { limit_bytes: 1e6 }) }, { now_ns: () => NOW_NS });
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) if (one !== 'HEAD') registered.push(`${one.toLowerCase()} ${url.replaceAll(/:(\w+)/g, '{$1}')}`);
  });
  span_id = trace_id.slice(16);
  document = (await app.inject('/openapi.json')).json() as Document;
});

afterAll(async () => {
  await app.close();
  await warehouse.close();
  remove();
});

const operations = (): [method: string, path: string, operation: Operation][] => Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => [method, path, operation] as [string, string, Operation]));
const exampleOf = ({ schema, example }: Pick<Parameter, 'schema' | 'example'>): unknown => example ?? schema.examples?.[0];

test('it is valid OpenAPI 3.1', async () => {
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  expect(errors).toBeUndefined();
  expect([valid, document.openapi]).toEqual([true, '3.1.0']);
});

const JAEGER = ['services', 'services/{service}/operations', 'operations', 'traces', 'traces/{trace_id}', 'dependencies', 'v3/services', 'v3/operations', 'v3/traces', 'v3/traces/{trace_id}', 'v3/trace-summaries', 'v3/dependencies'];
const TEMPO = ['echo', 'status/buildinfo', 'traces/{trace_id}', 'v2/traces/{trace_id}', 'search', 'search/tags', 'v2/search/tags', 'search/tag/{tag}/values', 'v2/search/tag/{tag}/values'];
const CLIENT_ROUTES = [...JAEGER.flatMap((path) => [`get /api/${path}`, `get /jaeger/api/${path}`]), ...TEMPO.map((path) => `get /tempo/api/${path}`)];
/** They speak as another tool does: unknown parameters are nothing to them, errors have that tool's shape. */
const FOREIGN = new Set(['jaeger', 'tempo']);
const isForeign = (operation: Operation): boolean => FOREIGN.has(operation.tags?.[0] ?? '');

test('the description names every route that is there, and no other', () => {
  const served = registered.filter((route) => !HIDDEN.includes(route) && !route.startsWith('get /docs'));
  expect(operations().map(([method, path]) => `${method} ${path}`).toSorted()).toEqual(served.toSorted());
});

test('every route is described: what the contract names so far, and what the command line needs', () => {
  const routes = operations().map(([method, path]) => `${method} ${path}`).toSorted();
  expect(routes).toEqual([
    'delete /api/v1/exports/{export_id}', 'delete /api/v1/queries/{query}', 'get /api/v1/cold', 'get /api/v1/exports', 'get /api/v1/graph', 'get /api/v1/operations', 'get /api/v1/queries', 'get /api/v1/queries/{query}', 'get /api/v1/queries/{query}/run', 'get /api/v1/schema', 'get /api/v1/services', 'get /api/v1/sql', 'get /api/v1/traces', 'get /api/v1/traces/{trace_id}', 'get /api/v1/traces/{trace_id}/evidence', 'get /api/v1/traces/{trace_id}/spans/{span_id}/children',
    'get /healthz', 'get /metrics', 'get /readyz', 'post /api/v1/cold', 'post /api/v1/correlate', 'post /api/v1/exports', 'post /api/v1/exports/{export_id}/run', 'post /api/v1/ingest', 'post /api/v1/queries', 'post /api/v1/sql',
    'delete /api/v1/sql/{query_id}', 'get /api/v1/sql/{query_id}', 'get /api/v1/sql/{query_id}/result', 'post /api/v1/sql/async', ...CLIENT_ROUTES,
  ].toSorted());
});

test('every operation and every parameter says what it is for', () => {
  for (const [method, path, operation] of operations()) {
    const where = `${method} ${path}`;
    expect([operation.operationId, operation.summary, operation.tags?.length], where).toEqual([expect.any(String), expect.any(String), 1]);
    for (const parameter of operation.parameters ?? []) {
      expect(parameter.description ?? parameter.schema.description, `${where} ${parameter.name}`).toBeTruthy();
      expect(exampleOf(parameter), `${where} ${parameter.name} has an example`).toBeDefined();
    }
    for (const [status, response] of Object.entries(operation.responses)) {
      expect(response.description, `${where} ${status}`).toBeTruthy();
      expect(response.description).not.toBe('Default Response');
      if (Number(status) >= 400 && !isForeign(operation)) expect(Object.keys(response.content ?? {})).toEqual(['application/problem+json']);
    }
  }
  expect(new Set(operations().map(([, , operation]) => operation.operationId)).size).toBe(operations().length);
});

/** Where the same request goes on after a first page of one row; undefined: there is no more than that. */
async function nextCursor(url: string, query: Record<string, string>): Promise<string | undefined> {
  const { next_cursor } = (await app.inject({ url, query: { ...query, limit: '1' } })).json() as { next_cursor: string | null };
  return next_cursor ?? undefined;
}

const aSavedQuery = async (): Promise<string> => (await queryBook(warehouse).save({ name: 'to-be-deleted', sql: 'SELECT 1' }, NOW_NS, async () => [])).name;
const anExport = async (): Promise<string> => (await exporter.add({ destination: join(folder, 'parquet'), relations: ['spans'] })).export_id;

async function aQuery(): Promise<string> {
  const { query_id } = (await app.inject({ method: 'POST', url: '/api/v1/sql/async', payload: { sql: 'SELECT 1' } })).json() as { query_id: string };
  await expect.poll(async () => ((await app.inject(`/api/v1/sql/${query_id}`)).json() as { state: string }).state).toBe('done');
  return query_id;
}
const GIVEN: Record<string, () => Promise<string>> = { trace_id: async () => trace_id, span_id: async () => span_id, root: async () => span_id, export_id: anExport, query_id: aQuery };

/** Ids are those of a trace or an export that exists; everything else is as documented. */
async function requestOf(method: string, path: string, operation: Operation, only?: string) {
  const query: Record<string, string> = {};
  let url = path;
  for (const parameter of operation.parameters ?? []) {
    const made = parameter.name === 'query' && method === 'delete' ? aSavedQuery : GIVEN[parameter.name];
    const value = String((await made?.()) ?? exampleOf(parameter));
    if (parameter.in === 'path') url = url.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (parameter.name !== 'cursor' && (parameter.required === true || only === undefined || only === parameter.name)) query[parameter.name] = value;
  }
  if (only === 'cursor') {
    const cursor = await nextCursor(url, query);
    if (cursor !== undefined) query['cursor'] = cursor;
  }
  const [content_type, body] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const properties = Object.entries(body?.schema.properties ?? {});
  const payload = content_type === ARROW ? Buffer.from(encodeBatches([shopBatch()])) : Object.fromEntries(properties.flatMap(([name, schema]) => (schema.examples === undefined ? [] : [[name, schema.examples[0]]])));
  return { method: method.toUpperCase() as 'GET', url, query, ...(content_type === undefined ? {} : { payload, headers: { 'content-type': content_type } }) };
}

describe('examples', () => {
  test('every documented example request is answered as documented', async () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    ajv.addSchema(document, 'document');
    const gone_on = new Set<string>();
    for (const [method, path, operation] of operations()) {
      // All parameters at once, then each alone: one that does not work is not hidden by another.
      for (const only of [undefined, ...(operation.parameters ?? []).filter((parameter) => parameter.in === 'query').map(({ name }) => name)]) {
        const sent = await requestOf(method, path, operation, only);
        const answer = await app.inject(sent);
        if (sent.query['cursor'] !== undefined) gone_on.add(path);
        const where = `${method} ${path} ${JSON.stringify(sent.query)}: ${answer.body.slice(0, 300)}`;
        const ok = Object.keys(operation.responses).find((status) => status.startsWith('2')) as string;
        expect(String(answer.statusCode), where).toBe(ok);
        const type = String(answer.headers['content-type']).split(';')[0] as string;
        const content = operation.responses[ok]?.content ?? {};
        expect(Object.keys(content), where).toContain(type);
        if (type !== 'application/json' || sent.query['format'] !== undefined) continue;
        const pointer = ['paths', path, method, 'responses', ok, 'content', type, 'schema'].map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');
        const valid = ajv.validate({ $ref: `document#/${pointer}` }, answer.json());
        expect(ajv.errors, where).toBeNull();
        expect(valid).toBe(true);
      }
    }
    // Every list that goes on; no span of this shop has two children.
    expect([...gone_on].toSorted()).toEqual(['/api/v1/operations', '/api/v1/queries', '/api/v1/services', '/api/v1/traces']);
  });

  test('every documented error of a request without sense is a problem', async () => {
    const problem = new Ajv2020({ strict: false }).compile({ ...document.components.schemas['Problem'], $id: 'only' } as object);
    for (const [method, path, operation] of operations()) {
      if (operation.responses['400'] === undefined || isForeign(operation)) continue;
      const sent = await requestOf(method, path, operation);
      const answer = await app.inject(sent.payload === undefined ? { ...sent, query: { ...sent.query, surely_unknown: '1' } } : { ...sent, payload: '{"nonsense": ' });
      expect([answer.statusCode, answer.headers['content-type']], `${method} ${path}`).toEqual([400, 'application/problem+json']);
      expect(problem(answer.json()), JSON.stringify(problem.errors)).toBe(true);
    }
  });

  test.each(EXAMPLE_QUERIES.map(({ title, sql }) => [title, sql]))('example query: %s', async (_title, sql) => {
    const answer = await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql } });
    expect(answer.statusCode, answer.body).toBe(200);
  });
});

test('the schema route describes every public relation and column', async () => {
  const { relations, examples, limits } = (await app.inject('/api/v1/schema')).json() as { relations: { name: string; doc: string; columns: { name: string; type: string; doc: string }[] }[]; examples: object[]; limits: object };
  const views = readdirSync(join(packageRoot(), 'schema', 'views')).map((name) => readFileSync(join(packageRoot(), 'schema', 'views', name), 'utf8')).join('\n');
  expect(relations.map(({ name }) => name).toSorted()).toEqual([...views.matchAll(/^CREATE OR REPLACE VIEW (\w+)/gm)].map(([, name]) => name).toSorted());
  const spans = relations.find(({ name }) => name === 'spans');
  expect(spans?.columns.find(({ name }) => name === 'start_time')?.type).toBe('TIMESTAMP_NS');
  expect(spans?.columns.find(({ name }) => name === 'duration_ns')?.type).toBe('BIGINT');
  expect(relations.flatMap(({ name, doc, columns }) => (doc === '' || columns.some((column) => column.doc === '') ? [name] : []))).toEqual([]);
  expect(examples).toEqual([...EXAMPLE_QUERIES]);
  expect(limits).toEqual({ timeout_ms: { default: 10_000, max: 60_000 }, max_rows: { default: 10_000, max: 5_000_000 }, at_once: 4 });
});

test('metrics tell what is stored, lost and asked', async () => {
  const { body, headers } = await app.inject('/metrics');
  expect(headers['content-type']).toMatch(/^text\/plain/);
  expect(body).toMatch(/^tracehouse_batches_applied 1$/m);
  expect(body).toMatch(/^tracehouse_stored_events 100$/m);
  expect(body).toMatch(/^tracehouse_stored_spans 78$/m);
  expect(body).toMatch(/^tracehouse_lost_events\{cause="payload_shed"\} 12$/m);
  expect(body).toMatch(/^tracehouse_losses\{cause="not_running"\} 1$/m);
  expect(body).toMatch(/^tracehouse_segments\{kind="raw"\} \d+$/m);
  expect(body).toMatch(/^tracehouse_stored_bytes [1-9]\d+$/m);
  expect(body).toMatch(/^tracehouse_http_requests_total\{method="GET",route="\/api\/v1\/schema",status="200"\} [1-9]/m);
  expect(body).toMatch(/^process_resident_memory_bytes \d+$/m);
});

test('the pages need nothing from elsewhere', async () => {
  expect((await app.inject('/')).headers).toMatchObject({ location: '/docs' });
  const page = await app.inject('/docs');
  expect(page.statusCode).toBe(200);
  expect(page.headers['content-security-policy']).toContain("default-src 'self'");
  const wanted = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] as string);
  expect(wanted.length).toBeGreaterThan(3);
  for (const url of wanted) {
    expect(url).toMatch(/^\/docs\//);
    expect((await app.inject(url)).statusCode, url).toBe(200);
  }
  expect((await app.inject('/docs/json')).json()).toMatchObject({ info: { title: 'tracehouse' } });
});
