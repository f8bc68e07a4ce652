// OTLP/JSON as the specification wants it: ids in hex, enums as integers, 64-bit integers as strings.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
import type { SpanRow } from '../lookups/trace-spans.ts';
import { byProcess, resourceAttributes, spanAttributes } from './span-attributes.ts';
import type { Attributes, AttributeValue } from './span-attributes.ts';

const SPAN_KIND: Readonly<Record<string, number>> = { internal: 1, server: 2, client: 3 };
const STATUS_CODE: Readonly<Record<string, number>> = { unset: 0, ok: 1, error: 2 };

type AnyValue = { stringValue: string } | { boolValue: boolean } | { intValue: string } | { doubleValue: number };

function anyValue(value: AttributeValue): AnyValue {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'bigint' || Number.isInteger(value)) return { intValue: String(value) };
  return { doubleValue: value };
}

const keyValues = (attributes: Attributes) => attributes.map(([key, value]) => ({ key, value: anyValue(value) }));

function otlpSpan(span: SpanRow) {
  return {
    traceId: span.trace_id,
    spanId: span.span_id,
    ...(span.parent_span_id === null ? {} : { parentSpanId: span.parent_span_id as string | undefined }),
    name: span.span_name ?? 'unknown',
    kind: SPAN_KIND[span.kind] ?? 0,
    startTimeUnixNano: String(span.start_ns),
    endTimeUnixNano: String(span.end_ns),
    attributes: keyValues(spanAttributes(span)),
    status: { code: STATUS_CODE[span.status] ?? 0 },
  };
}

/** More of the process that a span belongs to. */
export type ProcessOf = (span: SpanRow) => Attributes;

/** A TracesData message. */
export function otlpTraces(spans: readonly SpanRow[], processOf: ProcessOf = () => []) {
  return {
    resourceSpans: byProcess(spans).map((group) => ({
      resource: { attributes: keyValues([...resourceAttributes(group[0] as SpanRow), ...processOf(group[0] as SpanRow)]) },
      scopeSpans: [{ scope: { name: 'tracehouse' }, spans: group.map(otlpSpan) }],
    })),
  };
}

export type OtlpTraces = ReturnType<typeof otlpTraces>;
