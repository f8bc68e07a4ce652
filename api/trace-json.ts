// Traces and spans as /api/v1 gives them.
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { Count, Int64, NullableInt64, NullableInteger, NullableNumber, NullableText, SpanId, Time, TraceId, int64, nullableInt64 } from './json-types.ts';
import type { Children } from './lookups/one-trace.ts';
import type { CandidateRow } from './lookups/span-candidates.ts';
import type { SpanRow } from './lookups/trace-spans.ts';
import type { TraceRow } from './lookups/trace-search.ts';
import { rfc3339 } from './time-text.ts';

const SUMMARY = {
  trace_id: TraceId(),
  root_service: NullableText('service of the root span'),
  root_name: NullableText('name of the root span'),
  start_time: Time('start of the first span'),
  start_time_unix_nano: Int64('the same, nanoseconds since 1970', '1769860800123456789'),
  duration_ns: Int64('from the start of the first span to the end of the last'),
  span_count: Count('spans'),
  error_count: Count('spans with status error'),
  services: Type.Array(Type.String(), { description: 'services that take part' }),
  complete: Type.Boolean({ description: 'false when a loss of events touches it' }),
};

export const TraceSummary = Type.Object(SUMMARY, { $id: 'TraceSummary', title: 'TraceSummary' });
export type TraceSummary = Static<typeof TraceSummary>;

export const Candidate = Type.Object(
  {
    span_id: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'the span that may have caused this one; null: none, this is a root' }),
    evidence: Type.String({ description: 'what speaks for it', examples: ['thread'] }),
    score: Type.Number({ description: '0 to 1' }),
    chosen: Type.Boolean({ description: 'it became the parent' }),
    rule_version: NullableInteger('version of the rules that judged'),
    model_version: NullableInteger('version of the learned model that judged; null: none'),
  },
  { $id: 'Candidate', title: 'Candidate' },
);
export type Candidate = Static<typeof Candidate>;

export const Span = Type.Object(
  {
    trace_id: TraceId(),
    span_id: SpanId('span id'),
    parent_span_id: NullableText('parent span id; null: a root, or nothing decides between the candidates'),
    kind: Type.String({ description: "'server' or 'client'", examples: ['server'] }),
    service_name: NullableText('service'),
    span_name: NullableText('method and path template'),
    start_time: Time('start'),
    start_time_unix_nano: Int64('the same, nanoseconds since 1970', '1769860800123456789'),
    end_time: Time('end'),
    duration_ns: Int64('end - start'),
    status: Type.String({ description: "'unset', 'ok' or 'error'", examples: ['ok'] }),
    node: NullableText('node'),
    pid: NullableInteger('process'),
    tid: NullableInteger('thread'),
    process_id: NullableInt64('process, never reused'),
    thread_id: NullableInt64('thread, never reused'),
    comm: NullableText('name of the thread'),
    socket_id: NullableInt64('socket'),
    client_address: NullableText('who opened the connection'),
    client_port: NullableInteger('its port'),
    server_address: NullableText('who accepted it'),
    server_port: NullableInteger('its port'),
    network_protocol_name: NullableText('protocol'),
    http_request_method: NullableText('method'),
    url_path: NullableText('path, without its query'),
    url_template: NullableText('path with {id} for what varies'),
    http_response_status_code: NullableInteger('status'),
    bytes_in: NullableInt64('bytes read'),
    bytes_out: NullableInt64('bytes written'),
    attributes: Type.Record(Type.String(), Type.Unknown(), { description: 'what else is known' }),
    parent_evidence: NullableText('what the parent was chosen by'),
    parent_confidence: NullableNumber('0 to 1'),
    rule_version: NullableInteger('version of the rules that chose it'),
    complete: Type.Boolean({ description: 'false when a loss of events touches it' }),
    candidates: Type.Array(Type.Ref('Candidate#') as unknown as typeof Candidate, { description: 'only where there is no parent: who may have been it' }),
    children_count: Count('spans whose parent it is'),
    children_omitted: Count('those of them that are not in this answer: the children route has them'),
  },
  { $id: 'Span', title: 'Span' },
);
export type Span = Static<typeof Span>;

export const Trace = Type.Object(
  {
    ...SUMMARY,
    requested_trace_id: TraceId('the id that was asked for: an older id of this trace when it differs'),
    partial: Type.Boolean({ description: 'true: spans are left out, the deepest and latest ones; children_omitted says below which' }),
    root: NullableText('the span that was asked for as root; null: the whole trace'),
    subtree_span_count: Count('spans at and below that root, in this answer or not; without a root all of the trace'),
    roots_omitted: Count('spans without a parent in this trace that are left out'),
    children_url: Type.String({ description: 'where the children of a span are, with its id in place of {span_id}: a page at a time', examples: ['/api/v1/traces/18b0c6a27b4d3c00023f9a1b7c6d5e4f/spans/{span_id}/children'] }),
    spans: Type.Array(Type.Ref('Span#') as unknown as typeof Span, { description: 'by start time' }),
  },
  { $id: 'Trace', title: 'Trace' },
);
export type Trace = Static<typeof Trace>;

export function traceSummary(row: TraceRow): TraceSummary {
  return {
    trace_id: row.trace_id,
    root_service: row.root_service,
    root_name: row.root_name,
    start_time: rfc3339(row.start_ns),
    start_time_unix_nano: int64(row.start_ns),
    duration_ns: int64(row.duration_ns),
    span_count: Number(row.span_count),
    error_count: Number(row.error_count),
    services: row.services?.items.map(String) ?? [],
    complete: row.complete,
  };
}

export function candidateJson(row: CandidateRow): Candidate {
  return { span_id: row.candidate_span_id, evidence: row.evidence, score: row.score, chosen: row.chosen, rule_version: row.rule_version, model_version: row.model_version };
}

export function attributesOf(row: SpanRow): Record<string, unknown> {
  const all = row.attributes === null ? {} : (JSON.parse(row.attributes) as Record<string, unknown>);
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
}

/** Member by member: copying a row of so many columns and changing some takes several times as long. */
export function spanJson(row: SpanRow, candidates: readonly CandidateRow[], children: Children): Span {
  return {
    trace_id: row.trace_id,
    span_id: row.span_id,
    parent_span_id: row.parent_span_id,
    kind: row.kind,
    service_name: row.service_name,
    span_name: row.span_name,
    start_time: rfc3339(row.start_ns),
    start_time_unix_nano: int64(row.start_ns),
    end_time: rfc3339(row.end_ns),
    duration_ns: int64(row.duration_ns),
    status: row.status,
    node: row.node,
    pid: row.pid,
    tid: row.tid,
    process_id: nullableInt64(row.process_id),
    thread_id: nullableInt64(row.thread_id),
    comm: row.comm,
    socket_id: nullableInt64(row.socket_id),
    client_address: row.client_address,
    client_port: row.client_port,
    server_address: row.server_address,
    server_port: row.server_port,
    network_protocol_name: row.network_protocol_name,
    http_request_method: row.http_request_method,
    url_path: row.url_path,
    url_template: row.url_template,
    http_response_status_code: row.http_response_status_code,
    bytes_in: nullableInt64(row.bytes_in),
    bytes_out: nullableInt64(row.bytes_out),
    attributes: attributesOf(row),
    parent_evidence: row.parent_evidence,
    parent_confidence: row.parent_confidence,
    rule_version: row.rule_version,
    complete: row.complete,
    candidates: candidates.map(candidateJson),
    children_count: children.count,
    children_omitted: children.omitted,
  };
}
