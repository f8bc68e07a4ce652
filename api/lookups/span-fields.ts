// What other tools call an attribute -> how it is read from the view spans.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';

export type FieldType = 'text' | 'integer' | 'number' | 'boolean';
export type FieldScope = 'resource' | 'span';

export interface SpanField {
  readonly type: FieldType;
  readonly value: RawBuilder<unknown>;
}

type Definition = readonly [FieldScope, FieldType, string];

const detail = (name: string): string => `json_extract_string(attributes, '$.${name}')`;

/** Those that are offered to choose from; older conventions are understood besides. */
const FIELDS = {
  'service.name': ['resource', 'text', "coalesce(service_name, 'unknown_service')"],
  'host.name': ['resource', 'text', 'node'],
  'process.pid': ['resource', 'integer', 'pid'],
  'http.request.method': ['span', 'text', 'http_request_method'],
  'http.response.status_code': ['span', 'integer', 'http_response_status_code'],
  'http.route': ['span', 'text', "CASE WHEN kind = 'server' THEN url_template END"],
  'url.template': ['span', 'text', "CASE WHEN kind = 'client' THEN url_template END"],
  'url.path': ['span', 'text', 'url_path'],
  'network.protocol.name': ['span', 'text', 'network_protocol_name'],
  'network.protocol.version': ['span', 'text', detail('network_protocol_version')],
  'network.peer.address': ['span', 'text', "CASE WHEN kind = 'server' THEN client_address ELSE server_address END"],
  'network.peer.port': ['span', 'integer', "CASE WHEN kind = 'server' THEN client_port ELSE server_port END"],
  'server.address': ['span', 'text', `coalesce(regexp_extract(${detail('host')}, '^([^:]+)(:[0-9]+)?$', 1), server_address)`],
  'server.port': ['span', 'integer', 'server_port'],
  'client.address': ['span', 'text', 'client_address'],
  'client.port': ['span', 'integer', 'client_port'],
  'thread.id': ['span', 'integer', 'tid'],
  'thread.name': ['span', 'text', 'comm'],
  'tracehouse.parent.evidence': ['span', 'text', 'parent_evidence'],
  'tracehouse.parent.confidence': ['span', 'number', 'parent_confidence'],
  'tracehouse.complete': ['span', 'boolean', 'complete'],
} as const satisfies Record<string, Definition>;

const UNDERSTOOD: Readonly<Record<string, Definition>> = {
  ...FIELDS,
  'tracehouse.process_id': ['resource', 'integer', 'process_id'],
  'tracehouse.thread_id': ['span', 'integer', 'thread_id'],
  'tracehouse.socket_id': ['span', 'integer', 'socket_id'],
  'tracehouse.bytes_in': ['span', 'integer', 'bytes_in'],
  'tracehouse.bytes_out': ['span', 'integer', 'bytes_out'],
  'tracehouse.rule_version': ['span', 'integer', 'rule_version'],
  'http.method': FIELDS['http.request.method'],
  'http.status_code': FIELDS['http.response.status_code'],
  'http.target': FIELDS['url.path'],
  'peer.service': ['span', 'text', 'NULL'],
  'span.kind': ['span', 'text', 'kind'],
  error: ['span', 'boolean', "status = 'error'"],
  'otel.status_code': ['span', 'text', "CASE status WHEN 'error' THEN 'ERROR' WHEN 'ok' THEN 'OK' END"],
};

export const fieldNames = (scope: FieldScope): string[] => Object.entries(FIELDS).filter(([, [of]]) => of === scope).map(([name]) => name);

/** Undefined: it belongs to the other scope. What is not known is looked for among the attributes that have no column. */
export function spanField(name: string, scope?: FieldScope): SpanField | undefined {
  const known = Object.hasOwn(UNDERSTOOD, name) ? UNDERSTOOD[name] : undefined;
  if (known !== undefined) return scope !== undefined && known[0] !== scope ? undefined : { type: known[1], value: sql.raw(known[2]) };
  if (scope === 'resource') return undefined;
  const own = name.startsWith('tracehouse.') ? name.slice('tracehouse.'.length) : name;
  return { type: 'text', value: own === '' || /["\\]/.test(own) ? sql.raw('NULL') : sql`json_extract_string(attributes, ${`$."${own}"`})` };
}

export const asText = (value: RawBuilder<unknown>): RawBuilder<string> => sql<string>`CAST(${value} AS VARCHAR)`;

/** A span has this attribute with this value, both as text. */
export function hasTag(key: string, text: string): RawBuilder<boolean> {
  const field = spanField(key);
  return field === undefined ? sql<boolean>`FALSE` : sql<boolean>`${asText(field.value)} = ${text}`;
}

/** Services without a name go by OpenTelemetry's. */
export const ofService = (name: string): RawBuilder<boolean> => (name === 'unknown_service' ? sql<boolean>`(service_name IS NULL OR service_name = ${name})` : sql<boolean>`service_name = ${name}`);
