// Jaeger's query API, version 1, as Jaeger UI and Grafana call it: times in microseconds, of dependencies in milliseconds.
import { Type } from 'typebox';
import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../dependencies.ts';
import { JSON_TYPE, answers, needed, sendJson, speakAs, text } from '../foreign-api.ts';
import { jaegerTraces } from '../formats/jaeger-json.ts';
import { findTraceIds, spansOfTraces } from '../lookups/matching-traces.ts';
import { requireTrace } from '../lookups/one-trace.ts';
import { operationNames, serviceNames } from '../lookups/service-names.ts';
import { graphEdges } from '../lookups/service-graph.ts';
import { oneOf, wholeTraceId } from '../query-text.ts';
import { ClientError } from '../client-error.ts';
import { traceQuery, unixTime } from './trace-query.ts';
import { tracesById } from './traces-by-id.ts';

const MOST_SPANS = 100_000;
const MOST_EDGES = 10_000;
const DAY_MS = 86_400_000n;
const MS_NS = 1_000_000n;

export interface Envelope {
  readonly data: unknown;
  readonly total?: number;
  readonly errors?: readonly { code?: number; msg: string; traceID?: string }[] | null;
}
const envelope = ({ data, total = 0, errors = null }: Envelope) => ({ data, total, limit: 0, offset: 0, errors });
const listed = (data: readonly unknown[]) => envelope({ data, total: data.length });

const Errors = Type.Unsafe({ type: ['array', 'null'], items: { type: 'object', properties: { code: { type: 'integer' }, msg: { type: 'string' }, traceID: { type: 'string' } } } });
const enveloped = (data: object) => Type.Object({ data: Type.Unsafe(data), total: Type.Integer(), limit: Type.Integer(), offset: Type.Integer(), errors: Errors });
const ok = (description: string, item: object) => answers(JSON_TYPE, description, enveloped({ type: 'array', items: item }));
const failed = (description: string) => answers(JSON_TYPE, description, enveloped({ type: 'null' }));
const JaegerTrace = { type: 'object', required: ['traceID', 'spans', 'processes'], properties: { traceID: { type: 'string' }, spans: { type: 'array', items: { type: 'object' } }, processes: { type: 'object' } } };
const Names = { type: 'string' };
const Operation = { type: 'object', properties: { name: { type: 'string' }, spanKind: { type: 'string' } } };
const Dependency = { type: 'object', properties: { parent: { type: 'string' }, child: { type: 'string' }, callCount: { type: 'integer' } } };

const Search = Type.Object({
  service: needed('service of the span that is looked for; may be left out when traceID is given', 'shop'),
  operation: text('its name', 'GET /orders/{id}'),
  tags: text('its attributes, or its process, a JSON object of texts', '{"http.request.method":"GET"}'),
  tag: text('one attribute, key:value; may be repeated', 'span.kind:server'),
  start: text('it starts at or after, microseconds since 1970; left out: two days ago', '1700000000000000'),
  end: text('it starts at or before, microseconds since 1970; left out: now', '7258118400000000'),
  minDuration: text('it took at least: 1.2ms, 1m30s', '1us'),
  maxDuration: text('it took at most', '1h'),
  limit: text('traces, newest first', '20'),
  lookback: text("what Jaeger UI shows as its range; start and end say it", '1h'),
  traceID: text('traces by id instead; may be repeated', '18b0c6a27b4d3c00023f9a1b7c6d5e4f'),
});

/** operationId is told apart by `prefix`. */
export function jaegerV1(scope: FastifyInstance, { db, warehouse, whole, now_ns }: RouteContext, name: (id: string) => string): void {
  const app = speakAs(scope, { content_type: `${JSON_TYPE}; charset=utf-8`, body: (code, msg) => envelope({ data: null, errors: [{ code, msg }] }) });
  const describe = (id: string, summary: string) => ({ operationId: name(id), summary, tags: ['jaeger'] });
  const bad = failed('a parameter is not understood');

  app.get('/services', { schema: { ...describe('jaegerServices', 'Services'), response: { 200: ok('their names', Names) } } }, async (_request, reply) =>
    sendJson(reply, listed(await serviceNames(db))));

  app.get('/services/:service/operations', { schema: { ...describe('jaegerOperationsOfService', 'Operations of a service'), params: Type.Object({ service: needed('its name', 'shop') }), response: { 200: ok('their names', Names) } } }, async (request, reply) => {
    const found = await operationNames(db, request.params);
    return sendJson(reply, listed([...new Set(found.map((operation) => operation.name))]));
  });

  app.get('/operations', {
    schema: { ...describe('jaegerOperations', 'Operations of a service, by kind'), querystring: Type.Object({ service: needed('its name', 'shop'), spanKind: text('only these: server or client', 'server') }), response: { 200: ok('their names and kinds', Operation), 400: bad } },
  }, async (request, reply) => {
    const service = oneOf(request.query, 'service');
    if (service === undefined) throw new ClientError(400, "parameter 'service' is required");
    const found = await operationNames(db, { service, kind: oneOf(request.query, 'spanKind') });
    return sendJson(reply, listed(found.map(({ name: operation, kind }) => ({ name: operation, spanKind: kind }))));
  });

  app.get('/traces', { schema: { ...describe('jaegerFindTraces', 'Find traces'), querystring: Search, response: { 200: ok('whole traces', JaegerTrace), 400: bad } } }, async (request, reply) => {
    const { trace_ids, match } = traceQuery(request.query, now_ns());
    if (trace_ids.length > 0) {
      const { found, missing } = await whole(() => tracesById(db, warehouse, trace_ids));
      const answer = jaegerTraces(found.map(({ spans }) => spans));
      return sendJson(reply, envelope({ data: answer.data, errors: missing.length === 0 ? null : missing.map((traceID) => ({ msg: 'trace not found', traceID })) }));
    }
    const found = await whole(async () => spansOfTraces(db, warehouse, await findTraceIds(db, warehouse, match)));
    return sendJson(reply, envelope({ data: found.flatMap(({ spans, partial }) => jaegerTraces([spans], partial).data) }));
  });

  app.get('/traces/:trace_id', {
    schema: {
      ...describe('jaegerGetTrace', 'One trace'),
      params: Type.Object({ trace_id: needed('up to 32 hex digits', '18b0c6a27b4d3c00023f9a1b7c6d5e4f') }),
      querystring: Type.Object({ start: text('ignored: every trace is found by its id', '1700000000000000'), end: text('ignored', '7258118400000000'), raw: text('ignored: traces are never adjusted', 'true'), prettyPrint: text('ignored', 'true') }),
      response: { 200: ok('the trace', JaegerTrace), 400: bad, 404: failed('there is no such trace') },
    },
  }, async (request, reply) => {
    const trace_id = wholeTraceId(request.params.trace_id);
    unixTime(request.query, 'start', 1000n);
    unixTime(request.query, 'end', 1000n);
    const { spans, partial } = await whole(() => requireTrace(db, warehouse, trace_id, { max_spans: MOST_SPANS }));
    return sendJson(reply, envelope({ data: jaegerTraces([spans], partial).data }));
  });

  app.get('/dependencies', {
    schema: { ...describe('jaegerDependencies', 'Who calls whom'), querystring: Type.Object({ endTs: text('end of the range, milliseconds since 1970; left out: now', '7258118400000'), lookback: text('its length in milliseconds; left out: a day', '604800000'), service: text('only calls by it or of it', 'shop') }), response: { 200: ok('callers, called and how often', Dependency), 400: bad } },
  }, async (request, reply) => {
    const end_ns = unixTime(request.query, 'endTs', MS_NS) ?? now_ns();
    const lookback_ns = unixTime(request.query, 'lookback', MS_NS) ?? DAY_MS * MS_NS;
    const edges = await whole(() => graphEdges(db, warehouse, { start_ns: end_ns > lookback_ns ? end_ns - lookback_ns : 0n, end_ns }, MOST_EDGES));
    const service = oneOf(request.query, 'service');
    const calls = edges.filter(({ client, server }) => service === undefined || service === client || service === server);
    return sendJson(reply, envelope({ data: calls.map(({ client, server, count }) => ({ parent: client, child: server, callCount: Number(count) })) }));
  });
}
