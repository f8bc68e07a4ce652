// A trace as lists show it, from its spans: what the view traces says of them. DuckDB takes longer to plan that view than to read
// the spans of a page of traces.
import { listValue } from '@duckdb/node-api';
import type { SpansTable, TracesTable } from '../database.ts';
import { startOf } from './indexed-views.ts';

export const SUMMARY_COLUMNS = ['trace_id', 'span_id', 'service_name', 'span_name', 'http_request_method', 'status', 'start_ns', 'end_ns', 'complete'] as const satisfies readonly (keyof SpansTable)[];

export type SummarySpan = Pick<SpansTable, (typeof SUMMARY_COLUMNS)[number]>;

/** As DuckDB sorts texts. */
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** Of the earliest span that has one. */
function earliest(spans: readonly SummarySpan[], valueOf: (span: SummarySpan) => string | null): string | null {
  let found: SummarySpan | undefined;
  for (const span of spans) if (valueOf(span) !== null && (found === undefined || span.start_ns < found.start_ns)) found = span;
  return found === undefined ? null : valueOf(found);
}

/** All spans of one trace, at least one. */
export function traceOf(spans: readonly SummarySpan[]): TracesTable {
  const { trace_id } = spans[0] as SummarySpan;
  const start_ns = startOf(trace_id);
  const root = spans.find(({ span_id }) => span_id === trace_id.slice(16));
  const services = new Set(spans.flatMap(({ service_name }) => service_name ?? []));
  return {
    trace_id,
    root_service: root?.service_name ?? earliest(spans, ({ service_name }) => service_name),
    root_name: root === undefined || root.http_request_method === null ? earliest(spans, ({ span_name }) => span_name) : root.span_name,
    start_ns,
    duration_ns: spans.reduce((last, { end_ns }) => (end_ns > last ? end_ns : last), (spans[0] as SummarySpan).end_ns) - start_ns,
    span_count: BigInt(spans.length),
    error_count: BigInt(spans.filter(({ status }) => status === 'error').length),
    services: listValue([...services].toSorted(byBytes)),
    complete: spans.every(({ complete }) => complete),
  };
}

/** By trace id. */
export function tracesOf(spans: readonly SummarySpan[]): Map<string, TracesTable> {
  const by_trace = new Map<string, SummarySpan[]>();
  for (const span of spans) {
    const own = by_trace.get(span.trace_id);
    if (own === undefined) by_trace.set(span.trace_id, [span]);
    else own.push(span);
  }
  return new Map([...by_trace].map(([id, own]) => [id, traceOf(own)]));
}
