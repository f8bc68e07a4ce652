// A span in OpenTelemetry's words: stable semantic conventions, and tracehouse.* for what only we know.
import type { SpanRow } from '../lookups/trace-spans.ts';
import { attributesOf } from '../trace-json.ts';

export type AttributeValue = string | number | bigint | boolean;
export type Attributes = readonly (readonly [key: string, value: AttributeValue])[];

function present(pairs: readonly (readonly [string, unknown])[]): [string, AttributeValue][] {
  return pairs.flatMap(([key, value]): [string, AttributeValue][] => {
    if (value === null || value === undefined) return [];
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return [[key, value]];
    return [[key, JSON.stringify(value)]];
  });
}

/** What the spans of one process have in common. */
export function resourceAttributes(span: SpanRow): Attributes {
  return present([
    ['service.name', span.service_name ?? 'unknown_service'],
    ['host.name', span.node],
    ['process.pid', span.pid],
    ['tracehouse.process_id', span.process_id],
  ]);
}

/** The host that the request names, without its port. */
const hostName = (host: unknown): string | null => (typeof host === 'string' ? (/^([^:]+)(?::\d+)?$/.exec(host)?.[1] ?? null) : null);

/** Low cardinality, as the convention wants it: the status, or what ended the exchange. */
function errorType(span: SpanRow, details: Readonly<Record<string, unknown>>): string | null {
  if (span.status !== 'error') return null;
  const { http_response_status_code: status } = span;
  if (status !== null && status >= 400) return String(status);
  const { errno, end_reason } = details;
  return typeof errno === 'number' && errno !== 0 ? `errno ${errno}` : typeof end_reason === 'string' ? end_reason : '_OTHER';
}

/** Shown under a name of the conventions already. */
const CONVENTIONAL = new Set(['network_protocol_version']);

/** Sizes are of whole messages, so they are not http.*.body.size. */
export function spanAttributes(span: SpanRow): Attributes {
  const details = attributesOf(span);
  const is_server = span.kind === 'server';
  const own = Object.entries(details).filter(([key]) => !CONVENTIONAL.has(key));
  return present([
    ['http.request.method', span.http_request_method],
    ['http.response.status_code', span.http_response_status_code],
    ['http.route', is_server ? span.url_template : null],
    ['url.template', is_server ? null : span.url_template],
    ['url.path', span.url_path],
    ['error.type', errorType(span, details)],
    ['network.protocol.name', span.network_protocol_name],
    ['network.protocol.version', details['network_protocol_version']],
    ['network.peer.address', is_server ? span.client_address : span.server_address],
    ['network.peer.port', is_server ? span.client_port : span.server_port],
    ['server.address', hostName(details['host']) ?? span.server_address],
    ['server.port', span.server_port],
    ['client.address', span.client_address],
    ['client.port', span.client_port],
    ['thread.id', span.tid],
    ['thread.name', span.comm],
    ['tracehouse.bytes_in', span.bytes_in],
    ['tracehouse.bytes_out', span.bytes_out],
    ['tracehouse.socket_id', span.socket_id],
    ['tracehouse.thread_id', span.thread_id],
    ['tracehouse.parent.evidence', span.parent_evidence],
    ['tracehouse.parent.confidence', span.parent_confidence],
    ['tracehouse.rule_version', span.rule_version],
    ['tracehouse.complete', span.complete],
    ...own.map(([key, value]) => [key.includes('.') ? key : `tracehouse.${key}`, value] as const),
  ]);
}

/** Spans of the same process, in the order in which the processes appear. */
export function byProcess(spans: readonly SpanRow[]): SpanRow[][] {
  const groups = new Map<string, SpanRow[]>();
  for (const span of spans) {
    const key = JSON.stringify([span.node, String(span.process_id), span.service_name]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [span]);
    else group.push(span);
  }
  return [...groups.values()];
}
