// Jaeger's query API, version 3, as its own HTTP gateway answers: OTLP/JSON, and 404 for a search that finds nothing.
import { Type } from 'typebox';
import type { FastifyInstance } from 'fastify';
import { ClientError } from '../client-error.ts';
import type { RouteContext } from '../dependencies.ts';
import { JSON_TYPE, answers, needed, sendJson, speakAs, text } from '../foreign-api.ts';
import { otlpTraces } from '../formats/otlp-json.ts';
import { findTraceIds, spansOfTraces } from '../lookups/matching-traces.ts';
import { requireTrace } from '../lookups/one-trace.ts';
import { graphEdges } from '../lookups/service-graph.ts';
import { operationNames, serviceNames } from '../lookups/service-names.ts';
import type { SpanRow } from '../lookups/trace-spans.ts';
import { servicesOfTraces } from '../lookups/trace-summaries.ts';
import { oneOf, wholeTraceId } from '../query-text.ts';
import { Summaries, traceSummaries } from './trace-summaries.ts';
import { Search, given, inBothSpellings, searchOf, time } from './v3-query.ts';

const MOST_SPANS = 100_000;
const MOST_EDGES = 10_000;

const failed = (description: string) => answers(JSON_TYPE, description, Type.Object({ error: Type.Object({ httpCode: Type.Integer(), message: Type.String() }) }));
const Result = Type.Object({ result: Type.Object({ resourceSpans: Type.Array(Type.Object({}, { additionalProperties: true })) }) });

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
      querystring: inBothSpellings({ spanKind: text('only these: server or client', 'server'), service: text('of this service; left out: of all', 'shop') }),
      response: { 200: answers(JSON_TYPE, 'their names and kinds', Type.Object({ operations: Type.Array(Type.Object({ name: Type.String(), spanKind: Type.String() })) })) },
    },
  }, async (request, reply) => {
    const found = await operationNames(db, { service: oneOf(request.query, 'service'), kind: given(request.query, 'spanKind') });
    return sendJson(reply, { operations: found.map((operation) => ({ name: operation.name, spanKind: operation.kind })) });
  });

  app.get('/traces', { schema: { ...describe('jaegerV3FindTraces', 'Find traces (v3)'), querystring: Search, response: { 200: answers(JSON_TYPE, 'OTLP/JSON of whole traces', Result), 400: bad, 404: nothing } } }, async (request, reply) => {
    const match = searchOf(request.query, now_ns());
    const found = await whole(async () => spansOfTraces(db, warehouse, await findTraceIds(db, warehouse, match)));
    return sendJson(reply, otlpResult(found.map(({ spans }) => spans)));
  });

  app.get('/trace-summaries', { schema: { ...describe('jaegerV3FindTraceSummaries', 'Find traces, in brief (v3)'), querystring: Search, response: { 200: answers(JSON_TYPE, 'what they are called, how long they took, how many spans each service has', Summaries), 400: bad } } }, async (request, reply) => {
    const match = searchOf(request.query, now_ns());
    return sendJson(reply, traceSummaries(await whole(async () => servicesOfTraces(db, warehouse, await findTraceIds(db, warehouse, match)))));
  });

  app.get('/dependencies', {
    schema: {
      ...describe('jaegerV3Dependencies', 'Who calls whom (v3)'),
      querystring: inBothSpellings({ startTime: needed('calls at or after, RFC 3339', '2020-01-31T12:00:00Z'), endTime: needed('calls before', '2200-01-01T00:00:00Z') }),
      response: { 200: answers(JSON_TYPE, 'callers, called and how often', Type.Object({ dependencies: Type.Array(Type.Object({ parent: Type.String(), child: Type.String(), callCount: Type.String() })) })), 400: bad },
    },
  }, async (request, reply) => {
    const [start_ns, end_ns] = [time(request.query, 'startTime', now_ns()), time(request.query, 'endTime', now_ns())];
    for (const [name, ns] of [['startTime', start_ns], ['endTime', end_ns]] as const) if (ns === undefined) throw new ClientError(400, `missing required parameter: ${name}`);
    if ((end_ns as bigint) <= (start_ns as bigint)) throw new ClientError(400, 'endTime must be after startTime');
    const edges = await whole(() => graphEdges(db, warehouse, { start_ns: start_ns as bigint, end_ns: end_ns as bigint }, MOST_EDGES));
    return sendJson(reply, { dependencies: edges.map(({ client, server, count }) => ({ parent: client, child: server, callCount: String(count) })) });
  });

  app.get('/traces/:trace_id', {
    schema: {
      ...describe('jaegerV3GetTrace', 'One trace (v3)'),
      params: Type.Object({ trace_id: needed('up to 32 hex digits', '18b0c6a27b4d3c00023f9a1b7c6d5e4f') }),
      querystring: inBothSpellings({ startTime: text('ignored: every trace is found by its id', '2020-01-31T12:00:00Z'), endTime: text('ignored', '2200-01-01T00:00:00Z'), rawTraces: text('ignored: traces are never adjusted', 'true') }),
      response: { 200: answers(JSON_TYPE, 'OTLP/JSON', Result), 400: bad, 404: nothing },
    },
  }, async (request, reply) => {
    let trace_id: string;
    try {
      trace_id = wholeTraceId(request.params.trace_id);
    } catch (error) {
      throw new ClientError(400, `malformed parameter trace_id: ${(error as Error).message}`);
    }
    time(request.query, 'startTime', now_ns());
    time(request.query, 'endTime', now_ns());
    return sendJson(reply, otlpResult([(await whole(() => requireTrace(db, warehouse, trace_id, { max_spans: MOST_SPANS }))).spans]));
  });
}
