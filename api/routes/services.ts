import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Count, Int64, NullableText, Time } from '../json-types.ts';
import { listOperations, listServices } from '../lookups/service-summary.ts';
import { Cursor, TEXT_PART, decodeCursor, encodeCursor } from '../page-cursor.ts';
import { problems } from '../problem.ts';
import { RangeParameters, Searched, searchRange, searchedJson } from '../search-range.ts';
import { rfc3339 } from '../time-text.ts';

const Page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: 'rows a page', examples: [100] })),
  cursor: Cursor,
};
const NextCursor = NullableText('null: this was the last page');

const Services = Type.Object({
  services: Type.Array(
    Type.Object({
      service_name: Type.String({ examples: ['shop'] }),
      request_count: Count('requests that it answered'),
      call_count: Count('requests that it made'),
      error_count: Count('requests that it answered with an error, or not at all'),
      operation_count: Count('different operations among the requests that it answered'),
      first_seen: Time('start of its first span in the range'),
      last_seen: Time('start of its last span in the range'),
    }),
  ),
  searched: Searched,
  next_cursor: NextCursor,
}, { description: 'a page of services, by name' });

const Operations = Type.Object({
  operations: Type.Array(
    Type.Object({
      service_name: Type.String({ examples: ['shop'] }),
      operation: NullableText('span name'),
      kind: Type.String({ description: "'server' or 'client'", examples: ['server'] }),
      span_count: Count('spans'),
      error_count: Count('spans with status error'),
      p50_ns: Int64('half of the spans took at most so long'),
      p95_ns: Int64('95 of 100 spans took at most so long'),
      p99_ns: Int64('99 of 100 spans took at most so long'),
    }),
  ),
  truncated: Type.Boolean({ description: 'there are more than these: next_cursor leads to them' }),
  searched: Searched,
  next_cursor: NextCursor,
}, { description: 'a page of operations, by service, name and kind' });

const rounded = (ns: number): string => String(Math.round(ns));

export function serviceRoutes(app: App, { db, warehouse, whole, now_ns }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/services',
    schema: { operationId: 'listServices', tags: ['discovery'], summary: 'Services', querystring: Type.Object({ ...RangeParameters, ...Page }, { additionalProperties: false }), response: { 200: Services, ...problems(400) } },
    handler: async (request) => {
      const { limit = 1000, cursor, start, end } = request.query;
      const asked = ['services', start, end];
      const before = cursor === undefined ? undefined : decodeCursor(cursor, asked, [TEXT_PART]);
      const range = before ?? (await searchRange(warehouse, request.query, now_ns()));
      const rows = await whole(() => listServices(db, warehouse, range, limit + 1, before?.key[0]));
      const page = rows.slice(0, limit);
      const last = rows.length > limit ? page.at(-1) : undefined;
      return {
        services: page.map((row) => ({
          service_name: row.service_name,
          request_count: Number(row.request_count),
          call_count: Number(row.call_count),
          error_count: Number(row.error_count),
          operation_count: Number(row.operation_count),
          first_seen: rfc3339(row.first_ns),
          last_seen: rfc3339(row.last_ns),
        })),
        searched: searchedJson(range, request.away),
        next_cursor: last === undefined ? null : encodeCursor({ ...range, key: [last.service_name] }, asked),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/operations',
    schema: {
      operationId: 'listOperations',
      tags: ['discovery'],
      summary: 'Operations of services',
      querystring: Type.Object(
        {
          service: Type.Optional(Type.String({ description: 'of this service only', examples: ['shop'] })),
          kind: Type.Optional(Type.Unsafe<'server' | 'client'>({ type: 'string', enum: ['server', 'client'], description: 'only requests that were answered (server) or made (client)', examples: ['server'] })),
          ...RangeParameters,
          ...Page,
        },
        { additionalProperties: false },
      ),
      response: { 200: Operations, ...problems(400) },
    },
    handler: async (request) => {
      const { limit = 1000, cursor, start, end, service, kind } = request.query;
      const asked = ['operations', start, end, service, kind];
      const before = cursor === undefined ? undefined : decodeCursor(cursor, asked, [TEXT_PART, TEXT_PART, TEXT_PART]);
      const [service_name, span_name, of_kind] = before?.key ?? [];
      const range = before ?? (await searchRange(warehouse, request.query, now_ns()));
      const after = service_name === undefined || span_name === undefined || of_kind === undefined ? undefined : { service_name, span_name, kind: of_kind };
      const rows = await whole(() => listOperations(db, warehouse, range, { service, kind }, limit + 1, after));
      const page = rows.slice(0, limit);
      const last = rows.length > limit ? page.at(-1) : undefined;
      return {
        operations: page.map((row) => ({
          service_name: row.service_name,
          operation: row.span_name,
          kind: row.kind,
          span_count: Number(row.span_count),
          error_count: Number(row.error_count),
          p50_ns: rounded(row.p50_ns),
          p95_ns: rounded(row.p95_ns),
          p99_ns: rounded(row.p99_ns),
        })),
        truncated: last !== undefined,
        searched: searchedJson(range, request.away),
        next_cursor: last === undefined ? null : encodeCursor({ ...range, key: [last.service_name, last.span_name ?? '', last.kind] }, asked),
      };
    },
  });
}
