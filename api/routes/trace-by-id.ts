import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { jaegerTraces } from '../formats/jaeger-json.ts';
import { otlpTraces } from '../formats/otlp-json.ts';
import { SpanId, TraceId } from '../json-types.ts';
import { requireTrace } from '../lookups/one-trace.ts';
import type { WholeTrace } from '../lookups/one-trace.ts';
import { candidatesOf, hasCandidates } from '../lookups/span-candidates.ts';
import type { SpanRow } from '../lookups/trace-spans.ts';
import { problems } from '../problem.ts';
import { Trace, spanJson, traceSummary } from '../trace-json.ts';

const Query = Type.Object(
  {
    format: Type.Optional(Type.Unsafe<'tracehouse' | 'otlp' | 'jaeger'>({ type: 'string', enum: ['tracehouse', 'otlp', 'jaeger'], default: 'tracehouse', description: "otlp: OTLP/JSON TracesData; jaeger: what Jaeger UI's API answers and its upload takes", examples: ['otlp'] })),
    max_spans: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, default: 10_000, description: 'at most so many spans, level by level from the top: what is left out is the deepest and the latest, and the answer says below which span', examples: [1000] })),
    root: Type.Optional(SpanId('only this span and what is below it')),
    depth: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'so many levels below the top ones; 0: these alone', examples: [3] })),
  },
  { additionalProperties: false },
);

const Params = Type.Object({ trace_id: TraceId() });
const NO_CHILDREN = { count: 0, omitted: 0 };

/** In formats that have no word for it: below which spans something is missing. */
function withOmitted({ spans, children }: WholeTrace): SpanRow[] {
  return spans.map((span) => {
    const omitted = children.get(span.span_id)?.omitted ?? 0;
    return omitted === 0 ? span : { ...span, attributes: JSON.stringify({ ...(JSON.parse(span.attributes ?? '{}') as object), children_omitted: omitted }) };
  });
}

export function traceByIdRoute(app: App, { db, warehouse, whole }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/traces/:trace_id',
    schema: {
      operationId: 'getTrace',
      tags: ['traces'],
      summary: 'One trace',
      description: 'All spans of a trace, or as many as max_spans and depth allow: then partial is true, children_omitted says below which spans something is missing, and children_url where it is. Ids that the trace had before a late link changed its root still find it; content-location then names the present one. The formats otlp and jaeger tell what is missing in the headers tracehouse-partial and tracehouse-span-count and, of each span, in tracehouse.children_omitted.',
      params: Params,
      querystring: Query,
      response: {
        200: { description: 'the trace, in the format asked for', content: { 'application/json': { schema: Type.Ref('Trace#') } } },
        ...problems(400, 404),
      },
    },
    handler: async (request, reply) => {
      const { format = 'tracehouse', max_spans = 10_000, root, depth } = request.query;
      const found = await whole(() => requireTrace(db, warehouse, request.params.trace_id, { max_spans, root, depth }));
      const { trace, spans, partial, children, subtree_span_count, roots_omitted } = found;
      reply.header('content-location', `/api/v1/traces/${trace.trace_id}`);
      reply.header('tracehouse-partial', String(partial)).header('tracehouse-span-count', String(trace.span_count));
      if (format !== 'tracehouse') {
        const told = withOmitted(found);
        const body = format === 'otlp' ? otlpTraces(told) : jaegerTraces([told], partial);
        // These have formats of their own, which the schema of 200 does not describe.
        return reply.header('content-type', 'application/json; charset=utf-8').serializer((value: unknown) => JSON.stringify(value)).send(body);
      }
      const candidates = await whole(() => candidatesOf(db, warehouse, spans.filter((span) => span.parent_span_id === null && hasCandidates(span))));
      const answer: Trace = {
        ...traceSummary(trace),
        requested_trace_id: request.params.trace_id.toLowerCase(),
        partial,
        root: root ?? null,
        subtree_span_count,
        roots_omitted,
        children_url: `/api/v1/traces/${trace.trace_id}/spans/{span_id}/children`,
        spans: spans.map((span) => spanJson(span, (candidates.get(span.span_id) ?? []).filter((candidate) => candidate.candidate_span_id !== null), children.get(span.span_id) ?? NO_CHILDREN)),
      };
      return reply.header('content-type', 'application/json; charset=utf-8').send(answer);
    },
  });
}
