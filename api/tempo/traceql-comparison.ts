// field operator value -> SQL over the view spans.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import { ClientError } from '../client-error.ts';
import { asText, spanField } from '../lookups/span-fields.ts';
import type { FieldScope, FieldType } from '../lookups/span-fields.ts';
import { goDuration } from '../query-text.ts';
import type { SearchRange } from '../search-range.ts';
import { unquoted } from './traceql-tokens.ts';
import type { Token } from './traceql-tokens.ts';

export type SpanCondition = (range: SearchRange) => RawBuilder<boolean>;

type IntrinsicType = FieldType | 'duration' | 'keyword';
interface Intrinsic {
  readonly type: IntrinsicType;
  readonly of: 'span' | 'trace';
  readonly column: string;
}

const intrinsic = (of: 'span' | 'trace', type: IntrinsicType, column: string): Intrinsic => ({ of, type, column });

export const INTRINSICS: Readonly<Record<string, Intrinsic>> = {
  name: intrinsic('span', 'text', 'span_name'),
  duration: intrinsic('span', 'duration', 'duration_ns'),
  status: intrinsic('span', 'keyword', 'status'),
  kind: intrinsic('span', 'keyword', 'kind'),
  'span:name': intrinsic('span', 'text', 'span_name'),
  'span:duration': intrinsic('span', 'duration', 'duration_ns'),
  'span:status': intrinsic('span', 'keyword', 'status'),
  'span:kind': intrinsic('span', 'keyword', 'kind'),
  'span:id': intrinsic('span', 'text', 'span_id'),
  'trace:id': intrinsic('span', 'text', 'trace_id'),
  traceDuration: intrinsic('trace', 'duration', 'duration_ns'),
  'trace:duration': intrinsic('trace', 'duration', 'duration_ns'),
  rootName: intrinsic('trace', 'text', 'root_name'),
  'trace:rootName': intrinsic('trace', 'text', 'root_name'),
  rootServiceName: intrinsic('trace', 'text', 'root_service'),
  'trace:rootService': intrinsic('trace', 'text', 'root_service'),
};

/** A trace may have begun so long before the span that is looked for. */
const LONGEST_TRACE_NS = 3_600_000_000_000n;

const SQL_OPERATORS: Readonly<Record<string, RawBuilder<unknown>>> = { '=': sql`=`, '!=': sql`<>`, '>': sql`>`, '>=': sql`>=`, '<': sql`<`, '<=': sql`<=` };

function refuse(message: string): never {
  throw new ClientError(400, `invalid TraceQL query: ${message}`);
}

function valueOf(token: Token): string | number | bigint | boolean | null {
  if (token.kind === 'text') return unquoted(token.text);
  if (token.kind === 'number') return Number(token.text);
  if (token.kind === 'duration') return goDuration(token.text) ?? refuse(`${token.text} is no duration`);
  if (token.text === 'nil') return null;
  return token.text === 'true' ? true : token.text === 'false' ? false : token.text;
}

function compared(column: RawBuilder<unknown>, type: IntrinsicType, field: string, operator: string, token: Token): RawBuilder<boolean> {
  const value = valueOf(token);
  if (value === null) return operator === '=' ? sql<boolean>`${column} IS NULL` : operator === '!=' ? sql<boolean>`${column} IS NOT NULL` : refuse(`nil is compared with = and != only`);
  if (operator.endsWith('~')) {
    if (token.kind !== 'text') refuse(`${field} ${operator} takes a text`);
    const matches = sql<boolean>`regexp_full_match(${asText(column)}, ${String(value)})`;
    return operator === '=~' ? matches : sql<boolean>`NOT ${matches}`;
  }
  const by = SQL_OPERATORS[operator] as RawBuilder<unknown>;
  if (type === 'duration') return token.kind === 'duration' ? sql<boolean>`${column} ${by} ${value}` : refuse(`${field} is compared with a duration, such as 10ms`);
  if (type === 'keyword') return token.kind === 'field' || token.kind === 'text' ? sql<boolean>`${column} ${by} ${String(value)}` : refuse(`${field} is compared with a word, such as error or server`);
  if (typeof value === 'number') return sql<boolean>`try_cast(${column} AS DOUBLE) ${by} CAST(${value} AS DOUBLE)`;
  if (token.kind === 'field' && typeof value !== 'boolean') refuse(`${field} ${operator} takes a text, a number, a duration, true, false or nil`);
  return sql<boolean>`${asText(column)} ${by} ${String(value)}`;
}

const SCOPES: Readonly<Record<string, FieldScope | undefined>> = { span: 'span', resource: 'resource', '': undefined };

/** 'span."a b".c' -> scope and 'a b.c' */
export function attributeName(field: string): { scope: FieldScope | undefined; name: string } {
  const dot = field.indexOf('.');
  const scope = field.slice(0, dot);
  if (dot < 0 || !Object.hasOwn(SCOPES, scope)) refuse(`there is no field ${field}: attributes begin with span. , resource. or a dot`);
  const name = field.slice(dot + 1).replaceAll(/"((?:[^"\\]|\\.)*)"/g, (_, inner: string) => unquoted(`"${inner}"`));
  return { scope: SCOPES[scope], name };
}

export function comparison(field: string, operator: string, value: Token): SpanCondition {
  const own = Object.hasOwn(INTRINSICS, field) ? INTRINSICS[field] : undefined;
  if (own !== undefined) {
    const condition = compared(sql.raw(own.column), own.type, field, operator, value);
    if (own.of === 'span') return () => condition;
    return ({ start_ns, end_ns }) => {
      const low = start_ns > LONGEST_TRACE_NS ? start_ns - LONGEST_TRACE_NS : 0n;
      return sql<boolean>`trace_id IN (SELECT trace_id FROM traces WHERE start_ns >= ${low} AND start_ns < ${end_ns} AND ${condition})`;
    };
  }
  const { scope, name } = attributeName(field);
  const found = spanField(name, scope);
  const condition = found === undefined ? sql<boolean>`FALSE` : compared(found.value, found.type, field, operator, value);
  return () => condition;
}
