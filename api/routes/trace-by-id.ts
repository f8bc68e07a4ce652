import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { jaegerTraces } from '../formats/jaeger-json.ts';
import { otlpTraces } from '../formats/otlp-json.ts';
import { TraceId } from '../json-types.ts';
import { requireTrace } from '../lookups/one-trace.ts';
import { candidatesOf } from '../lookups/span-candidates.ts';
import { problems } from '../problem.ts';
import { Trace, spanJson, traceSummary } from '../trace-json.ts';

const Query = Type.Object(
  {
    format: Type.Optional(Type.Unsafe<'tracehouse' | 'otlp' | 'jaeger'>({ type: 'string', enum: ['tracehouse', 'otlp', 'jaeger'], default: 'tracehouse', description: "otlp: OTLP/JSON TracesData; jaeger: what Jaeger UI's API answers and its upload takes", examples: ['otlp'] })),
    max_spans: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, default: 10_000, description: 'the first so many by start time; the answer says when there are more', examples: [1000] })),
  },
  { additionalProperties: false },
);

const Params = Type.Object({ trace_id: TraceId() });

export function traceByIdRoute(app: App, { db, warehouse }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/traces/:trace_id',
    schema: {
      operationId: 'getTrace',
      tags: ['traces'],
      summary: 'One trace',
      description: 'All spans of a trace. Ids that it had before a late link changed its root still find it; content-location then names the present one.',
      params: Params,
      querystring: Query,
      response: {
        200: { description: 'the trace, in the format asked for', content: { 'application/json': { schema: Type.Ref('Trace#') } } },
        ...problems(400, 404),
      },
    },
    handler: async (request, reply) => {
      const { format = 'tracehouse', max_spans = 10_000 } = request.query;
      const { trace, spans, partial } = await requireTrace(db, request.params.trace_id, max_spans);
      reply.header('content-location', `/api/v1/traces/${trace.trace_id}`);
      if (format !== 'tracehouse') {
        const body = format === 'otlp' ? otlpTraces(spans) : jaegerTraces([spans], partial);
        // These have formats of their own, which the schema of 200 does not describe.
        return reply.header('content-type', 'application/json; charset=utf-8').serializer((value: unknown) => JSON.stringify(value)).send(body);
      }
      const candidates = await candidatesOf(db, warehouse, spans.filter((span) => span.parent_span_id === null));
      const answer: Trace = {
        ...traceSummary(trace),
        requested_trace_id: request.params.trace_id.toLowerCase(),
        partial,
        spans: spans.map((span) => spanJson(span, (candidates.get(span.span_id) ?? []).filter((candidate) => candidate.candidate_span_id !== null))),
      };
      return reply.header('content-type', 'application/json; charset=utf-8').send(answer);
    },
  });
}
