// OTLP as protobuf: the messages that we write, by the field numbers of opentelemetry-proto (trace, common, resource v1),
// and Tempo's wrapper of a trace.
import protobuf from 'protobufjs/light.js';
import type { INamespace } from 'protobufjs/light.js';
import type { SpanRow } from '../lookups/trace-spans.ts';
import { otlpTraces } from './otlp-json.ts';
import type { OtlpTraces } from './otlp-json.ts';

const field = (type: string, id: number) => ({ type, id });
const repeated = (type: string, id: number) => ({ rule: 'repeated', type, id });

const MESSAGES: INamespace = {
  nested: {
    AnyValue: { oneofs: { value: { oneof: ['stringValue', 'boolValue', 'intValue', 'doubleValue'] } }, fields: { stringValue: field('string', 1), boolValue: field('bool', 2), intValue: field('int64', 3), doubleValue: field('double', 4) } },
    KeyValue: { fields: { key: field('string', 1), value: field('AnyValue', 2) } },
    Resource: { fields: { attributes: repeated('KeyValue', 1) } },
    Scope: { fields: { name: field('string', 1), version: field('string', 2) } },
    Status: { fields: { message: field('string', 2), code: field('int32', 3) } },
    Span: {
      fields: {
        traceId: field('bytes', 1), spanId: field('bytes', 2), parentSpanId: field('bytes', 4), name: field('string', 5), kind: field('int32', 6),
        startTimeUnixNano: field('fixed64', 7), endTimeUnixNano: field('fixed64', 8), attributes: repeated('KeyValue', 9), status: field('Status', 15),
      },
    },
    ScopeSpans: { fields: { scope: field('Scope', 1), spans: repeated('Span', 2) } },
    ResourceSpans: { fields: { resource: field('Resource', 1), scopeSpans: repeated('ScopeSpans', 2) } },
    // Also an ExportTraceServiceRequest and Tempo's Trace: the same bytes.
    TracesData: { fields: { resourceSpans: repeated('ResourceSpans', 1) } },
    PartialSuccess: { fields: { rejectedSpans: field('int64', 1), errorMessage: field('string', 2) } },
    ExportTraceServiceResponse: { fields: { partialSuccess: field('PartialSuccess', 1) } },
    // status: 0 whole, 1 partial.
    TraceByIDResponse: { fields: { trace: field('TracesData', 1), status: field('int32', 3), message: field('string', 4) } },
  },
};

const root = protobuf.Root.fromJSON(MESSAGES);
const [TracesData, TraceByIDResponse, ExportResponse] = ['TracesData', 'TraceByIDResponse', 'ExportTraceServiceResponse'].map((name) => root.lookupType(name)) as [protobuf.Type, protobuf.Type, protobuf.Type];

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

/** The same with ids as bytes; how they are written is the caller's. */
export function withIds<T>({ resourceSpans }: OtlpTraces, write: (hex: string) => T) {
  return {
    resourceSpans: resourceSpans.map(({ resource, scopeSpans }) => ({
      resource,
      scopeSpans: scopeSpans.map(({ scope, spans }) => ({
        scope,
        spans: spans.map(({ traceId, spanId, parentSpanId, ...span }) => ({ traceId: write(traceId), spanId: write(spanId), ...(parentSpanId === undefined ? {} : { parentSpanId: write(parentSpanId) }), ...span })),
      })),
    })),
  };
}

export function encodeTraces(traces: OtlpTraces): Uint8Array {
  return TracesData.encode(TracesData.fromObject(withIds(traces, bytes))).finish();
}

export function encodeTraceByIdResponse(spans: readonly SpanRow[], partial: boolean): Uint8Array {
  const message = partial ? { status: 1, message: 'this trace has more spans than one answer holds' } : {};
  return TraceByIDResponse.encode(TraceByIDResponse.fromObject({ trace: withIds(otlpTraces(spans), bytes), ...message })).finish();
}

const PLAIN = { longs: String, bytes: Buffer } as const;

/** Ids as hex, 64-bit integers as text, as in OTLP/JSON. */
export function decodeTraces(data: Uint8Array): OtlpTraces {
  const found = TracesData.toObject(TracesData.decode(data), { ...PLAIN, arrays: true }) as OtlpTraces;
  return withIds(found, (id) => Buffer.from(id as unknown as Uint8Array).toString('hex')) as OtlpTraces;
}

export function decodeTraceByIdResponse(data: Uint8Array): { trace: OtlpTraces; status?: number; message?: string } {
  const answer = TraceByIDResponse.decode(data) as unknown as { trace: protobuf.Message };
  return { ...(TraceByIDResponse.toObject(answer as unknown as protobuf.Message, PLAIN) as { status?: number; message?: string }), trace: decodeTraces(TracesData.encode(answer.trace).finish()) };
}

export interface PartialSuccess {
  readonly rejectedSpans?: string | number;
  readonly errorMessage?: string;
}

export function decodeExportResponse(data: Uint8Array): { partialSuccess?: PartialSuccess } {
  return ExportResponse.toObject(ExportResponse.decode(data), PLAIN) as { partialSuccess?: PartialSuccess };
}

export function encodeExportResponse(partialSuccess?: PartialSuccess): Uint8Array {
  return ExportResponse.encode(ExportResponse.fromObject(partialSuccess === undefined ? {} : { partialSuccess })).finish();
}
