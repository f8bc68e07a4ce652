import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { TRACE_ORDERS, searchTraces } from '../lookups/trace-search.ts';
import type { TraceOrder } from '../lookups/trace-search.ts';
import { decodeCursor, encodeCursor } from '../page-cursor.ts';
import { problems } from '../problem.ts';
import { RangeParameters, Searched, searchRange, searchedJson } from '../search-range.ts';
import { parseDuration } from '../time-text.ts';
import { TraceSummary, traceSummary } from '../trace-json.ts';

const Query = Type.Object(
  {
    service: Type.Optional(Type.String({ description: 'traces in which this service takes part', examples: ['shop'] })),
    operation: Type.Optional(Type.String({ description: 'traces with a span of this name; together with service: a span of that service', examples: ['GET /orders/{id}'] })),
    ...RangeParameters,
    min_duration: Type.Optional(Type.String({ description: 'traces that took at least this long, from first to last span: 250ms, 1.5s, or nanoseconds', examples: ['1us'] })),
    max_duration: Type.Optional(Type.String({ description: 'traces that took at most this long', examples: ['1h'] })),
    error: Type.Optional(Type.Boolean({ description: 'true: only traces with an error; false: only traces without', examples: [false] })),
    sort: Type.Optional(Type.Unsafe<TraceOrder>({ type: 'string', enum: [...TRACE_ORDERS], default: '-start_time', description: '- is newest or slowest first; ties are ordered by trace_id', examples: ['-duration'] })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 20, description: 'traces a page', examples: [10] })),
    cursor: Type.Optional(Type.String({ description: 'next_cursor of the page before; everything else as in that request' })),
  },
  { additionalProperties: false },
);

const Answer = Type.Object({
  traces: Type.Array(Type.Ref('TraceSummary#') as unknown as typeof TraceSummary),
  searched: Searched,
  duration_of: Type.Literal('trace', { description: 'what min_duration and max_duration are compared with' }),
  next_cursor: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'null: this was the last page' }),
}, { description: 'a page of summaries' });

export function traceSearchRoute(app: App, { db, now_ns }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/traces',
    schema: { operationId: 'searchTraces', tags: ['traces'], summary: 'Find traces', description: 'Summaries in a total order, a page at a time. A trace lies in the range by the start of its root, which is also the first half of its id. The range that was searched is part of the answer.', querystring: Query, response: { 200: Answer, ...problems(400) } },
    handler: async (request) => {
      const { service, operation, min_duration, max_duration, error, sort = '-start_time', limit = 20, cursor } = request.query;
      const same_query = [service, operation, min_duration, max_duration, error, sort, request.query.start, request.query.end];
      const after = cursor === undefined ? undefined : decodeCursor(cursor, same_query);
      const range = after ?? (await searchRange(db, request.query, now_ns()));
      const filters = {
        service, operation, error,
        min_duration_ns: min_duration === undefined ? undefined : parseDuration('min_duration', min_duration),
        max_duration_ns: max_duration === undefined ? undefined : parseDuration('max_duration', max_duration),
      };
      const rows = await searchTraces(db, { range, filters, order: sort, limit: limit + 1, after });
      const page = rows.slice(0, limit);
      const last = rows.length > limit ? page.at(-1) : undefined;
      return {
        traces: page.map(traceSummary),
        searched: searchedJson(range),
        duration_of: 'trace' as const,
        next_cursor: last === undefined ? null : encodeCursor({ start_ns: range.start_ns, end_ns: range.end_ns, duration_ns: last.duration_ns, trace_id: last.trace_id }, same_query),
      };
    },
  });
}
