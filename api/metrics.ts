// What an operator watches, in Prometheus' words. A registry an application: tests build many.
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { FastifyInstance } from 'fastify';
import type { AuditLog } from './access/audit-log.ts';
import type { RouteContext } from './dependencies.ts';

/** A run that was not heard of for so long has ended, in whatever way. */
const GONE_AFTER_MS = 300_000;

const seconds = (ns: bigint): number => Number(ns / 1000n) / 1e6;

export function createMetrics({ warehouse, correlator, now_ns }: Pick<RouteContext, 'warehouse' | 'correlator' | 'now_ns'>): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const gauge = (name: string, help: string, collect: (own: Gauge) => void | Promise<void>, labelNames: string[] = []): Gauge =>
    new Gauge({
      name, help, labelNames, registers,
      async collect() {
        this.reset();
        await collect(this as unknown as Gauge);
      },
    });
  const count = async (relation: string): Promise<number> => Number((await warehouse.query(`SELECT count(*) FROM ${relation}`)).rows[0]?.[0] ?? 0);

  gauge('tracehouse_batches_applied', 'Batches applied since the start', (own) => own.set(warehouse.stats().applied));
  gauge('tracehouse_batches_duplicate', 'Batches that had been applied before, since the start', (own) => own.set(warehouse.stats().duplicates));
  gauge('tracehouse_rows_applied', 'Rows of applied batches since the start', (own) => own.set(warehouse.stats().rows));
  gauge('tracehouse_segments', 'Files that the relations consist of', (own) => {
    for (const [kind, files] of Object.entries(warehouse.stats().segments)) own.set({ kind }, files);
  }, ['kind']);
  gauge('tracehouse_stored_bytes', 'Bytes of those files', (own) => own.set(warehouse.stats().bytes));
  gauge('tracehouse_stored_events', 'Socket events that are stored', async (own) => own.set(await count('socket_events')));
  gauge('tracehouse_stored_spans', 'Spans that are stored', async (own) => own.set(await count('spans')));
  gauge('tracehouse_losses', 'Stored records of something that was not recorded', async (own) => {
    for (const [cause, times] of (await warehouse.query('SELECT cause, count(*) FROM losses GROUP BY cause')).rows) own.set({ cause: String(cause) }, Number(times));
  }, ['cause']);
  gauge('tracehouse_lost_events', 'Events that were not recorded, as far as they could be counted', async (own) => {
    for (const [cause, events] of (await warehouse.query('SELECT cause, sum(events_lost)::BIGINT FROM losses GROUP BY cause')).rows) own.set({ cause: String(cause) }, Number(events ?? 0));
  }, ['cause']);
  const running = () => warehouse.runs().filter((run) => !run.final && Number(now_ns() / 1_000_000n) - run.heard_ms <= GONE_AFTER_MS);
  gauge('tracehouse_run_lag_seconds', 'How far the watermark of a running collector lies back', (own) => {
    for (const run of running()) own.set({ node: run.node, run_id: String(run.run_id) }, seconds(now_ns() - run.watermark_ns));
  }, ['node', 'run_id']);
  if (correlator !== undefined) {
    gauge('tracehouse_correlation_lag_seconds', 'While collectors run: how far back the instant lies up to which all spans are decided', (own) => {
      if (correlator.cut_ns > 0n && running().length > 0) own.set(seconds(now_ns() - correlator.cut_ns));
    });
  }
  return registry;
}

export function measureAudit(registry: Registry, audit: AuditLog): void {
  const failed: Gauge = new Gauge({ name: 'tracehouse_audit_failed', help: 'Lines of the audit log that could not be written since the start', registers: [], collect: () => failed.set(audit.failed) });
  registry.registerMetric(failed);
}

export function measureRequests(app: FastifyInstance, registry: Registry): void {
  const registers = [registry];
  const labelNames = ['method', 'route', 'status'] as const;
  const requests = new Counter({ name: 'tracehouse_http_requests_total', help: 'HTTP requests answered', labelNames, registers });
  const durations = new Histogram({ name: 'tracehouse_http_request_seconds', help: 'From request to end of answer', labelNames, registers, buckets: [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60] });
  app.addHook('onResponse', async (request, reply) => {
    const labels = { method: request.method, route: request.routeOptions.url ?? 'none', status: String(reply.statusCode) };
    requests.inc(labels);
    durations.observe(labels, reply.elapsedTime / 1000);
  });
}
