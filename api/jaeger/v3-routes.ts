// Jaeger's query API, version 3, as its own HTTP gateway answers: OTLP/JSON, and 404 for a search that finds nothing.
import { Type } from 'typebox';
import type { FastifyInstance } from 'fastify';
import { TracehouseError } from '../../schema/errors.ts';
import { ClientError } from '../client-error.ts';
import type { RouteContext } from '../dependencies.ts';
import { JSON_TYPE, answers, needed, sendJson, speakAs, text } from '../foreign-api.ts';
import { otlpTraces } from '../formats/otlp-json.ts';
import { findTraceIds, spansOfTraces } from '../lookups/matching-traces.ts';
import type { SpanMatch } from '../lookups/matching-traces.ts';
import { requireTrace } from '../lookups/one-trace.ts';
import { operationNames, serviceNames } from '../lookups/service-names.ts';
import type { SpanRow } from '../lookups/trace-spans.ts';
import { allOf, oneOf, wholeTraceId } from '../query-text.ts';
import { parseTime } from '../time-text.ts';
import { countOf, duration, spanConditions, tagsOf } from './trace-query.ts';

const MOST_SPANS = 100_000;
const DEFAULT_DEPTH = 100;

const failed = (description: string) => answers(JSON_TYPE, description, Type.Object({ error: Type.Object({ httpCode: Type.Integer(), message: Type.String() }) }));
const Result = Type.Object({ result: Type.Object({ resourceSpans: Type.Array(Type.Object({}, { additionalProperties: true })) }) });

const Search = Type.Object({
  'query.service_name': text('service of the span that is looked for', 'shop'),
  'query.operation_name': text('its name', 'GET /orders/{id}'),
  'query.start_time_min': needed('it starts at or after, RFC 3339', '2020-01-31T12:00:00+01:00'),
  'query.start_time_max': needed('it starts before, RFC 3339', '2200-01-01T00:00:00Z'),
  'query.duration_min': text('it took at least: 1.2ms, 1m30s', '1us'),
  'query.duration_max': text('it took at most', '1h'),
  'query.attributes': text('its attributes, a JSON object of texts', '{"http.request.method":"GET"}'),
  'query.search_depth': text('traces, newest first', '20'),
  'query.num_traces': text('older name of search_depth', '20'),
  'query.raw_traces': text('ignored: traces are never adjusted', 'true'),
});

/** An unescaped + of an offset arrives as a space. */
function time(query: unknown, name: string, now_ns: bigint): bigint | undefined {
  const given = oneOf(query, name);
  if (given === undefined) return undefined;
  try {
    return parseTime(name, given, now_ns);
  } catch (error) {
    if (error instanceof TracehouseError) throw new ClientError(400, `malformed parameter ${name}: parsing time "${given}": ${error.mend ?? ''}`);
    throw error;
  }
}

/** A trace after the other: Grafana makes a line of each resource. */
function otlpResult(traces: readonly (readonly SpanRow[])[]) {
  if (traces.length === 0) throw new ClientError(404, 'No traces found');
  return { result: { resourceSpans: traces.flatMap((spans) => otlpTraces(spans).resourceSpans) } };
}

export function jaegerV3(scope: FastifyInstance, { db, warehouse, whole, now_ns }: RouteContext, name: (id: string) => string): void {
  const app = speakAs(scope, { content_type: `${JSON_TYPE}; charset=utf-8`, body: (httpCode, message) => ({ error: { httpCode, message: message === 'trace not found' ? 'No traces found' : message } }) });
  const describe = (id: string, summary: string) => ({ operationId: name(id), summary, tags: ['jaeger'] });
  const bad = failed('a parameter is not understood');
  const nothing = failed('there is none');

  app.get('/services', { schema: { ...describe('jaegerV3Services', 'Services (v3)'), response: { 200: answers(JSON_TYPE, 'their names', Type.Object({ services: Type.Array(Type.String()) })) } } }, async (_request, reply) =>
    sendJson(reply, { services: await serviceNames(db) }));

  app.get('/operations', {
    schema: {
      ...describe('jaegerV3Operations', 'Operations (v3)'),
      querystring: Type.Object({ service: text('of this service; left out: of all', 'shop'), span_kind: text('only these: server or client', 'server') }),
      response: { 200: answers(JSON_TYPE, 'their names and kinds', Type.Object({ operations: Type.Array(Type.Object({ name: Type.String(), spanKind: Type.String() })) })) },
    },
  }, async (request, reply) => {
    const found = await operationNames(db, { service: oneOf(request.query, 'service'), kind: oneOf(request.query, 'span_kind') });
    return sendJson(reply, { operations: found.map((operation) => ({ name: operation.name, spanKind: operation.kind })) });
  });

  app.get('/traces', { schema: { ...describe('jaegerV3FindTraces', 'Find traces (v3)'), querystring: Search, response: { 200: answers(JSON_TYPE, 'OTLP/JSON of whole traces', Result), 400: bad, 404: nothing } } }, async (request, reply) => {
    const { query } = request;
    const [min, max] = [time(query, 'query.start_time_min', now_ns()), time(query, 'query.start_time_max', now_ns())];
    if (min === undefined || max === undefined) throw new ClientError(400, 'query.start_time_min and query.start_time_max are required');
    const depth = oneOf(query, 'query.search_depth') === undefined ? 'query.num_traces' : 'query.search_depth';
    const told = (which: string) => (problem: string) => `malformed parameter ${which}: ${problem}`;
    const match: SpanMatch = {
      range: { start_ns: min, end_ns: max },
      limit: countOf(oneOf(query, depth), depth, DEFAULT_DEPTH),
      conditions: spanConditions({
        service: oneOf(query, 'query.service_name'),
        operation: oneOf(query, 'query.operation_name'),
        tags: allOf(query, 'query.attributes').flatMap(tagsOf),
        min_ns: duration(query, 'query.duration_min', told('query.duration_min')),
        max_ns: duration(query, 'query.duration_max', told('query.duration_max')),
      }),
    };
    const found = await whole(async () => spansOfTraces(db, warehouse, await findTraceIds(db, warehouse, match)));
    return sendJson(reply, otlpResult(found.map(({ spans }) => spans)));
  });

  app.get('/traces/:trace_id', {
    schema: {
      ...describe('jaegerV3GetTrace', 'One trace (v3)'),
      params: Type.Object({ trace_id: needed('up to 32 hex digits', '18b0c6a27b4d3c00023f9a1b7c6d5e4f') }),
      querystring: Type.Object({ start_time: text('ignored: every trace is found by its id', '2020-01-31T12:00:00Z'), end_time: text('ignored', '2200-01-01T00:00:00Z'), raw_traces: text('ignored: traces are never adjusted', 'true') }),
      response: { 200: answers(JSON_TYPE, 'OTLP/JSON', Result), 400: bad, 404: nothing },
    },
  }, async (request, reply) => {
    let trace_id: string;
    try {
      trace_id = wholeTraceId(request.params.trace_id);
    } catch (error) {
      throw new ClientError(400, `malformed parameter trace_id: ${(error as Error).message}`);
    }
    time(request.query, 'start_time', now_ns());
    time(request.query, 'end_time', now_ns());
    return sendJson(reply, otlpResult([(await whole(() => requireTrace(db, warehouse, trace_id, { max_spans: MOST_SPANS }))).spans]));
  });
}
