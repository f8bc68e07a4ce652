import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RULE_VERSION } from '../queries/store-spans.ts';
import { buildApp } from '../api/app.ts';
import type { Span, Trace, TraceSummary } from '../api/trace-json.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import type { Correlator } from '../queries/correlator.ts';
import { EXTERNAL, FAILED, INCOMPLETE, MOST_BIGINT, NOW_NS, OLD_TRACE_ID, ORDERS, RENAMED, TWINS, UNDECIDED, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

interface Page {
  traces: TraceSummary[];
  searched: { start: string; end: string };
  duration_of: string;
  next_cursor: string | null;
}

const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let traceOf: (path: string) => Promise<string>;
let app: FastifyInstance;
const logged: string[] = [];

beforeAll(async () => {
  let correlator: Correlator;
  ({ warehouse, correlator, traceOf } = await shopWarehouse(folder));
  app = buildApp({ warehouse, correlator }, { now_ns: () => NOW_NS, log: (line) => logged.push(line) });
});

afterAll(async () => {
  await app.close();
  await warehouse.close();
  remove();
});

async function get<T>(url: string, status = 200): Promise<T> {
  const answer = await app.inject(url);
  expect(answer.statusCode, answer.body).toBe(status);
  if (status !== 200) expect(answer.headers['content-type']).toBe('application/problem+json');
  return answer.json() as T;
}

const list = (query: string): Promise<Page> => get<Page>(`/api/v1/traces?${query}`);
/** All orders have a trace, twins one more; the undecided order falls apart in three. */
const TRACES = ORDERS + 1 + 2;

describe('search', () => {
  test('newest first, with the range that was searched', async () => {
    const page = await list('limit=1000');
    expect(page.traces).toHaveLength(TRACES);
    expect(page.next_cursor).toBeNull();
    expect(page.duration_of).toBe('trace');
    expect(page.searched).toEqual({ start: '2026-09-21T14:12:55.000000000Z', end: '2026-09-21T14:13:20.000000000Z', missing_files: 0 });
    expect(page.traces[0]).toEqual({
      trace_id: await traceOf('/orders/1'), root_service: 'shop', root_name: 'GET /orders/{id}', start_time: '2026-09-21T14:13:19.000000000Z', start_time_unix_nano: '1789999999000000000',
      duration_ns: '2000000', span_count: 3, error_count: 0, services: ['shop', 'stock'], complete: true,
    });
    const starts = page.traces.map((trace) => trace.start_time_unix_nano);
    expect(starts).toEqual(starts.toSorted().toReversed());
  });

  test.each(['-start_time', 'start_time', '-duration', 'duration'])('pages in the order %s neither repeat nor skip', async (sort) => {
    const whole = (await list(`limit=1000&sort=${sort}`)).traces.map((trace) => trace.trace_id);
    for (const limit of [1, 4, 7]) {
      const seen: string[] = [];
      let cursor = '';
      for (;;) {
        const page = await list(`limit=${limit}&sort=${sort}${cursor}`);
        expect(page.traces.length).toBeLessThanOrEqual(limit);
        seen.push(...page.traces.map((trace) => trace.trace_id));
        if (page.next_cursor === null) break;
        cursor = `&cursor=${page.next_cursor}`;
      }
      expect(seen).toEqual(whole);
    }
    expect(new Set(whole).size).toBe(TRACES);
  });

  test('a cursor keeps to the range of its first page, and to its query', async () => {
    const first = await list('limit=2');
    const later = buildApp({ warehouse }, { now_ns: () => NOW_NS + 3600_000_000_000n });
    const second = (await later.inject(`/api/v1/traces?limit=2&cursor=${first.next_cursor}`)).json() as Page;
    await later.close();
    expect(second.searched).toEqual(first.searched);
    expect(await get(`/api/v1/traces?limit=2&service=shop&cursor=${first.next_cursor}`, 400)).toMatchObject({ code: 'invalid-cursor', mend: expect.any(String) });
    for (const cursor of ['x', 'bm90IGpzb24', Buffer.from('[1]').toString('base64url'), Buffer.from('[1,"a","1","2","3; DROP","0"]').toString('base64url')]) {
      expect(await get(`/api/v1/traces?cursor=${cursor}`, 400)).toMatchObject({ code: 'invalid-cursor' });
    }
  });

  test('filters', async () => {
    const count = async (query: string): Promise<number> => (await list(`limit=1000&${query}`)).traces.length;
    expect(await count('service=stock')).toBe(ORDERS);
    expect(await count('service=shop')).toBe(TRACES);
    expect(await count("service=sto'ck")).toBe(0);
    expect(await count('operation=GET%20%2Forders%2F%7Bid%7D')).toBe(ORDERS);
    expect(await count('operation=GET%20%2Fstock%2F%7Bid%7D&service=stock')).toBe(ORDERS);
    expect(await count('operation=GET%20%2Forders%2F%7Bid%7D&service=stock')).toBe(0);
    expect((await list('error=true')).traces.map((trace) => trace.trace_id)).toEqual([await traceOf(`/orders/${FAILED}`)]);
    expect(await count('error=false')).toBe(TRACES - 1);
    expect(await count('min_duration=5ms')).toBe(ORDERS / 5);
    expect(await count('max_duration=1ms')).toBe(ORDERS / 5);
    expect(await count('min_duration=2000000&max_duration=2000us')).toBe(ORDERS / 5);
    // Every order's call to stock takes a quarter of the order's own time.
    expect(await count('min_duration=5ms&duration_of=span')).toBe(ORDERS / 5);
    expect(await count('max_duration=250us&duration_of=span&service=shop&operation=GET%20%2Fstock%2F%7Bid%7D')).toBe(ORDERS / 5);
    expect(await count('min_duration=1250us&duration_of=span&service=shop&operation=GET%20%2Fstock%2F%7Bid%7D')).toBe(ORDERS / 5);
    expect(await count('min_duration=1251us&duration_of=span&service=shop&operation=GET%20%2Fstock%2F%7Bid%7D')).toBe(0);
    expect((await list('duration_of=span')).duration_of).toBe('span');
    expect((await list('limit=1000')).traces.filter((trace) => !trace.complete).map((trace) => trace.trace_id)).toEqual([await traceOf(`/orders/${INCOMPLETE}`)]);
  });

  test('ranges: start inclusive, end exclusive, however they are written', async () => {
    const order_3 = NOW_NS - 3_000_000_000n;
    for (const [start, end] of [[order_3, order_3 + 1n], ['2026-09-21T14:13:17Z', '2026-09-21T14:13:17.000000001Z'], ['2026-09-21T16:13:17+02:00', '2026-09-21T16:13:17.000000001+02:00'], ['3s', `${order_3 + 1n}`]] as const) {
      const page = await list(`start=${start}&end=${end}`);
      expect(page.traces.map((trace) => trace.start_time)).toEqual(['2026-09-21T14:13:17.000000000Z']);
      expect(page.searched).toEqual({ start: '2026-09-21T14:13:17.000000000Z', end: '2026-09-21T14:13:17.000000001Z', missing_files: 0 });
    }
    expect((await list('end=2001-01-01T00:00:00Z')).traces).toEqual([]);
  });

  test.each([
    ['limit=0', 'invalid-request'], ['limit=x', 'invalid-request'], ['sort=name', 'invalid-request'], ['start=yesterday', 'invalid-time'], ['start=2026-13-01T00:00:00Z', 'invalid-time'], ['end=99999999999999999999', 'invalid-time'],
    ['start=1h&end=2h', 'invalid-range'], ['min_duration=2ms&max_duration=1ms', 'invalid-range'], ['min_duration=2ms&max_duration=1ms&duration_of=span', 'invalid-range'], ['duration_of=request', 'invalid-request'], ['min_duration=fast', 'invalid-duration'], ['min_duration=1.5', 'invalid-duration'], ['error=maybe', 'invalid-request'], ['sevice=shop', 'invalid-request'],
  ])('?%s is refused as %s', async (query, code) => {
    expect(await get(`/api/v1/traces?${query}`, 400)).toMatchObject({ code, status: 400, title: 'Bad Request', instance: '/api/v1/traces', request_id: expect.any(String), type: `urn:tracehouse:problem:${code}` });
  });

  test('an unknown filter is named', async () => {
    expect(await get('/api/v1/traces?sevice=shop', 400)).toMatchObject({ detail: "query: there is no parameter 'sevice'" });
  });
});

describe('one trace', () => {
  test('its spans, with 64-bit integers whole', async () => {
    const trace = await get<Trace>(`/api/v1/traces/${await traceOf('/orders/1')}`);
    expect(trace).toMatchObject({ span_count: 3, partial: false, requested_trace_id: trace.trace_id });
    expect(trace.spans.map(({ kind, service_name, span_name }) => [kind, service_name, span_name])).toEqual([['server', 'shop', 'GET /orders/{id}'], ['client', 'shop', 'GET /stock/{id}'], ['server', 'stock', 'GET /stock/{id}']]);
    const [root, call, stock] = trace.spans as [Span, Span, Span];
    expect([root.parent_span_id, call.parent_span_id, stock.parent_span_id]).toEqual([null, root.span_id, call.span_id]);
    expect(stock.process_id).toBe(String(MOST_BIGINT));
    expect(stock.bytes_out).toBe('9007199254740993');
    expect(call).toMatchObject({ parent_evidence: 'thread', parent_confidence: 1, rule_version: RULE_VERSION, start_time: '2026-09-21T14:13:19.000500000Z', duration_ns: '500000', http_response_status_code: 200, attributes: { host: 'shop.test' } });
    expect(call.attributes).not.toHaveProperty('errno');
  });

  test('upper case and older ids lead to it', async () => {
    const now_id = await traceOf(`/orders/${RENAMED}`);
    const answer = await app.inject(`/api/v1/traces/${OLD_TRACE_ID.toUpperCase()}`);
    expect(answer.json()).toMatchObject({ trace_id: now_id, requested_trace_id: OLD_TRACE_ID });
    expect(answer.headers['content-location']).toBe(`/api/v1/traces/${now_id}`);
    expect(await get(`/api/v1/traces/${OLD_TRACE_ID}/evidence`)).toMatchObject({ trace_id: now_id });
    expect(await get(`/api/v1/traces/${now_id.toUpperCase()}`)).toMatchObject({ trace_id: now_id });
  });

  test('what is not there, and what is no id', async () => {
    expect(await get(`/api/v1/traces/${'0'.repeat(32)}`, 404)).toMatchObject({ code: 'trace-not-found', mend: expect.any(String) });
    expect(await get(`/api/v1/traces/${'0'.repeat(32)}/evidence`, 404)).toMatchObject({ code: 'trace-not-found' });
    for (const id of ['x', '0'.repeat(31), '0'.repeat(33), 'g'.repeat(32), "'%20OR%201=1"]) expect(await get(`/api/v1/traces/${id}`, 400)).toMatchObject({ code: 'invalid-request' });
    expect(await get(`/api/v1/traces/${'0'.repeat(32)}?format=zipkin`, 400)).toMatchObject({ code: 'invalid-request' });
  });

  test('max_spans gives the first ones and says so', async () => {
    const trace = await get<Trace>(`/api/v1/traces/${await traceOf('/orders/1')}?max_spans=2`);
    expect([trace.partial, trace.spans.length, trace.span_count]).toEqual([true, 2, 3]);
  });

  test('a call whose parent is not certain shows its candidates; the others do not', async () => {
    const trace = await get<Trace>(`/api/v1/traces/${await traceOf(`/stock/${UNDECIDED}`)}`);
    expect(trace.spans[0]?.candidates).toHaveLength(2);
    expect(trace.spans[0]?.candidates[0]).toMatchObject({ evidence: 'thread', score: 0.5, chosen: false, rule_version: RULE_VERSION, model_version: null });
    expect(trace.spans[1]?.candidates).toEqual([]);
  });

  test('OTLP/JSON: hex ids, enums as integers, 64-bit integers as text', async () => {
    const trace_id = await traceOf(`/orders/${FAILED}`);
    const otlp = await get<{ resourceSpans: { resource: { attributes: object[] }; scopeSpans: { spans: Record<string, unknown>[] }[] }[] }>(`/api/v1/traces/${trace_id}?format=otlp`);
    expect(otlp.resourceSpans.map(({ resource }) => resource.attributes[0])).toEqual([{ key: 'service.name', value: { stringValue: 'shop' } }, { key: 'service.name', value: { stringValue: 'stock' } }]);
    expect(otlp.resourceSpans[1]?.resource.attributes).toContainEqual({ key: 'tracehouse.process_id', value: { intValue: String(MOST_BIGINT) } });
    const [root, call] = otlp.resourceSpans[0]?.scopeSpans[0]?.spans ?? [];
    expect(root).toMatchObject({ traceId: trace_id, name: 'GET /orders/{id}', kind: 2, startTimeUnixNano: '1789999993000000000', endTimeUnixNano: '1789999993003000000', status: { code: 2 } });
    expect(root).not.toHaveProperty('parentSpanId');
    expect(call).toMatchObject({ kind: 3, parentSpanId: root?.['spanId'] });
    expect(root?.['attributes']).toEqual(expect.arrayContaining([
      { key: 'http.request.method', value: { stringValue: 'GET' } }, { key: 'http.response.status_code', value: { intValue: '500' } }, { key: 'url.path', value: { stringValue: `/orders/${FAILED}` } },
      { key: 'http.route', value: { stringValue: '/orders/{id}' } }, { key: 'tracehouse.complete', value: { boolValue: true } },
    ]));
    expect(call?.['attributes']).toContainEqual({ key: 'tracehouse.parent.confidence', value: { intValue: '1' } });
  });

  test("what Jaeger's UI reads: microseconds, processes, references", async () => {
    const trace_id = await traceOf(`/orders/${FAILED}`);
    const { data } = await get<{ data: { traceID: string; spans: Record<string, unknown>[]; processes: object }[] }>(`/api/v1/traces/${trace_id}?format=jaeger`);
    expect(data).toHaveLength(1);
    expect(data[0]?.traceID).toBe(trace_id);
    expect(data[0]?.processes).toMatchObject({ p1: { serviceName: 'shop' }, p2: { serviceName: 'stock', tags: expect.arrayContaining([{ key: 'tracehouse.process_id', type: 'string', value: String(MOST_BIGINT) }]) } });
    const [root, call, stock] = data[0]?.spans ?? [];
    expect(root).toMatchObject({ operationName: 'GET /orders/{id}', startTime: 1789999993000000, duration: 3000, references: [], processID: 'p1', warnings: null });
    expect(root?.['tags']).toEqual(expect.arrayContaining([{ key: 'error', type: 'bool', value: true }, { key: 'span.kind', type: 'string', value: 'server' }, { key: 'http.response.status_code', type: 'int64', value: 500 }]));
    expect(call?.['references']).toEqual([{ refType: 'CHILD_OF', traceID: trace_id, spanID: root?.['spanID'] }]);
    expect(stock?.['processID']).toBe('p2');
  });
});

describe('evidence', () => {
  test('how each link came about, and the events that bear on it', async () => {
    interface Evidence { links: { parent_span_id: string | null; evidence: string | null; candidates: { chosen: boolean }[]; span_id: string }[]; events: { op: string; span_ids: string[]; thread_id: string; ts: string }[]; events_truncated: boolean }
    const evidence = await get<Evidence>(`/api/v1/traces/${await traceOf('/orders/1')}/evidence`);
    expect(evidence.links.map(({ evidence: by, candidates }) => [by, candidates.map(({ chosen }) => chosen)])).toEqual([[null, []], ['thread', [true]], ['connection', [true]]]);
    const [root, call] = evidence.links.map((link) => link.span_id);
    expect(evidence.events.map(({ op, span_ids }) => [op, span_ids])).toEqual([['read', [root]], ['write', [root, call]], ['write', [root]]]);
    expect(evidence.events.every((event) => event.thread_id === '5011')).toBe(true);
    expect(evidence.events_truncated).toBe(false);
    const few = await get<Evidence>(`/api/v1/traces/${await traceOf('/orders/1')}/evidence?max_events=1&max_spans=1`);
    expect([few.events.length, few.events_truncated, few.links.length]).toEqual([1, true, 1]);
  });

  test('rejected candidates stay', async () => {
    const { links } = await get<{ links: { parent_span_id: null; candidates: object[] }[] }>(`/api/v1/traces/${await traceOf(`/stock/${UNDECIDED}`)}/evidence`);
    expect(links[0]?.parent_span_id).toBeNull();
    expect(links[0]?.candidates).toEqual([expect.objectContaining({ chosen: false, score: 0.5 }), expect.objectContaining({ chosen: false, score: 0.5 })]);
  });
});

describe('discovery', () => {
  test('services', async () => {
    const { services, searched } = await get<{ services: object[]; searched: object }>('/api/v1/services');
    expect(searched).toHaveProperty('start');
    expect(services).toEqual([
      { service_name: 'shop', request_count: ORDERS + 2, call_count: ORDERS + 1, error_count: 1, operation_count: 3, first_seen: '2026-09-21T14:12:55.000000000Z', last_seen: '2026-09-21T14:13:19.000500000Z' },
      { service_name: 'stock', request_count: ORDERS, call_count: 0, error_count: 1, operation_count: 1, first_seen: expect.any(String), last_seen: expect.any(String) },
    ]);
    expect((await get<{ services: object[] }>('/api/v1/services?end=2001-01-01T00:00:00Z')).services).toEqual([]);
  });

  test('operations', async () => {
    const whole = await get<{ operations: object[] }>('/api/v1/operations');
    const paged: object[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: { operations: object[]; next_cursor: string | null; searched: object } = await get(`/api/v1/operations?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`);
      expect(page).toMatchObject({ searched: { start: '2026-09-21T14:12:55.000000000Z' }, truncated: page.next_cursor !== null });
      paged.push(...page.operations);
      cursor = page.next_cursor;
    }
    expect(paged).toEqual(whole.operations);
    const first = await get<{ services: { service_name: string }[]; next_cursor: string }>('/api/v1/services?limit=1');
    expect(first.services.map(({ service_name }) => service_name)).toEqual(['shop']);
    expect(await get(`/api/v1/services?limit=1&cursor=${first.next_cursor}`)).toMatchObject({ services: [{ service_name: 'stock' }], next_cursor: null });
    expect(await get(`/api/v1/operations?cursor=${first.next_cursor}`, 400)).toMatchObject({ code: 'invalid-cursor' });
    const { operations, truncated } = await get<{ operations: { operation: string; p50_ns: string; p99_ns: string }[]; truncated: boolean }>('/api/v1/operations?service=shop&kind=server');
    expect(operations.map(({ operation }) => operation)).toEqual(['GET /orders/{id}', 'GET /other', 'GET /twins/{id}']);
    expect(operations[0]).toMatchObject({ service_name: 'shop', kind: 'server', span_count: ORDERS, error_count: 1, p50_ns: '3000000', p99_ns: '5000000' });
    expect(truncated).toBe(false);
  });

  test('graph: edges between services, and to what is not traced', async () => {
    interface Graph { nodes: { id: string; type: string; count: number; rate: number }[]; edges: { client: string; server: string; count: number; error_count: number }[] }
    const { nodes, edges } = await get<Graph>('/api/v1/graph');
    expect(nodes.map(({ id, type, count }) => [id, type, count])).toEqual([['shop', 'service', ORDERS + 2], ['stock', 'service', ORDERS], ['10.0.0.9:5432', 'external', 0]]);
    expect(edges.map(({ client, server, count, error_count }) => [client, server, count, error_count])).toEqual([['shop', '10.0.0.9:5432', 1, 0], ['shop', 'stock', ORDERS, 1]]);
    expect(nodes[1]?.rate).toBe(1);
    const one = await get<Graph>(`/api/v1/graph?start=${NOW_NS - BigInt(EXTERNAL) * 1_000_000_000n}&end=${NOW_NS - BigInt(EXTERNAL) * 1_000_000_000n + 900_000n}`);
    expect(one.edges.map(({ count }) => count)).toEqual([1, 1]);
  });
});

test('two traces that start in the same instant are two', async () => {
  const at = NOW_NS - BigInt(TWINS) * 1_000_000_000n;
  expect((await list(`start=${at}&end=${at + 1n}`)).traces).toHaveLength(2);
});

test('nothing went wrong on the way', () => {
  expect(logged).toEqual([]);
});
