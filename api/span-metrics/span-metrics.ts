// Calls between services and spans, as counters under Tempo's names. Each scrape counts what correlation has decided since
// the one before, never the store again: whatever is counted stays counted, once.
import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import { STORED_AFTER_NS } from '../../queries/working-set.ts';
import type { RouteContext } from '../dependencies.ts';
import { spansEnding } from '../lookups/indexed-views.ts';
import { EDGE_BUCKETS, LATENCY_BUCKETS, edgeCounts, spanCounts } from './counts.ts';
import { CounterSeries, HistogramSeries, register } from './series.ts';
import type { Labels } from './series.ts';

export interface SpanMetricsOptions {
  /** Counted are spans that end after it; left out: those that are correlated from the start of this process on. */
  readonly since_ns?: bigint | undefined;
  readonly most_edges?: number | undefined;
  readonly most_span_series?: number | undefined;
}

const WINDOW_NS = 300_000_000_000n;
/** Of a scrape: what is left is counted at the next one. */
const BUDGET_MS = 3000;

/** So many different label sets; the first ones stay. */
class Admission {
  readonly #known = new Set<string>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  admits(labels: Labels): boolean {
    const key = JSON.stringify(labels);
    if (this.#known.has(key)) return true;
    if (this.#known.size >= this.#most) return false;
    this.#known.add(key);
    return true;
  }
}

export function measureSpans(app: FastifyInstance, registry: Registry, context: Pick<RouteContext, 'db' | 'warehouse' | 'correlator' | 'log'>, options: SpanMetricsOptions = {}): void {
  const { db, warehouse, correlator, log } = context;
  if (correlator === undefined) return;
  const [edges, series] = [new Admission(options.most_edges ?? 1000), new Admission(options.most_span_series ?? 1000)];
  const [requests, failed, left_out, calls] = [new CounterSeries(), new CounterSeries(), new CounterSeries(), new CounterSeries()];
  const client_seconds = new HistogramSeries('traces_service_graph_request_client_seconds', EDGE_BUCKETS);
  const server_seconds = new HistogramSeries('traces_service_graph_request_server_seconds', EDGE_BUCKETS);
  const latency = new HistogramSeries('traces_spanmetrics_latency', LATENCY_BUCKETS);
  for (const of of ['service_graph', 'spanmetrics']) left_out.add({ of }, 0);
  let counted_ns = options.since_ns;
  let counting: Promise<void> | undefined;

  app.addHook('onReady', async () => {
    counted_ns ??= ((await warehouse.query('SELECT coalesce(max(cut_ns), 0) FROM memory.stored.progress')).rows[0]?.[0] ?? 0n) as bigint;
  });

  async function countWindow(from_ns: bigint, to_ns: bigint): Promise<void> {
    const [graph, spans] = await Promise.all([edgeCounts(db, warehouse, { from_ns, to_ns }, to_ns + STORED_AFTER_NS), spanCounts(db, warehouse, { from_ns, to_ns })]);
    for (const { labels, failed: failures, client_seconds: client, server_seconds: server } of graph) {
      const count = client?.count ?? server?.count ?? 0;
      if (!edges.admits(labels)) {
        left_out.add({ of: 'service_graph' }, count);
        continue;
      }
      requests.add(labels, count);
      failed.add(labels, failures);
      if (client !== undefined) client_seconds.add(labels, client);
      if (server !== undefined) server_seconds.add(labels, server);
    }
    for (const { labels, latency: found } of spans) {
      if (!series.admits(labels)) {
        left_out.add({ of: 'spanmetrics' }, found.count);
        continue;
      }
      calls.add(labels, found.count);
      latency.add(labels, found);
    }
  }

  async function countNew(until_ns: bigint): Promise<void> {
    const deadline_ms = performance.now() + BUDGET_MS;
    while (counted_ns !== undefined && counted_ns < until_ns && performance.now() < deadline_ms) {
      // Long ago nothing happened: one step over it.
      const first = (await db.selectFrom(spansEnding(warehouse, counted_ns, until_ns).as('spans')).select(({ fn }) => fn.min<bigint | null>('end_ns').as('end_ns')).where('end_ns', '>', counted_ns).where('end_ns', '<=', until_ns).executeTakeFirst())?.end_ns ?? null;
      if (first === null) {
        counted_ns = until_ns;
        return;
      }
      const to_ns: bigint = first + WINDOW_NS < until_ns ? first + WINDOW_NS : until_ns;
      await countWindow(counted_ns, to_ns);
      counted_ns = to_ns;
    }
  }

  /** All series of a scrape stand on the same count. */
  function counted(): Promise<void> {
    counting ??= countNew((correlator?.cut_ns ?? 0n) - STORED_AFTER_NS)
      .catch((error: unknown) => log(`metrics: spans are counted later: ${(error as Error).message}`))
      .finally(() => (counting = undefined));
    return counting;
  }

  const show = (name: string, help: string, type: 'counter' | 'histogram', shown: CounterSeries | HistogramSeries): void =>
    register(registry, name, help, type, async () => {
      await counted();
      return shown.values();
    });
  show('traces_service_graph_request_total', 'Calls between services, by who called and who was called', 'counter', requests);
  show('traces_service_graph_request_failed_total', 'Those that failed at either end', 'counter', failed);
  show('traces_service_graph_request_client_seconds', 'How long they took where they were made', 'histogram', client_seconds);
  show('traces_service_graph_request_server_seconds', 'How long they took where they were answered', 'histogram', server_seconds);
  show('traces_spanmetrics_calls_total', 'Spans', 'counter', calls);
  show('traces_spanmetrics_latency', 'How long they took, in seconds', 'histogram', latency);
  show('tracehouse_span_metrics_left_out_total', 'Calls and spans that are in none of these series because there are too many', 'counter', left_out);
}
