// Which attributes are there to search by, and which values do they have?
import { sql } from 'kysely';
import type { Kysely, RawBuilder } from 'kysely';
import { ClientError } from '../client-error.ts';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import { spansBeginning } from '../lookups/indexed-views.ts';
import type { SpanMatch } from '../lookups/matching-traces.ts';
import { asText, fieldNames, spanField } from '../lookups/span-fields.ts';
import { INTRINSICS, attributeName } from './traceql-comparison.ts';

const SCOPES = {
  resource: () => fieldNames('resource'),
  span: () => fieldNames('span'),
  intrinsic: () => Object.keys(INTRINSICS).filter((name) => !name.endsWith(':id')).toSorted(),
} as const satisfies Record<string, () => string[]>;

/** Error: 400 for a scope that does not exist; those of Tempo that we have nothing in are empty. */
export function listTags(scope: string | undefined): { name: string; tags: string[] }[] {
  if (scope === undefined || scope === 'none' || scope === '') return Object.entries(SCOPES).map(([name, tags]) => ({ name, tags: tags() }));
  if (Object.hasOwn(SCOPES, scope)) return [{ name: scope, tags: SCOPES[scope as keyof typeof SCOPES]() }];
  if (['event', 'link', 'instrumentation'].includes(scope)) return [{ name: scope, tags: [] }];
  throw new ClientError(400, `unknown scope: ${scope}`);
}

async function valuesOf(db: Kysely<Database>, warehouse: Warehouse, value: RawBuilder<unknown>, { range, conditions, limit }: SpanMatch): Promise<string[]> {
  let query = db.selectFrom(spansBeginning(warehouse, range).as('spans')).select(asText(value).as('value')).distinct().where(sql<boolean>`${value} IS NOT NULL`);
  for (const condition of conditions) query = query.where(condition);
  return (await query.orderBy('value').limit(limit).execute()).map((row) => row.value);
}

/** Grafana encodes a name twice. */
function decoded(tag: string): string {
  try {
    return decodeURIComponent(tag);
  } catch {
    return tag;
  }
}

export async function tagValues(db: Kysely<Database>, warehouse: Warehouse, tag: string, match: SpanMatch): Promise<string[]> {
  const name = decoded(tag);
  const own = Object.hasOwn(INTRINSICS, name) ? INTRINSICS[name] : undefined;
  if (own !== undefined) return own.of === 'span' && own.type !== 'duration' && !name.endsWith(':id') ? valuesOf(db, warehouse, sql.raw(own.column), match) : [];
  const field = spanField(name);
  return field === undefined ? [] : valuesOf(db, warehouse, field.value, match);
}

const TYPES = { text: 'string', integer: 'int', number: 'float', boolean: 'bool' } as const;

/** Names as in TraceQL: with a scope, with a dot, or an intrinsic. */
export async function tagValuesV2(db: Kysely<Database>, warehouse: Warehouse, tag: string, match: SpanMatch): Promise<{ type: string; value: string }[]> {
  const name = decoded(tag);
  const own = Object.hasOwn(INTRINSICS, name) ? INTRINSICS[name] : undefined;
  if (own !== undefined) return (await tagValues(db, warehouse, name, match)).map((value) => ({ type: own.type === 'keyword' ? 'keyword' : 'string', value }));
  const attribute = /^(?:span|resource)?\./.test(name) ? attributeName(name) : { scope: undefined, name };
  const field = spanField(attribute.name, attribute.scope);
  if (field === undefined) return [];
  return (await valuesOf(db, warehouse, field.value, match)).map((value) => ({ type: TYPES[field.type], value }));
}
