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

/** Sizes are of whole messages, so they are not http.*.body.size. */
export function spanAttributes(span: SpanRow): Attributes {
  return present([
    ['http.request.method', span.http_request_method],
    ['http.response.status_code', span.http_response_status_code],
    ['http.route', span.kind === 'server' ? span.url_template : null],
    ['url.template', span.kind === 'client' ? span.url_template : null],
    ['url.path', span.url_path],
    ['network.protocol.name', span.network_protocol_name],
    ['server.address', span.server_address],
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
    ...Object.entries(attributesOf(span)).map(([key, value]) => [key.includes('.') ? key : `tracehouse.${key}`, value] as const),
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
