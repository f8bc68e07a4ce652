// What Grafana's Tempo datasource asks, answered in Tempo's shapes.
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { decodeTraceByIdResponse, decodeTraces } from '../api/formats/otlp-protobuf.ts';
import { logfmt } from '../api/tempo/tag-search.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { FAILED, NOW_NS, OLD_TRACE_ID, ORDERS, RENAMED, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

interface Found { traceID: string; rootServiceName: string; startTimeUnixNano: string; durationMs: number; spanSet: { spans: object[]; matched: number }; spanSets: object[] }

const { folder, remove } = keptFolder();
const NOW_S = NOW_NS / 1_000_000_000n;
const TRACES = ORDERS + 3;
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

async function get<T>(url: string): Promise<T> {
  const answer = await app.inject(`/tempo/api${url}`);
  expect(answer.statusCode, answer.body).toBe(200);
  return answer.json() as T;
}

async function refused(url: string, status = 400): Promise<string> {
  const answer = await app.inject(`/tempo/api${url}`);
  expect([answer.statusCode, answer.headers['content-type']], answer.body).toEqual([status, 'text/plain; charset=utf-8']);
  return answer.body;
}

const find = async (query: Record<string, string>): Promise<Found[]> => (await get<{ traces: Found[] }>(`/search?${new URLSearchParams({ limit: '100', ...query })}`)).traces;
const select = (q: string): Promise<Found[]> => find({ q });

test('what is asked first: is it there, and which version', async () => {
  expect((await app.inject('/tempo/api/echo')).body).toBe('echo');
  expect(await get('/status/buildinfo')).toMatchObject({ version: expect.stringMatching(/^2\.\d+\.\d+$/), revision: expect.stringMatching(/^tracehouse-/) });
  expect((await app.inject('/api/echo')).statusCode).toBe(404);
});

describe('one trace', () => {
  test('protobuf, as Grafana reads it', async () => {
    const id = await traceOf(`/orders/${FAILED}`);
    const headers = { accept: 'application/protobuf' };
    const first = await app.inject({ url: `/tempo/api/traces/${id.toUpperCase()}?start=1&end=2`, headers });
    expect(first.headers['content-type']).toBe('application/protobuf');
    const traces = decodeTraces(first.rawPayload);
    expect(traces.resourceSpans.map(({ resource }) => resource.attributes[0])).toEqual([{ key: 'service.name', value: { stringValue: 'shop' } }, { key: 'service.name', value: { stringValue: 'stock' } }]);
    expect(traces.resourceSpans[0]?.scopeSpans[0]?.spans[0]).toMatchObject({ traceId: id, kind: 2, startTimeUnixNano: '1789999993000000000', status: { code: 2 } });
    const second = await app.inject({ url: `/tempo/api/v2/traces/${id}`, headers });
    const { trace, status } = decodeTraceByIdResponse(second.rawPayload);
    expect(trace).toEqual(traces);
    expect(status).toBeUndefined();
    // The wrapper's first field is the trace itself.
    expect(second.rawPayload[0]).toBe(0x0a);
    expect(second.rawPayload.subarray(-first.rawPayload.length).equals(first.rawPayload)).toBe(true);
  });

  test("JSON as protobuf's own mapping has it: ids in base64, enums by name", async () => {
    const id = await traceOf(`/orders/${FAILED}`);
    const { batches } = await get<{ batches: { scopeSpans: { spans: object[] }[] }[] }>(`/traces/${id}`);
    expect(batches[0]?.scopeSpans[0]?.spans[0]).toMatchObject({ traceId: Buffer.from(id, 'hex').toString('base64'), kind: 'SPAN_KIND_SERVER', startTimeUnixNano: '1789999993000000000', status: { code: 'STATUS_CODE_ERROR' } });
    expect(await get(`/v2/traces/${id}`)).toEqual({ trace: { resourceSpans: batches } });
    expect(await get(`/v2/traces/a`)).toEqual(await get(`/v2/traces/${OLD_TRACE_ID}`));
    expect(JSON.stringify(await get('/v2/traces/00a'))).toContain(Buffer.from(await traceOf(`/orders/${RENAMED}`), 'hex').toString('base64'));
  });

  test('none, and no id', async () => {
    expect(await refused('/traces/beef', 404)).toBe('trace not found');
    expect(await refused('/v2/traces/beef', 404)).toBe('trace not found');
    expect(await refused('/v2/traces/xyz')).toContain('invalid trace id');
  });
});

describe('search', () => {
  test('a line a trace, with the spans that matched', async () => {
    const [found, ...others] = await select(`{resource.service.name="shop" && name="GET /orders/{id}" && duration>1ms && status=error && span.http.status_code=500}`);
    expect(others).toEqual([]);
    const set = { spans: [{ spanID: expect.stringMatching(/^[0-9a-f]{16}$/), name: 'GET /orders/{id}', startTimeUnixNano: '1789999993000000000', durationNanos: '3000000', attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] }], matched: 1 };
    expect(found).toEqual({ traceID: await traceOf(`/orders/${FAILED}`), rootServiceName: 'shop', rootTraceName: 'GET /orders/{id}', startTimeUnixNano: '1789999993000000000', durationMs: 3, spanSet: set, spanSets: [set] });
    const [all] = await find({ q: '{ .http.request.method = "GET" && status = error }', spss: '2' });
    expect([all?.spanSet.spans.length, all?.spanSet.matched]).toEqual([2, 3]);
  });

  test.each<[string, number]>([
    ['{}', TRACES],
    ['{ true }', TRACES],
    ['{ status = error }', 1],
    ['{ kind = client && .server.address =~ "shop.*" }', ORDERS],
    ['{ span.http.status_code >= 500 }', 1],
    ['{ span.http.response.status_code > 499.5 }', 1],
    ['{ resource.service.name = "stock" }', ORDERS],
    ['{ resource.service.name != "shop" }', ORDERS],
    ['{resource.service.name=~"shop|stock"}', TRACES],
    ['{ resource.service.name =~ "sho" }', 0],
    [String.raw`{ name =~ "GET /orders/\\{id\\}" && resource.service.name = "shop" }`, ORDERS],
    [String.raw`{ name =~ "\\[.*" }`, 0],
    ['{ name !~ "GET /orders.*" && kind = server }', ORDERS + 2],
    ['{(span.url.path="/orders/1" || span.url.path="/orders/2")}', 2],
    ['{ !(status = error || status = unset) }', 0],
    ['{ name = "GET /orders/{id}" && duration >= 5ms }', ORDERS / 5],
    ['{ duration <= 1ms && kind = server && resource.service.name = "shop" }', ORDERS / 5],
    ['{ traceDuration > 4.9ms && traceDuration < 1h1m }', ORDERS / 5],
    ['{ rootServiceName = "shop" && trace:duration >= 5ms }', ORDERS / 5],
    ['{ span."tracehouse.complete" = false }', 1],
    ['{ span.network.protocol.version = "1.1" && span:id != nil }', TRACES],
    ['{ span.service.name = "shop" }', 0],
    ['{ resource.nowhere = "shop" }', 0],
    ['{ span.nowhere = nil && kind = server && name = `GET /other` }', 1],
    ['{ status = error } | select(span.http.request.method)', 1],
  ])('%s', async (q, count) => {
    expect(await select(q)).toHaveLength(count);
  });

  test.each([
    ['{ status = error } && { kind = server }', "not supported here: '&& { kind = server }'"],
    ['{ status = error } >> { }', "not supported here: '>> { }'"],
    ['{ } | rate()', "not supported here: '| rate()'"],
    ['{ status = error } | count() > 2', "not supported here: '| count() > 2'"],
    ['{ span.a = span.b }', "not supported here: 'span.b }'"],
    ['{ .a + 1 = 2 }', 'an operator is expected after .a'],
    ['{ status = }', 'a value is expected after status ='],
    ['{ duration > 5 }', 'duration is compared with a duration'],
    ['{ nonsense = 1 }', 'there is no field nonsense'],
    ['{ event.name = "x" }', 'there is no field event.name'],
    ['{ name =~ "(" }', 'is no regular expression'],
    [String.raw`{ name =~ "a\(" }`, 'is no regular expression'],
    ['{ name = "x }', 'is not understood'],
    ['status = error', 'not supported here'],
    [`{${'('.repeat(60)}status = error${')'.repeat(60)}}`, 'brackets too deep'],
  ])('%s is refused, with the reason', async (q, reason) => {
    expect(await refused(`/search?q=${encodeURIComponent(q)}`)).toContain(reason);
  });

  test('by tags in logfmt, parts of values in any case, and the duration of the trace', async () => {
    expect(await find({ tags: 'service.name=SHO http.status_code=50' })).toHaveLength(1);
    expect(await find({ tags: 'name="get /orders" error=true' })).toHaveLength(1);
    expect(await find({ tags: 'service.name=shop', minDuration: '5ms' })).toHaveLength(ORDERS / 5);
    expect(await find({ minDuration: '1500us', maxDuration: '2ms' })).toHaveLength(ORDERS / 5);
    expect(await refused('/search?minDuration=5')).toContain('missing unit');
    expect(await refused(`/search?tags=${encodeURIComponent('a="b')}`)).toContain('logfmt');
    expect(logfmt('a=1 b="c \\"d\\" e" f')).toEqual([['a', '1'], ['b', 'c "d" e'], ['f', 'true']]);
  });

  test('range in seconds, limit, newest first', async () => {
    const last = await find({ start: String(NOW_S - 2n), end: String(NOW_S), q: '{name="GET /orders/{id}"}' });
    expect(last.map(({ startTimeUnixNano }) => startTimeUnixNano)).toEqual(['1789999999000000000', '1789999998000000000']);
    expect(await find({ limit: '3' })).toHaveLength(3);
    expect((await get<{ traces: object[] }>('/search')).traces).toHaveLength(20);
    expect(await get(`/search?start=1&end=2`)).toEqual({ traces: [], metrics: {} });
    for (const query of ['start=now', 'limit=0', 'limit=x', 'spss=-1', 'start=3&end=2']) await refused(`/search?${query}`);
  });
});

describe('what can be searched by', () => {
  test('names, by scope', async () => {
    const { scopes } = await get<{ scopes: { name: string; tags: string[] }[] }>('/v2/search/tags?limit=5000&start=1&end=2');
    expect(scopes.map(({ name }) => name)).toEqual(['resource', 'span', 'intrinsic']);
    expect(scopes[0]?.tags).toEqual(['service.name', 'host.name', 'process.pid']);
    expect(scopes[1]?.tags).toContain('http.response.status_code');
    expect(scopes[2]?.tags).toEqual(expect.arrayContaining(['name', 'status', 'kind', 'duration', 'traceDuration', 'rootServiceName']));
    expect(await get('/v2/search/tags?scope=resource')).toEqual({ scopes: [scopes[0]] });
    expect((await get<{ tagNames: string[] }>('/search/tags')).tagNames).toEqual(expect.arrayContaining(['service.name', 'url.path']));
    expect(await refused('/v2/search/tags?scope=galaxy')).toContain('unknown scope');
  });

  test('values', async () => {
    expect(await get('/search/tag/service.name/values')).toEqual({ tagValues: ['shop', 'stock'] });
    expect(await get('/v2/search/tag/resource.service.name/values')).toEqual({ tagValues: [{ type: 'string', value: 'shop' }, { type: 'string', value: 'stock' }] });
    expect(await get(`/v2/search/tag/${encodeURIComponent(encodeURIComponent('.http.status_code'))}/values`)).toEqual({ tagValues: [{ type: 'int', value: '200' }, { type: 'int', value: '500' }] });
    expect(await get('/v2/search/tag/status/values')).toEqual({ tagValues: [{ type: 'keyword', value: 'error' }, { type: 'keyword', value: 'unset' }] });
    expect(await get(`/v2/search/tag/name/values?q=${encodeURIComponent('{ kind = server && resource.service.name = "stock" }')}`)).toEqual({ tagValues: [{ type: 'string', value: 'GET /stock/{id}' }] });
    expect((await get<{ tagValues: object[] }>(`/v2/search/tag/name/values?limit=3&q=${encodeURIComponent('{ kind = ')}`)).tagValues).toHaveLength(3);
    expect(await get('/v2/search/tag/duration/values')).toEqual({ tagValues: [] });
    expect(await get('/v2/search/tag/.nowhere/values')).toEqual({ tagValues: [] });
  });
});

test('nothing went wrong on the way', () => {
  expect(logged).toEqual([]);
});
