import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { DURATIONS_OF, TRACE_ORDERS, searchTraces } from '../lookups/trace-search.ts';
import type { DurationOf, TraceOrder } from '../lookups/trace-search.ts';
import { Cursor, NUMBER_PART, TRACE_ID_PART, decodeCursor, encodeCursor } from '../page-cursor.ts';
import { problems } from '../problem.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { RangeParameters, Searched, searchRange, searchedJson } from '../search-range.ts';
import { parseDuration } from '../time-text.ts';
import { TraceSummary, traceSummary } from '../trace-json.ts';

const Query = Type.Object(
  {
    service: Type.Optional(Type.String({ description: 'traces in which this service takes part', examples: ['shop'] })),
    operation: Type.Optional(Type.String({ description: 'traces with a span of this name; together with service: a span of that service', examples: ['GET /orders/{id}'] })),
    ...RangeParameters,
    min_duration: Type.Optional(Type.String({ description: 'at least this long: 250ms, 1.5s, or nanoseconds. duration_of says what', examples: ['1us'] })),
    max_duration: Type.Optional(Type.String({ description: 'at most this long', examples: ['1h'] })),
    duration_of: Type.Optional(Type.Unsafe<DurationOf>({ type: 'string', enum: [...DURATIONS_OF], default: 'trace', description: 'what min_duration and max_duration are about. trace: from the start of its root to the end of its last span. span: any one span; the one that service and operation speak of, where they are given', examples: ['span'] })),
    error: Type.Optional(Type.Boolean({ description: 'true: only traces with an error; false: only traces without', examples: [false] })),
    sort: Type.Optional(Type.Unsafe<TraceOrder>({ type: 'string', enum: [...TRACE_ORDERS], default: '-start_time', description: '- is newest or slowest first; ties are ordered by trace_id', examples: ['-duration'] })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 20, description: 'traces a page', examples: [10] })),
    cursor: Cursor,
  },
  { additionalProperties: false },
);

const Answer = Type.Object({
  traces: Type.Array(Type.Ref('TraceSummary#') as unknown as typeof TraceSummary),
  searched: Searched,
  duration_of: Type.Unsafe<DurationOf>({ type: 'string', enum: [...DURATIONS_OF], description: 'what min_duration and max_duration were compared with' }),
  next_cursor: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'null: this was the last page' }),
}, { description: 'a page of summaries' });

export function traceSearchRoute(app: App, { db, warehouse, whole, now_ns }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/traces',
    schema: { operationId: 'searchTraces', tags: ['traces'], summary: 'Find traces', description: 'Summaries in a total order, a page at a time. A trace lies in the range by the start of its root, which is also the first half of its id. The range that was searched is part of the answer.', querystring: Query, response: { 200: Answer, ...problems(400) } },
    handler: async (request) => {
      const { service, operation, min_duration, max_duration, duration_of = 'trace', error, sort = '-start_time', limit = 20, cursor } = request.query;
      const same_query = [service, operation, min_duration, max_duration, duration_of, error, sort, request.query.start, request.query.end];
      const page_before = cursor === undefined ? undefined : decodeCursor(cursor, same_query, [NUMBER_PART, TRACE_ID_PART]);
      const [duration, last_id] = page_before?.key ?? [];
      const after = duration === undefined || last_id === undefined ? undefined : { duration_ns: BigInt(duration), trace_id: last_id };
      const range = page_before ?? (await searchRange(warehouse, request.query, now_ns()));
      const filters = {
        service, operation, duration_of, error,
        min_duration_ns: min_duration === undefined ? undefined : parseDuration('min_duration', min_duration),
        max_duration_ns: max_duration === undefined ? undefined : parseDuration('max_duration', max_duration),
      };
      if (filters.min_duration_ns !== undefined && filters.max_duration_ns !== undefined && filters.min_duration_ns > filters.max_duration_ns) {
        throw new TracehouseError('invalid-range', 'min_duration is longer than max_duration', { mend: 'swap them' });
      }
      const rows = await whole(() => searchTraces(db, warehouse, { range, filters, order: sort, limit: limit + 1, after }));
      const page = rows.slice(0, limit);
      const last = rows.length > limit ? page.at(-1) : undefined;
      return {
        traces: page.map(traceSummary),
        searched: searchedJson(range, request.away),
        duration_of,
        next_cursor: last === undefined ? null : encodeCursor({ start_ns: range.start_ns, end_ns: range.end_ns, key: [String(last.duration_ns), last.trace_id] }, same_query),
      };
    },
  });
}
