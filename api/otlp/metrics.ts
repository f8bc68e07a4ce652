import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { OtlpExporter } from './exporter.ts';

/** Nothing is dropped in silence. */
export function measureOtlp(registry: Registry, exporter: Pick<OtlpExporter, 'counts' | 'lag_ns'>): void {
  registry.registerMetric(new Counter({
    name: 'tracehouse_otlp_spans_total', help: 'Spans by what became of them: sent; rejected (of those sent, by what the collector said); dropped (refused for good); late (stored after their time had been sent: not sent)', labelNames: ['result'], registers: [],
    collect() {
      this.reset();
      for (const result of ['sent', 'rejected', 'dropped', 'late'] as const) this.inc({ result }, exporter.counts[result]);
    },
  }));
  registry.registerMetric(new Counter({
    name: 'tracehouse_otlp_requests_total', help: 'Requests to the collector: all, and those that repeat one that failed', labelNames: ['kind'], registers: [],
    collect() {
      this.reset();
      this.inc({ kind: 'all' }, exporter.counts.requests);
      this.inc({ kind: 'retry' }, exporter.counts.retries);
    },
  }));
  registry.registerMetric(new Gauge({
    name: 'tracehouse_otlp_lag_seconds', help: 'How far the collector lies behind what is correlated', registers: [],
    collect() {
      this.set(Number(exporter.lag_ns / 1000n) / 1e6);
    },
  }));
}
