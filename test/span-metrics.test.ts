// Tempo's service-graph and span metrics: every call and span counted once, however often somebody looks.
import type { FastifyInstance } from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import type { SpanMetricsOptions } from '../api/span-metrics/span-metrics.ts';
import { NOW_NS, ORDERS, shopWarehouse } from './support/shop-warehouse.ts';
import { temporaryFolder } from './support/temporary-folder.ts';
import { at, tell } from './support/told-process.ts';
import type { Told } from './support/told-process.ts';

const SETTLED_NS = 7_000_000_000n;

async function shopApp(span_metrics: SpanMetricsOptions, cut: { ns: bigint }): Promise<FastifyInstance> {
  const logged: string[] = [];
  const { warehouse } = await shopWarehouse(temporaryFolder());
  const app = buildApp({ warehouse, correlator: { get cut_ns() { return cut.ns; } } }, { now_ns: () => NOW_NS, span_metrics, log: (line) => logged.push(line) });
  onTestFinished(async () => {
    await app.close();
    await warehouse.close();
    expect(logged).toEqual([]);
  });
  return app;
}

async function scrape(app: FastifyInstance): Promise<Map<string, number>> {
  const { body } = await app.inject('/metrics');
  return new Map(body.split('\n').filter((line) => /^(?:traces_|tracehouse_span_metrics)/.test(line)).map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

const edge = (name: string, client: string, server: string, connection_type: string, le = ''): string => `traces_service_graph_request_${name}{client="${client}",server="${server}",connection_type="${connection_type}"${le === '' ? '' : `,le="${le}"`}}`;
const sum = (series: Map<string, number>, pattern: RegExp): number => [...series].filter(([name]) => pattern.test(name)).reduce((total, [, value]) => total + value, 0);

test('calls by who called and who was called, with both ends\' durations', async () => {
  const app = await shopApp({ since_ns: 0n }, { ns: NOW_NS + SETTLED_NS });
  const series = await scrape(app);
  expect(series.get(edge('total', 'shop', 'stock', ''))).toBe(ORDERS);
  expect(series.get(edge('failed_total', 'shop', 'stock', ''))).toBe(1);
  expect(series.get(edge('client_seconds_count', 'shop', 'stock', ''))).toBe(ORDERS);
  expect(series.get(edge('server_seconds_count', 'shop', 'stock', ''))).toBe(ORDERS);
  expect(series.get(edge('client_seconds_bucket', 'shop', 'stock', '', '0.1'))).toBe(ORDERS);
  expect(series.get(edge('client_seconds_bucket', 'shop', 'stock', '', '+Inf'))).toBe(ORDERS);
  // Each call took a quarter of 1, 2, 3, 4 or 5 ms.
  expect(series.get(edge('client_seconds_sum', 'shop', 'stock', ''))).toBeCloseTo((ORDERS / 5) * 0.015 / 4, 9);
  expect(series.get(edge('total', 'shop', '10.0.0.9:5432', 'virtual_node'))).toBe(1);
  expect(series.has(edge('server_seconds_count', 'shop', '10.0.0.9:5432', 'virtual_node'))).toBe(false);
  expect(series.get(edge('total', 'user', 'shop', 'virtual_node'))).toBe(ORDERS + 2);
  expect(series.has(edge('client_seconds_count', 'user', 'shop', 'virtual_node'))).toBe(false);
  expect(series.get('traces_spanmetrics_calls_total{service="shop",span_name="GET /orders/{id}",span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_UNSET"}')).toBe(ORDERS - 1);
  expect(series.get('traces_spanmetrics_calls_total{service="shop",span_name="GET /orders/{id}",span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_ERROR"}')).toBe(1);
  const latency = (le: string): number | undefined => series.get(`traces_spanmetrics_latency_bucket{service="shop",span_name="GET /orders/{id}",span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_UNSET",le="${le}"}`);
  expect([latency('0.002'), latency('0.004'), latency('0.008'), latency('+Inf')]).toEqual([10, 19, 24, 24]);
  expect(series.get('tracehouse_span_metrics_left_out_total{of="service_graph"}')).toBe(0);
});

test('a call that its client gave up counts for whom the others to that address have reached', async () => {
  const { warehouse } = await shopWarehouse(temporaryFolder());
  await warehouse.withDerived(async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans BY NAME
    SELECT * REPLACE (span_id + 777 AS span_id, NULL AS status, FALSE AS answered) FROM memory.stored.spans WHERE NOT is_server AND remote_port = 9090 ORDER BY start_ns DESC LIMIT 1;
    INSERT INTO ${alias}.spans BY NAME SELECT * REPLACE (span_id + 778 AS span_id, NULL AS status, FALSE AS answered, 'node-2' AS node) FROM memory.stored.spans WHERE NOT is_server AND remote_port = 9090 AND answered ORDER BY start_ns DESC LIMIT 1;
    INSERT INTO ${alias}.spans BY NAME SELECT * REPLACE (span_id + 779 AS span_id) FROM memory.stored.spans WHERE NOT is_server AND remote_port = 9090 AND answered ORDER BY start_ns DESC LIMIT 1`)));
  const app = buildApp({ warehouse, correlator: { cut_ns: NOW_NS + SETTLED_NS } }, { now_ns: () => NOW_NS, span_metrics: { since_ns: 0n } });
  onTestFinished(async () => {
    await app.close();
    await warehouse.close();
  });
  const series = await scrape(app);
  expect(series.get(edge('total', 'shop', 'stock', ''))).toBe(ORDERS + 1);
  expect(series.get(edge('server_seconds_count', 'shop', 'stock', ''))).toBe(ORDERS);
  // On another node that address is another's; and who has answered without being seen is not traced.
  expect([...series].filter(([name]) => name.includes('request_total') && name.includes('9090')).map(([, calls]) => calls)).toEqual([2]);
});

test('each span once, at whichever scrape it is due, and never less than before', async () => {
  const cut = { ns: NOW_NS - 30_000_000_000n };
  const app = await shopApp({ since_ns: 0n }, cut);
  let before = await scrape(app);
  expect(sum(before, /^traces_/)).toBe(0);
  for (; cut.ns <= NOW_NS + SETTLED_NS; cut.ns += 1_700_000_000n) {
    const [now, at_once] = await Promise.all([scrape(app), scrape(app)]);
    expect(now).toEqual(at_once);
    for (const [name, value] of before) expect(now.get(name), name).toBeGreaterThanOrEqual(value);
    before = now;
  }
  cut.ns = NOW_NS + SETTLED_NS;
  const series = await scrape(app);
  expect(await scrape(app)).toEqual(series);
  expect(sum(series, /^traces_spanmetrics_calls_total/)).toBe(78);
  expect(sum(series, /^traces_service_graph_request_total/)).toBe(ORDERS + 1 + ORDERS + 2);
  expect(series.get(edge('total', 'shop', 'stock', ''))).toBe(ORDERS);
});

test('what there are too many series for is counted', async () => {
  const app = await shopApp({ since_ns: 0n, most_edges: 2, most_span_series: 1 }, { ns: NOW_NS + SETTLED_NS });
  const series = await scrape(app);
  expect([...series.keys()].filter((name) => name.startsWith('traces_service_graph_request_total'))).toHaveLength(2);
  expect(series.get('tracehouse_span_metrics_left_out_total{of="service_graph"}')).toBe(1);
  expect(sum(series, /^traces_spanmetrics_calls_total/) + (series.get('tracehouse_span_metrics_left_out_total{of="spanmetrics"}') ?? 0)).toBe(78);
});

test('a new process counts what is correlated from then on', async () => {
  const cut = { ns: NOW_NS + 60_000_000_000n };
  expect(sum(await scrape(await shopApp({}, cut)), /^traces_/)).toBe(0);
});

test('calls that wait to be decided, as a request stays open for long, are counted when they are', async () => {
  const requests = Array.from({ length: 8 }, (_, i): Told[] => [
    { name: `R${i}`, kind: 'server', from: 200 + 1000 * i, to: 260 + 1000 * i, threads: [2, 2] },
    { name: `call ${i}`, kind: 'client', from: 210 + 1000 * i, to: 230 + 1000 * i, threads: [50, 50] },
  ]).flat();
  let app: FastifyInstance | undefined;
  const { warehouse } = await tell([{ name: 'long poll', kind: 'server', from: 0, to: 9000, threads: [1, 1] }, ...requests], [], {
    every_ms: 1000,
    after: async ({ warehouse: told, correlator }) => {
      app ??= buildApp({ warehouse: told, correlator }, { now_ns: () => at(1e6), span_metrics: { since_ns: 0n } });
      await scrape(app);
    },
  });
  const series = await scrape(app as FastifyInstance);
  await app?.close();
  const { rows } = await warehouse.query('SELECT kind, count(*) FROM spans GROUP BY ALL ORDER BY 1');
  expect(rows).toEqual([['client', 8n], ['server', 9n]]);
  // What the last cycle has stored is counted later.
  expect(sum(series, /^traces_spanmetrics_calls_total.*client/i)).toBe(8);
});
