// What really caused what, for the judge alone: one row a span, beside the events.
import { spanKey } from '../../test/accuracy/tree.ts';
import type { ExpectedSpan } from '../../test/accuracy/tree.ts';
import type { App } from './apps.ts';

export interface TruthSink {
  /** A parent of 0, 0: a root. */
  add(span_low: number, span_high: number, parent_low: number, parent_high: number, is_server: boolean, request: number, app: App, path: string): void;
}

/** A request as the judge wants it, and what kind of application it is of. */
export interface TrueTrace {
  readonly id: string;
  readonly shape: string;
  readonly spans: ExpectedSpan[];
}

/** For small fleets: in memory. */
export class TruthList implements TruthSink {
  readonly #traces = new Map<number, TrueTrace>();
  /** By id. */
  readonly #keys = new Map<string, string>();

  add(span_low: number, span_high: number, parent_low: number, parent_high: number, is_server: boolean, request: number, app: App, path: string): void {
    let trace = this.#traces.get(request);
    if (trace === undefined) this.#traces.set(request, (trace = { id: String(request), shape: app.label, spans: [] }));
    const key = spanKey(path, is_server ? 'server' : 'client');
    this.#keys.set(`${span_high} ${span_low}`, key);
    trace.spans.push({ key, parent_key: parent_low === 0 && parent_high === 0 ? null : (this.#keys.get(`${parent_high} ${parent_low}`) ?? null) });
  }

  get traces(): readonly TrueTrace[] {
    return [...this.#traces.values()];
  }
}
