// Which services and operations are there, how busy, how slow, how often wrong? Counted at the server's end; a service
// that only calls others is there with its calls.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import type { SearchRange } from '../search-range.ts';
import { between, viewWhere } from './indexed-views.ts';
import { percentiles } from './percentiles.ts';

export interface ServiceRow {
  readonly service_name: string;
  readonly request_count: bigint;
  readonly call_count: bigint;
  readonly error_count: bigint;
  readonly operation_count: bigint;
  readonly first_ns: bigint;
  readonly last_ns: bigint;
}

export interface OperationRow {
  readonly service_name: string;
  readonly span_name: string | null;
  readonly kind: string;
  readonly span_count: bigint;
  readonly error_count: bigint;
  readonly p50_ns: number;
  readonly p95_ns: number;
  readonly p99_ns: number;
}

const SERVICE = sql<string>`coalesce(service_name, 'unknown')`;

const spansIn = (db: Kysely<Database>, warehouse: Warehouse, range: SearchRange) =>
  db.selectFrom(viewWhere(warehouse, 'spans', 'span_start', [between(range)], sql<boolean>`start_ns >= ${range.start_ns} AND start_ns < ${range.end_ns}`).as('spans'));

/** By name, after the last one that is known. */
export async function listServices(db: Kysely<Database>, warehouse: Warehouse, range: SearchRange, limit: number, after?: string): Promise<ServiceRow[]> {
  let query = spansIn(db, warehouse, range);
  if (after !== undefined) query = query.where(sql<boolean>`${SERVICE} > ${after}`);
  return query
    .select([
      SERVICE.as('service_name'),
      sql<bigint>`count(*) FILTER (WHERE kind = 'server')`.as('request_count'),
      sql<bigint>`count(*) FILTER (WHERE kind = 'client')`.as('call_count'),
      sql<bigint>`count(*) FILTER (WHERE kind = 'server' AND status = 'error')`.as('error_count'),
      sql<bigint>`count(DISTINCT span_name) FILTER (WHERE kind = 'server')`.as('operation_count'),
      sql<bigint>`min(start_ns)`.as('first_ns'),
      sql<bigint>`max(start_ns)`.as('last_ns'),
    ])
    .groupBy(sql`1`)
    .orderBy('service_name')
    .limit(limit)
    .execute();
}

export interface OperationKey {
  readonly service_name: string;
  readonly span_name: string;
  readonly kind: string;
}

/** By service, name and kind, after the last one that is known. */
export async function listOperations(db: Kysely<Database>, warehouse: Warehouse, range: SearchRange, filters: { service?: string | undefined; kind?: string | undefined }, limit: number, after?: OperationKey): Promise<OperationRow[]> {
  let query = spansIn(db, warehouse, range);
  if (after !== undefined) query = query.where(sql<boolean>`(${SERVICE}, span_name, kind) > (${after.service_name}, ${after.span_name}, ${after.kind})`);
  if (filters.service !== undefined) query = query.where(sql<boolean>`${SERVICE} = ${filters.service}`);
  if (filters.kind !== undefined) query = query.where('kind', '=', filters.kind);
  return query
    .select([
      SERVICE.as('service_name'),
      'span_name',
      'kind',
      sql<bigint>`count(*)`.as('span_count'),
      sql<bigint>`count(*) FILTER (WHERE status = 'error')`.as('error_count'),
      ...percentiles(sql`duration_ns`),
    ])
    .groupBy(sql`1, 2, 3`)
    .orderBy('service_name')
    .orderBy('span_name')
    .orderBy('kind')
    .limit(limit)
    .execute();
}
