// Traces as Jaeger's UI reads them (GET /api/traces/{id} of Jaeger query, and its "upload JSON"): microseconds.
import type { SpanRow } from '../lookups/trace-spans.ts';
import { byProcess, resourceAttributes, spanAttributes } from './span-attributes.ts';
import type { Attributes } from './span-attributes.ts';

interface Tag {
  readonly key: string;
  readonly type: 'string' | 'bool' | 'int64' | 'float64';
  readonly value: string | number | boolean;
}

/** Jaeger's UI shows int64 as JavaScript numbers: what does not fit goes as text. */
function tags(attributes: Attributes): Tag[] {
  return attributes.map(([key, value]): Tag => {
    if (typeof value === 'boolean') return { key, type: 'bool', value };
    if (typeof value === 'bigint') {
      const fits = value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER);
      return fits ? { key, type: 'int64', value: Number(value) } : { key, type: 'string', value: String(value) };
    }
    if (typeof value === 'number') return { key, type: Number.isInteger(value) ? 'int64' : 'float64', value };
    return { key, type: 'string', value };
  });
}

/** Rounded at both ends and not by length: otherwise a child would stick out of its parent by a microsecond. */
const micros = (ns: bigint): number => Number(ns / 1000n);

function jaegerSpan(span: SpanRow, processID: string) {
  // As Jaeger itself shows a span that came by OTLP.
  const failed: Attributes = span.status === 'error' ? [['error', true], ['otel.status_code', 'ERROR']] : [];
  return {
    traceID: span.trace_id,
    spanID: span.span_id,
    operationName: span.span_name ?? 'unknown',
    references: span.parent_span_id === null ? [] : [{ refType: 'CHILD_OF', traceID: span.trace_id, spanID: span.parent_span_id }],
    startTime: micros(span.start_ns),
    duration: micros(span.end_ns) - micros(span.start_ns),
    tags: tags([['span.kind', span.kind], ...failed, ...spanAttributes(span)]),
    logs: [],
    processID,
    warnings: span.complete ? null : ['events were lost here: the span may not be whole'],
  };
}

function jaegerTrace(spans: readonly SpanRow[], partial: boolean) {
  const groups = byProcess(spans).map((group, index) => ({ id: `p${index + 1}`, group }));
  const ids = new Map(groups.flatMap(({ id, group }) => group.map((span) => [span.span_id, id] as const)));
  return {
    traceID: spans[0]?.trace_id ?? '',
    spans: spans.map((span) => jaegerSpan(span, ids.get(span.span_id) as string)),
    processes: Object.fromEntries(
      groups.map(({ id, group }) => {
        const [first] = group as [SpanRow];
        return [id, { serviceName: first.service_name ?? 'unknown_service', tags: tags(resourceAttributes(first).filter(([key]) => key !== 'service.name')) }];
      }),
    ),
    warnings: partial ? ['this trace has more spans than were asked for'] : null,
  };
}

export function jaegerTraces(traces: readonly (readonly SpanRow[])[], partial = false) {
  return { data: traces.map((spans) => jaegerTrace(spans, partial)), total: traces.length, limit: 0, offset: 0, errors: null };
}
