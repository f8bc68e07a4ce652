// What really caused what, for the judge alone: one row a span, beside the events.
import { spanKey } from '../../test/accuracy/tree.ts';
import type { ExpectedSpan } from '../../test/accuracy/tree.ts';
import type { App } from './apps.ts';
import type { TruthRow } from './truth-file.ts';

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

/** The requests of rows, in the order of their first. */
export async function trueTraces(rows: AsyncIterable<TruthRow> | Iterable<TruthRow>): Promise<TrueTrace[]> {
  const traces = new Map<number, TrueTrace>();
  const keys = new Map<bigint, string>();
  for await (const { key, span_id, parent_span_id, request, shape } of rows) {
    let trace = traces.get(request);
    if (trace === undefined) traces.set(request, (trace = { id: String(request), shape, spans: [] }));
    keys.set(span_id, key);
    trace.spans.push({ key, parent_key: parent_span_id === null ? null : (keys.get(parent_span_id) ?? null) });
  }
  return [...traces.values()];
}

/** For small fleets: in memory. */
export class TruthList implements TruthSink {
  readonly rows: TruthRow[] = [];

  add(span_low: number, span_high: number, parent_low: number, parent_high: number, is_server: boolean, request: number, app: App, path: string): void {
    const id = (low: number, high: number): bigint => (BigInt(high) << 32n) | BigInt(low);
    this.rows.push({
      key: spanKey(path, is_server ? 'server' : 'client'), span_id: id(span_low, span_high), parent_span_id: parent_low === 0 && parent_high === 0 ? null : id(parent_low, parent_high),
      request, shape: app.label,
    });
  }
}
