import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Count, NullableText, SpanId, TraceId } from '../json-types.ts';
import { findTraceByAnyId, noSuchSpan } from '../lookups/one-trace.ts';
import { childrenOfSpan, countChildren, spansOfTrace } from '../lookups/trace-spans.ts';
import { Cursor, NUMBER_PART, SPAN_ID_PART, decodeCursor, encodeCursor } from '../page-cursor.ts';
import { problems } from '../problem.ts';
import { Span, spanJson } from '../trace-json.ts';

const Query = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: 'spans a page', examples: [100] })),
    cursor: Cursor,
  },
  { additionalProperties: false },
);

const Answer = Type.Object(
  {
    trace_id: TraceId(),
    span_id: SpanId('the parent'),
    children_count: Count('all of them, on this page or not'),
    spans: Type.Array(Type.Ref('Span#') as unknown as typeof Span, { description: 'by start time, then id; their own children are on pages of their own' }),
    next_cursor: NullableText('null: this was the last page'),
  },
  { description: 'a page of children' },
);

const id = (hex: string): bigint => BigInt(`0x${hex}`);

export function spanChildrenRoute(app: App, { db, warehouse, whole }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/traces/:trace_id/spans/:span_id/children',
    schema: {
      operationId: 'listSpanChildren',
      tags: ['traces'],
      summary: 'The children of a span',
      description: 'For traces that are too big to be given whole: the spans whose parent this one is, in a total order, a page at a time.',
      params: Type.Object({ trace_id: TraceId(), span_id: SpanId('span id') }),
      querystring: Query,
      response: { 200: Answer, ...problems(400, 404) },
    },
    handler: async (request) => {
      const { limit = 1000, cursor } = request.query;
      const { span_id } = request.params;
      const { trace, key } = await whole(() => findTraceByAnyId(db, warehouse, request.params.trace_id));
      const asked = [trace.trace_id, span_id];
      const [start, last_id] = cursor === undefined ? [] : decodeCursor(cursor, asked, [NUMBER_PART, SPAN_ID_PART]).key;
      const after = start === undefined || last_id === undefined ? undefined : { start_ns: BigInt(start), span_id: id(last_id) };
      const [rows, own] = await whole(() => Promise.all([childrenOfSpan(db, warehouse, key, id(span_id), limit + 1, after), countChildren(db, warehouse, key, [id(span_id)])]));
      const children_count = own.get(id(span_id)) ?? 0;
      if (children_count === 0 && (await spansOfTrace(db, warehouse, key, [id(span_id)])).length === 0) throw noSuchSpan(trace.trace_id, span_id);
      const page = rows.slice(0, limit);
      const counts = await countChildren(db, warehouse, key, page.map((span) => id(span.span_id)));
      const last = rows.length > limit ? page.at(-1) : undefined;
      return {
        trace_id: trace.trace_id,
        span_id,
        children_count,
        spans: page.map((span) => {
          const count = counts.get(id(span.span_id)) ?? 0;
          return spanJson(span, [], { count, omitted: count });
        }),
        next_cursor: last === undefined ? null : encodeCursor({ start_ns: 0n, end_ns: 0n, key: [String(last.start_ns), last.span_id] }, asked),
      };
    },
  });
}
