// Counters and histograms that are told whole counts at a time, for prom-client's registry, whose own take single values.
import type { Metric, Registry } from 'prom-client';
import type { Histogram } from './counts.ts';

export type Labels = Readonly<Record<string, string>>;
interface Value { readonly labels: Record<string, string | number>; readonly value: number; readonly metricName?: string }

/** As prom-client's registry takes them. */
export function register(registry: Registry, name: string, help: string, type: 'counter' | 'histogram', values: () => Promise<Value[]>): void {
  const get = async () => ({ name, help, type, values: await values(), aggregator: 'sum' });
  registry.registerMetric({ name, help, get, reset: () => undefined } as unknown as Metric);
}

export class CounterSeries {
  readonly #values = new Map<string, { labels: Labels; value: number }>();

  add(labels: Labels, value: number): void {
    const key = JSON.stringify(labels);
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, { labels, value });
    else known.value += value;
  }

  values(): Value[] {
    return [...this.#values.values()].map(({ labels, value }) => ({ labels: { ...labels }, value }));
  }
}

export class HistogramSeries {
  readonly #name: string;
  readonly #buckets: readonly number[];
  readonly #values = new Map<string, { labels: Labels; count: number; sum_seconds: number; below: number[] }>();

  constructor(name: string, buckets: readonly number[]) {
    this.#name = name;
    this.#buckets = buckets;
  }

  add(labels: Labels, { count, sum_seconds, below }: Histogram): void {
    const key = JSON.stringify(labels);
    const known = this.#values.get(key);
    if (known === undefined) {
      this.#values.set(key, { labels, count, sum_seconds, below: [...below] });
      return;
    }
    known.count += count;
    known.sum_seconds += sum_seconds;
    below.forEach((more, at) => (known.below[at] = (known.below[at] ?? 0) + more));
  }

  values(): Value[] {
    return [...this.#values.values()].flatMap(({ labels, count, sum_seconds, below }) => [
      ...this.#buckets.map((le, at) => ({ metricName: `${this.#name}_bucket`, labels: { ...labels, le }, value: below[at] ?? 0 })),
      { metricName: `${this.#name}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
      { metricName: `${this.#name}_sum`, labels: { ...labels }, value: sum_seconds },
      { metricName: `${this.#name}_count`, labels: { ...labels }, value: count },
    ]);
  }
}
