import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Int64, NullableInt64, NullableInteger, NullableNumber, NullableText, SpanId, Time, TraceId, int64, nullableInt64 } from '../json-types.ts';
import { requireTrace } from '../lookups/one-trace.ts';
import { eventsOfSpans } from '../lookups/trace-evidence.ts';
import type { SpanEvent } from '../lookups/trace-evidence.ts';
import { candidatesOf } from '../lookups/span-candidates.ts';
import { problems } from '../problem.ts';
import { rfc3339 } from '../time-text.ts';
import { Candidate, candidateJson } from '../trace-json.ts';

const Link = Type.Object({
  span_id: SpanId('the span that was caused'),
  service_name: NullableText('its service'),
  span_name: NullableText('its name'),
  kind: Type.String({ description: "'server' or 'client'" }),
  parent_span_id: NullableText('what was decided; null: a root, or undecided'),
  evidence: NullableText('what it was decided by'),
  confidence: NullableNumber('0 to 1'),
  rule_version: NullableInteger('version of the rules that decided'),
  candidates: Type.Array(Type.Ref('Candidate#') as unknown as typeof Candidate, { description: 'every parent that was considered, the rejected ones too, best first' }),
});

const Event = Type.Object({
  ts: Time('when'),
  ts_unix_nano: Int64('the same, nanoseconds since 1970'),
  span_ids: Type.Array(Type.String(), { description: 'spans that it bears on: on their thread or socket, within their time' }),
  node: Type.String(),
  op: Type.String({ description: 'what happened', examples: ['read'] }),
  bytes: Int64('bytes moved', '120'),
  pid: NullableInteger('process'),
  tid: NullableInteger('thread'),
  process_id: NullableInt64('process, never reused'),
  thread_id: NullableInt64('thread, never reused'),
  comm: NullableText('name of the thread'),
  socket_id: Int64('socket', '4711'),
  conn_id: NullableInt64('connection, equal at both ends'),
  fd: NullableInteger('file descriptor'),
  stream_offset: Int64('of its first byte in its own direction', '0'),
  other_offset: Int64('bytes so far in the other direction', '0'),
  turn: NullableInt64('times the thread had polled'),
  errno: NullableInteger('error'),
});

const Evidence = Type.Object({
  trace_id: TraceId(),
  links: Type.Array(Link),
  partial: Type.Boolean({ description: 'true: there are more spans than max_spans, deeper or later' }),
  events: Type.Array(Event, { description: 'what the kernel saw, by time' }),
  events_truncated: Type.Boolean({ description: 'true: there are more events than max_events' }),
}, { description: 'links and events' });

const Query = Type.Object(
  {
    max_spans: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: 'the first so many spans, level by level from the root', examples: [100] })),
    max_events: Type.Optional(Type.Integer({ minimum: 0, maximum: 50_000, default: 5000, description: 'at most so many events', examples: [500] })),
  },
  { additionalProperties: false },
);

function eventJson({ event, span_ids }: SpanEvent) {
  const { ts_ns, ...columns } = event;
  return {
    ...columns,
    ts: rfc3339(ts_ns),
    ts_unix_nano: int64(ts_ns),
    span_ids: [...span_ids],
    bytes: int64(event.bytes),
    process_id: nullableInt64(event.process_id),
    thread_id: nullableInt64(event.thread_id),
    socket_id: int64(event.socket_id),
    conn_id: nullableInt64(event.conn_id),
    stream_offset: int64(event.stream_offset),
    other_offset: int64(event.other_offset),
    turn: nullableInt64(event.turn),
  };
}

export function traceEvidenceRoute(app: App, { db, warehouse, whole }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/traces/:trace_id/evidence',
    schema: {
      operationId: 'getTraceEvidence',
      tags: ['traces'],
      summary: 'What the links of a trace stand on',
      description: 'For each span: how its parent was chosen, and which candidates were rejected. With the raw events on the threads and sockets of the spans while they lasted.',
      params: Type.Object({ trace_id: TraceId() }),
      querystring: Query,
      response: { 200: Evidence, ...problems(400, 404) },
    },
    handler: async (request) => {
      const { max_spans = 1000, max_events = 5000 } = request.query;
      const { trace, spans, partial } = await whole(() => requireTrace(db, warehouse, request.params.trace_id, { max_spans }));
      const [candidates, { events, truncated }] = await whole(() => Promise.all([candidatesOf(db, warehouse, spans), eventsOfSpans(db, warehouse, spans, max_events)]));
      return {
        trace_id: trace.trace_id,
        links: spans.map((span) => ({
          span_id: span.span_id,
          service_name: span.service_name,
          span_name: span.span_name,
          kind: span.kind,
          parent_span_id: span.parent_span_id,
          evidence: span.parent_evidence,
          confidence: span.parent_confidence,
          rule_version: span.rule_version,
          candidates: (candidates.get(span.span_id) ?? []).map(candidateJson),
        })),
        partial,
        events: events.map(eventJson),
        events_truncated: truncated,
      };
    },
  });
}
