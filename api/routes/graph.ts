import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Count, Int64 } from '../json-types.ts';
import { graphEdges, graphNodes } from '../lookups/service-graph.ts';
import type { EdgeRow, NodeRow } from '../lookups/service-graph.ts';
import { problems } from '../problem.ts';
import { RangeParameters, Searched, searchRange, searchedJson } from '../search-range.ts';

const MEASURES = {
  count: Count('requests'),
  rate: Type.Number({ description: 'requests a second, over the searched range' }),
  error_count: Count('requests that failed'),
  p50_ns: Int64('half took at most so long'),
  p95_ns: Int64('95 of 100 took at most so long'),
  p99_ns: Int64('99 of 100 took at most so long'),
};

const Graph = Type.Object({
  nodes: Type.Array(
    Type.Object({
      id: Type.String({ description: 'service, or address:port of something that is not traced', examples: ['shop'] }),
      type: Type.String({ description: "'service', or 'external': called, but not traced itself; it has no measures of its own", examples: ['service'] }),
      ...MEASURES,
    }),
    { description: 'measured where requests were answered' },
  ),
  edges: Type.Array(Type.Object({ client: Type.String({ description: 'id of the node that called' }), server: Type.String({ description: 'id of the node that was called' }), ...MEASURES }), { description: 'measured where requests were made' }),
  truncated: Type.Boolean({ description: 'there are more nodes or edges than limit: narrow the range' }),
  searched: Searched,
}, { description: 'the graph' });

const Query = Type.Object(
  { ...RangeParameters, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 2000, description: 'at most so many edges, and so many services; the answer says when there are more', examples: [500] })) },
  { additionalProperties: false },
);

function measures(row: NodeRow | EdgeRow, seconds: number) {
  return {
    count: Number(row.count),
    rate: seconds === 0 ? 0 : Number(row.count) / seconds,
    error_count: Number(row.error_count),
    p50_ns: String(Math.round(row.p50_ns)),
    p95_ns: String(Math.round(row.p95_ns)),
    p99_ns: String(Math.round(row.p99_ns)),
  };
}

const NOT_MEASURED = { count: 0, rate: 0, error_count: 0, p50_ns: '0', p95_ns: '0', p99_ns: '0' };

export function graphRoute(app: App, { db, warehouse, whole, now_ns }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/graph',
    schema: { operationId: 'getGraph', tags: ['discovery'], summary: 'Who calls whom', querystring: Query, response: { 200: Graph, ...problems(400) } },
    handler: async (request) => {
      const { limit = 2000 } = request.query;
      const range = await searchRange(warehouse, request.query, now_ns());
      const seconds = Number(range.end_ns - range.start_ns) / 1e9;
      const [all_services, all_edges] = await whole(() => Promise.all([graphNodes(db, warehouse, range, limit + 1), graphEdges(db, warehouse, range, limit + 1)]));
      const [services, edges] = [all_services.slice(0, limit), all_edges.slice(0, limit)];
      const known = new Set(services.map(({ name }) => name));
      // Callers that answer nothing themselves are services too.
      const callers = [...new Set(edges.map(({ client }) => client))].filter((name) => !known.has(name));
      const external = [...new Set(edges.filter(({ server_traced }) => !server_traced).map(({ server }) => server))];
      return {
        nodes: [
          ...services.map((row) => ({ id: row.name, type: 'service', ...measures(row, seconds) })),
          ...callers.map((id) => ({ id, type: 'service', ...NOT_MEASURED })),
          ...external.map((id) => ({ id, type: 'external', ...NOT_MEASURED })),
        ],
        edges: edges.map((row) => ({ client: row.client, server: row.server, ...measures(row, seconds) })),
        truncated: all_services.length > limit || all_edges.length > limit,
        searched: searchedJson(range, request.away),
      };
    },
  });
}
