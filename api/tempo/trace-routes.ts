// Tempo's lookup by id: protobuf where Grafana asks for it, otherwise protobuf's JSON, in which ids are base64.
import { Type } from 'typebox';
import type { FastifyRequest } from 'fastify';
import type { App } from '../app-type.ts';
import { ClientError } from '../client-error.ts';
import type { RouteContext } from '../dependencies.ts';
import { JSON_TYPE, answers, needed, sendJson, text } from '../foreign-api.ts';
import { otlpTraces } from '../formats/otlp-json.ts';
import { encodeTraceByIdResponse, encodeTraces, withIds } from '../formats/otlp-protobuf.ts';
import { requireTrace } from '../lookups/one-trace.ts';
import type { WholeTrace } from '../lookups/one-trace.ts';
import type { SpanRow } from '../lookups/trace-spans.ts';
import { wholeTraceId } from '../query-text.ts';

const MOST_SPANS = 100_000;
const PROTOBUF = 'application/protobuf';
const KINDS = ['SPAN_KIND_UNSPECIFIED', 'SPAN_KIND_INTERNAL', 'SPAN_KIND_SERVER', 'SPAN_KIND_CLIENT'];
const STATUSES = ['STATUS_CODE_UNSET', 'STATUS_CODE_OK', 'STATUS_CODE_ERROR'];

const base64 = (hex: string): string => Buffer.from(hex, 'hex').toString('base64');

function resourceSpans(spans: readonly SpanRow[]) {
  return withIds(otlpTraces(spans), base64).resourceSpans.map((group) => ({
    ...group,
    scopeSpans: group.scopeSpans.map((scope) => ({ ...scope, spans: scope.spans.map((span) => ({ ...span, kind: KINDS[span.kind], status: span.status.code === 0 ? {} : { code: STATUSES[span.status.code] } })) })),
  }));
}

export function tempoTraceRoutes(app: App, { db, warehouse, whole }: RouteContext): void {
  const params = Type.Object({ trace_id: needed('up to 32 hex digits', '18b0c6a27b4d3c00023f9a1b7c6d5e4f') });
  const querystring = Type.Object({ start: text('ignored: every trace is found by its id', '1700000000'), end: text('ignored', '7258118400') });
  const errors = { 400: answers('text/plain', 'this is no id', Type.String()), 404: answers('text/plain', 'there is no such trace', Type.String()) };
  const both = (description: string, schema: object) => ({ description, content: { [JSON_TYPE]: { schema }, [PROTOBUF]: { schema: Type.Unsafe({ type: 'string', format: 'binary' }) } } });
  const Spans = { type: 'array', items: { type: 'object' } };
  const describe = (operationId: string, summary: string) => ({ operationId, summary, tags: ['tempo'], params, querystring });

  const find = (request: FastifyRequest): Promise<WholeTrace> => {
    try {
      const trace_id = wholeTraceId((request.params as { trace_id: string }).trace_id);
      return whole(() => requireTrace(db, warehouse, trace_id, { max_spans: MOST_SPANS }));
    } catch (error) {
      throw new ClientError(400, `invalid trace id: ${(error as Error).message}`);
    }
  };
  const wantsProtobuf = (request: FastifyRequest): boolean => /application\/(?:x-)?protobuf/.test(request.headers.accept ?? '');

  app.get('/traces/:trace_id', { schema: { ...describe('tempoGetTrace', 'One trace'), response: { 200: both('the trace; protobuf by Accept', { type: 'object', properties: { batches: Spans } }), ...errors } } }, async (request, reply) => {
    const { spans } = await find(request);
    if (wantsProtobuf(request)) return reply.header('content-type', PROTOBUF).send(Buffer.from(encodeTraces(otlpTraces(spans))));
    return sendJson(reply, { batches: resourceSpans(spans) });
  });

  app.get('/v2/traces/:trace_id', { schema: { ...describe('tempoGetTraceV2', 'One trace, and whether it is whole'), response: { 200: both('the trace; protobuf by Accept', { type: 'object', properties: { trace: { type: 'object', properties: { resourceSpans: Spans } } } }), ...errors } } }, async (request, reply) => {
    const { spans, partial } = await find(request);
    if (wantsProtobuf(request)) return reply.header('content-type', PROTOBUF).send(Buffer.from(encodeTraceByIdResponse(spans, partial)));
    return sendJson(reply, { trace: { resourceSpans: resourceSpans(spans) }, ...(partial ? { status: 'PARTIAL', message: 'this trace has more spans than one answer holds' } : {}) });
  });
}
