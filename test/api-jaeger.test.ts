// What Jaeger UI and Grafana's Jaeger datasource ask, answered in Jaeger's shapes.
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { FAILED, INCOMPLETE, NOW_NS, OLD_TRACE_ID, ORDERS, RENAMED, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

interface JaegerTrace { traceID: string; spans: { operationName: string; startTime: number; duration: number; processID: string; tags: { key: string; type: string; value: unknown }[] }[]; processes: Record<string, { serviceName: string }> }
interface Answer<T> { data: T; total: number; limit: number; offset: number; errors: { code?: number; msg: string; traceID?: string }[] | null }

const { folder, remove } = keptFolder();
const NOW_US = NOW_NS / 1000n;
let warehouse: Warehouse;
let app: FastifyInstance;
let traceOf: (path: string) => Promise<string>;
const logged: string[] = [];

beforeAll(async () => {
  const shop = await shopWarehouse(folder);
  ({ warehouse, traceOf } = shop);
  app = buildApp({ warehouse, correlator: shop.correlator }, { now_ns: () => NOW_NS, log: (line) => logged.push(line) });
});

afterAll(async () => {
  await app.close();
  await warehouse.close();
  remove();
});

async function get<T>(url: string, status = 200): Promise<T> {
  const answer = await app.inject(url);
  expect(answer.statusCode, answer.body).toBe(status);
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
  return answer.json() as T;
}

const search = async (query: Record<string, string>, base = ''): Promise<JaegerTrace[]> => {
  const answer = await get<Answer<JaegerTrace[]>>(`${base}/api/traces?${new URLSearchParams(query)}`);
  expect(answer).toMatchObject({ total: 0, limit: 0, offset: 0, errors: null });
  return answer.data;
};

describe.each(['', '/jaeger'])('version 1 under %s/api', (base) => {
  test('services and operations, for the menus', async () => {
    expect(await get(`${base}/api/services`)).toEqual({ data: ['shop', 'stock'], total: 2, limit: 0, offset: 0, errors: null });
    expect(await get(`${base}/api/services/shop/operations`)).toEqual({ data: ['GET /orders/{id}', 'GET /other', 'GET /sql', 'GET /stock/{id}', 'GET /twins/{id}'], total: 5, limit: 0, offset: 0, errors: null });
    expect((await get<Answer<string[]>>(`${base}/api/services/${encodeURIComponent('no/such service')}/operations`)).data).toEqual([]);
    expect((await get<Answer<object[]>>(`${base}/api/operations?service=shop&spanKind=client`)).data).toEqual([{ name: 'GET /sql', spanKind: 'client' }, { name: 'GET /stock/{id}', spanKind: 'client' }]);
    expect(await get(`${base}/api/operations`, 400)).toEqual({ data: null, total: 0, limit: 0, offset: 0, errors: [{ code: 400, msg: "parameter 'service' is required" }] });
  });

  test('one trace by its id, padded, in capitals or of former days', async () => {
    const id = await traceOf('/orders/1');
    const { data } = await get<Answer<JaegerTrace[]>>(`${base}/api/traces/${id.toUpperCase()}?prettyPrint=true`);
    expect(data).toHaveLength(1);
    expect(data[0]).toMatchObject({ traceID: id, processes: { p1: { serviceName: 'shop' }, p2: { serviceName: 'stock' } } });
    const renamed = await traceOf(`/orders/${RENAMED}`);
    for (const old of [OLD_TRACE_ID, 'a', 'A', '00a', '000000000000000a']) expect((await get<Answer<JaegerTrace[]>>(`${base}/api/traces/${old}?start=1&end=2`)).data[0]?.traceID).toBe(renamed);
  });

  test('no such trace, and no id', async () => {
    expect(await get(`${base}/api/traces/123abc`, 404)).toEqual({ data: null, total: 0, limit: 0, offset: 0, errors: [{ code: 404, msg: 'trace not found' }] });
    expect(await get(`${base}/api/traces/xyz`, 400)).toMatchObject({ errors: [{ code: 400, msg: 'strconv.ParseUint: parsing "xyz": invalid syntax' }] });
    expect(await get(`${base}/api/traces/${'1'.repeat(33)}`, 400)).toMatchObject({ data: null, errors: [{ code: 400, msg: `TraceID cannot be longer than 32 hex characters: ${'1'.repeat(33)}` }] });
  });
});

describe('search', () => {
  test("as Jaeger UI asks: everything is sent, empty too", async () => {
    const found = await search({ service: 'shop', limit: '20', lookback: '1h', maxDuration: '', minDuration: '', start: String(NOW_US - 3_600_000_000n), end: String(NOW_US), tags: '' });
    expect(found).toHaveLength(20);
    const starts = found.map((trace) => trace.spans[0]?.startTime as number);
    expect(starts).toEqual(starts.toSorted((a, b) => b - a));
    expect(starts[0]).toBe(Number(NOW_US - 1_000_000n));
    expect(found[0]?.spans).toHaveLength(3);
  });

  test("as Grafana asks: tags as a JSON object, only what is set", async () => {
    const failed = await search({ service: 'shop', operation: 'GET /orders/{id}', tags: '{"http.status_code":"500","error":"true"}' });
    expect(failed.map(({ traceID }) => traceID)).toEqual([await traceOf(`/orders/${FAILED}`)]);
    expect(await search({ service: 'stock', operation: 'GET /orders/{id}' })).toEqual([]);
    // Both are true of the trace, but of no single span.
    expect(await search({ service: 'shop', tags: '{"span.kind":"client","http.route":"/orders/{id}"}' })).toEqual([]);
    expect(await search({ service: 'shop', tags: '{"host.name":"node-1","tracehouse.complete":"false"}' })).toHaveLength(1);
    expect(await search({ service: 'shop', tags: '{"tracehouse.host":"shop.test"}', limit: '3' })).toHaveLength(3);
    expect(await search({ service: 'shop', tags: `{"it's":"\\"; DROP"}` })).toEqual([]);
  });

  test('tag=key:value, repeated', async () => {
    const { data } = await get<Answer<JaegerTrace[]>>(`/api/traces?service=shop&tag=url.path:/orders/${INCOMPLETE}&tag=span.kind:server`);
    expect(data.map(({ traceID }) => traceID)).toEqual([await traceOf(`/orders/${INCOMPLETE}`)]);
  });

  test('durations are those of the span', async () => {
    const operation = 'GET /orders/{id}';
    expect(await search({ service: 'shop', operation, minDuration: '5ms' })).toHaveLength(ORDERS / 5);
    expect(await search({ service: 'shop', operation, minDuration: '4.9999ms', maxDuration: '5000.1us' })).toHaveLength(ORDERS / 5);
    expect(await search({ service: 'shop', operation, maxDuration: '0.001s' })).toHaveLength(ORDERS / 5);
    expect(await search({ service: 'shop', minDuration: '1h1m1.5s' })).toEqual([]);
  });

  test('the range is that of the span, microseconds at both ends', async () => {
    const at = NOW_US - 1_000_000n;
    expect(await search({ service: 'shop', operation: 'GET /orders/{id}', start: String(at), end: String(at) })).toHaveLength(1);
    expect(await search({ service: 'shop', operation: 'GET /orders/{id}', start: String(at + 1n), end: String(NOW_US) })).toEqual([]);
    expect((await search({ service: 'shop', start: String(at + 1n), end: String(NOW_US) })).map(({ spans }) => spans.length)).toEqual([3]);
  });

  test('traces by ids need no service', async () => {
    const id = await traceOf('/orders/1');
    const answer = await get<Answer<JaegerTrace[]>>(`/api/traces?traceID=${id}&traceID=${id.toUpperCase()}&traceID=beef`);
    expect(answer.data.map(({ traceID }) => traceID)).toEqual([id]);
    expect(answer.errors).toEqual([{ msg: 'trace not found', traceID: 'beef'.padStart(32, '0') }]);
  });

  test.each([
    ['', "parameter 'service' is required"],
    ['service=', "parameter 'service' is required"],
    ['service=shop&minDuration=5', `unable to parse param 'minDuration': time: missing unit in duration "5"`],
    ['service=shop&maxDuration=soon', `unable to parse param 'maxDuration': time: invalid duration "soon"`],
    ['service=shop&minDuration=2s&maxDuration=1s', "'maxDuration' should be greater than 'minDuration'"],
    ['service=shop&limit=0', 'invalid parameter: limit must be greater than 0'],
    ['service=shop&start=yesterday', `unable to parse param 'start': strconv.ParseInt: parsing "yesterday": invalid syntax`],
    ['service=shop&tag=nocolon', "malformed 'tag' parameter, expecting key:value, received: nocolon"],
    ['traceID=xyz', 'cannot parse traceID param: strconv.ParseUint: parsing "xyz": invalid syntax'],
  ])('%s is refused as Jaeger refuses it', async (query, msg) => {
    expect(await get(`/api/traces?${query}`, 400)).toEqual({ data: null, total: 0, limit: 0, offset: 0, errors: [{ code: 400, msg }] });
  });

  test('tags that are no JSON object', async () => {
    for (const tags of ['{', '[]', 'null', 'a=b']) expect(await get(`/api/traces?service=shop&tags=${encodeURIComponent(tags)}`, 400)).toMatchObject({ errors: [{ code: 400, msg: expect.stringContaining("malformed 'tags' parameter, cannot unmarshal JSON") }] });
  });
});

test('dependencies: milliseconds', async () => {
  const now_ms = NOW_NS / 1_000_000n;
  const calls = async (query: string): Promise<object[]> => (await get<Answer<object[]>>(`/api/dependencies?${query}`)).data;
  expect(await calls(`endTs=${now_ms}&lookback=604800000`)).toEqual([{ parent: 'shop', child: '10.0.0.9:5432', callCount: 1 }, { parent: 'shop', child: 'stock', callCount: ORDERS }]);
  expect(await calls(`endTs=${now_ms}&lookback=604800000&service=stock`)).toHaveLength(1);
  expect(await calls(`endTs=${now_ms}&lookback=3000`)).toEqual([{ parent: 'shop', child: 'stock', callCount: 3 }]);
  expect(await calls(`endTs=${now_ms - 1_000_000n}&lookback=1000`)).toEqual([]);
  expect(await get('/api/dependencies?endTs=today', 400)).toMatchObject({ data: null, errors: [{ code: 400 }] });
});

describe.each(['', '/jaeger'])('version 3 under %s/api/v3', (base) => {
  interface Otlp { result: { resourceSpans: { resource: { attributes: { key: string; value: object }[] }; scopeSpans: { spans: { traceId: string; spanId: string; startTimeUnixNano: string; kind: number }[] }[] }[] } }
  const range = 'query.start_time_min=2026-09-21T00:00:00Z&query.start_time_max=2026-09-22T00:00:00Z';

  test('services and operations', async () => {
    expect(await get(`${base}/api/v3/services`)).toEqual({ services: ['shop', 'stock'] });
    expect(await get(`${base}/api/v3/operations?service=stock`)).toEqual({ operations: [{ name: 'GET /stock/{id}', spanKind: 'server' }] });
    expect((await get<{ operations: object[] }>(`${base}/api/v3/operations?service=shop&span_kind=client`)).operations).toHaveLength(2);
  });

  test('one trace: OTLP with hex ids and quoted 64-bit integers', async () => {
    const id = await traceOf('/orders/1');
    const { result } = await get<Otlp>(`${base}/api/v3/traces/${id.toUpperCase()}?start_time=2026-09-21T00:00:00+02:00&end_time=2026-09-22T00:00:00Z`);
    const span = result.resourceSpans[0]?.scopeSpans[0]?.spans[0];
    expect(span).toMatchObject({ traceId: id, spanId: expect.stringMatching(/^[0-9a-f]{16}$/), startTimeUnixNano: '1789999999000000000', kind: 2 });
    expect(result.resourceSpans[0]?.resource.attributes).toContainEqual({ key: 'process.pid', value: { intValue: '10' } });
  });

  test('search, with an offset whose + is not escaped', async () => {
    const find = async (query: string, status = 200): Promise<Otlp> => get<Otlp>(`${base}/api/v3/traces?${query}`, status);
    const traces = ({ result }: Otlp): number => new Set(result.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans.map(({ traceId }) => traceId)))).size;
    expect(traces(await find(`query.service_name=stock&${range}`))).toBe(ORDERS);
    const three = await find(`query.service_name=stock&query.num_traces=3&${range}`);
    expect(traces(three)).toBe(3);
    // Each resource of one trace only, trace by trace.
    expect(three.result.resourceSpans.map(({ scopeSpans }) => new Set(scopeSpans.flatMap(({ spans }) => spans.map(({ traceId }) => traceId))).size)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(traces(await find(`query.service_name=stock&query.num_traces=3&query.search_depth=2&${range}`))).toBe(2);
    expect(traces(await find(`query.service_name=shop&query.operation_name=GET%20/orders/%7Bid%7D&query.duration_min=5ms&${range}`))).toBe(ORDERS / 5);
    // 16:13:19 two hours east is 14:13:19, the newest order's second.
    expect(traces(await find('query.service_name=stock&query.start_time_min=2026-09-21T16:13:19.000000001+02:00&query.start_time_max=2026-09-21T16:13:20+02:00'))).toBe(1);
    expect(traces(await find(`query.attributes=${encodeURIComponent('{"http.response.status_code":"500"}')}&${range}`))).toBe(1);
  });

  test('the names of parameters that Jaeger has had since 2.19 are read first', async () => {
    const canonical = 'query.startTimeMin=2026-09-21T00:00:00Z&query.startTimeMax=2026-09-22T00:00:00Z';
    const found = await get<Otlp>(`${base}/api/v3/traces?query.serviceName=stock&query.service_name=nobody&query.searchDepth=2&query.search_depth=9&${canonical}`);
    expect(found).toEqual(await get<Otlp>(`${base}/api/v3/traces?query.service_name=stock&query.search_depth=2&${range}`));
    expect(found.result.resourceSpans).toHaveLength(4);
    expect((await get<{ operations: object[] }>(`${base}/api/v3/operations?service=shop&spanKind=client`)).operations).toHaveLength(2);
    await get(`${base}/api/v3/traces/${await traceOf('/orders/1')}?startTime=noon`, 400);
  });

  test('summaries of traces, as the search page of Jaeger UI asks for them', async () => {
    interface Summary { traceId: string; spanCount: number; errorSpanCount: number; orphanSpanCount: number; minStartTimeUnixNano: string; maxEndTimeUnixNano: string; services: object[] }
    const asked = { 'query.serviceName': 'stock', 'query.startTimeMin': '2026-09-21T00:00:00.000Z', 'query.startTimeMax': '2026-09-22T00:00:00.000Z', 'query.searchDepth': '50' };
    const find = async (also: Record<string, string> = {}): Promise<Summary[]> => (await get<{ summaries: Summary[] }>(`${base}/api/v3/trace-summaries?${new URLSearchParams({ ...asked, ...also })}`)).summaries;
    const all = await find();
    expect(all).toHaveLength(ORDERS);
    expect(all.map(({ traceId }) => traceId)).toEqual(all.map(({ traceId }) => traceId).toSorted().toReversed());
    // Each as the spans of the trace itself have it.
    for (const { traceId, ...summary } of all) {
      const { result } = await get<{ result: { resourceSpans: { resource: { attributes: { key: string; value: { stringValue?: string } }[] }; scopeSpans: { spans: { spanId: string; parentSpanId?: string; name: string; startTimeUnixNano: string; endTimeUnixNano: string; status: { code?: number } }[] }[] }[] } }>(`${base}/api/v3/traces/${traceId}`);
      const spans = result.resourceSpans.flatMap(({ resource, scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans.map((span) => ({ ...span, service: resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '' }))));
      const root = spans.find(({ parentSpanId }) => parentSpanId === undefined);
      const of = (some: typeof spans) => ({ spanCount: some.length, errorSpanCount: some.filter(({ status }) => status.code === 2).length });
      expect(summary).toEqual({
        ...of(spans),
        rootServiceName: root?.service ?? '',
        rootOperationName: root?.name ?? '',
        minStartTimeUnixNano: spans.map(({ startTimeUnixNano }) => startTimeUnixNano).toSorted()[0],
        maxEndTimeUnixNano: spans.map(({ endTimeUnixNano }) => endTimeUnixNano).toSorted().at(-1),
        orphanSpanCount: spans.filter(({ parentSpanId }) => parentSpanId !== undefined && !spans.some(({ spanId }) => spanId === parentSpanId)).length,
        services: [...new Set(spans.map(({ service }) => service))].toSorted().map((name) => ({ name, ...of(spans.filter(({ service }) => service === name)) })),
      });
    }
    expect(await find({ 'query.searchDepth': '3' })).toEqual(all.slice(0, 3));
    expect((await find({ 'query.attributes': '{"http.response.status_code":"500"}', 'query.serviceName': 'shop' })).map(({ errorSpanCount }) => errorSpanCount > 0)).toEqual([true]);
    // Unlike whole traces: nothing found is an empty list.
    expect(await find({ 'query.serviceName': 'nobody' })).toEqual([]);
  });

  test('who calls whom', async () => {
    const calls = async (query: string, status = 200): Promise<unknown> => get(`${base}/api/v3/dependencies?${query}`, status);
    const { dependencies } = (await calls('startTime=2026-09-21T00:00:00Z&endTime=2026-09-22T00:00:00Z')) as { dependencies: object[] };
    const { data } = await get<Answer<{ parent: string; child: string; callCount: number }[]>>(`${base}/api/dependencies?endTs=${Date.parse('2026-09-22T00:00:00Z')}&lookback=86400000`);
    expect(data.length).toBeGreaterThan(0);
    expect(dependencies).toEqual(data.map((call) => ({ ...call, callCount: String(call.callCount) })));
    expect(await calls('start_time=2026-09-20T00:00:00Z&end_time=2026-09-20T01:00:00Z')).toEqual({ dependencies: [] });
    expect(await calls('startTime=2026-09-21T00:00:00Z', 400)).toEqual({ error: { httpCode: 400, message: 'missing required parameter: endTime' } });
    expect(await calls('startTime=2026-09-22T00:00:00Z&endTime=2026-09-21T00:00:00Z', 400)).toEqual({ error: { httpCode: 400, message: 'endTime must be after startTime' } });
  });

  test('an empty search is 404, as is a trace that is not there', async () => {
    const nothing = { error: { httpCode: 404, message: 'No traces found' } };
    expect(await get(`${base}/api/v3/traces?query.service_name=nobody&${range}`, 404)).toEqual(nothing);
    expect(await get(`${base}/api/v3/traces/beef`, 404)).toEqual(nothing);
  });

  test.each([
    ['query.service_name=shop', 'query.startTimeMin and query.startTimeMax are required'],
    ['query.startTimeMin=noon&query.startTimeMax=2026-09-22T00:00:00Z', 'malformed parameter query.startTimeMin: parsing time "noon"'],
    [`query.durationMax=5&${range}`, 'malformed parameter query.durationMax: time: missing unit in duration "5"'],
    [`query.filter=%7B%22op%22:%22eq%22%7D&${range}`, 'parameter query.filter is not supported'],
    ['query.start_time_min=noon&query.start_time_max=2026-09-22T00:00:00Z', 'malformed parameter query.start_time_min'],
    [`query.duration_min=5&${range}`, 'malformed parameter query.duration_min: time: missing unit in duration "5"'],
    [`query.num_traces=many&${range}`, 'malformed parameter query.num_traces'],
  ])('%s is refused', async (query, message) => {
    expect(await get(`${base}/api/v3/traces?${query}`, 400)).toEqual({ error: { httpCode: 400, message: expect.stringContaining(message) } });
  });
});

test('who may not ask is told so by the server, not by Jaeger', async () => {
  const answer = await app.inject({ url: '/api/services', headers: { host: 'rebound.example' } });
  expect([answer.statusCode, answer.headers['content-type']]).toEqual([403, 'application/problem+json']);
  expect(logged).toEqual([]);
});
