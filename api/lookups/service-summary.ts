// Which services and operations are there, how busy, how slow, how often wrong? Counted at the server's end; a service
// that only calls others is there with its calls.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Database } from '../database.ts';
import type { SearchRange } from '../search-range.ts';

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

const spansIn = (db: Kysely<Database>, range: SearchRange) =>
  db.selectFrom('spans').where('start_ns', '>=', range.start_ns).where('start_ns', '<', range.end_ns);

export async function listServices(db: Kysely<Database>, range: SearchRange): Promise<ServiceRow[]> {
  return spansIn(db, range)
    .select([
      sql<string>`coalesce(service_name, 'unknown')`.as('service_name'),
      sql<bigint>`count(*) FILTER (WHERE kind = 'server')`.as('request_count'),
      sql<bigint>`count(*) FILTER (WHERE kind = 'client')`.as('call_count'),
      sql<bigint>`count(*) FILTER (WHERE kind = 'server' AND status = 'error')`.as('error_count'),
      sql<bigint>`count(DISTINCT span_name) FILTER (WHERE kind = 'server')`.as('operation_count'),
      sql<bigint>`min(start_ns)`.as('first_ns'),
      sql<bigint>`max(start_ns)`.as('last_ns'),
    ])
    .groupBy(sql`1`)
    .orderBy('service_name')
    .execute();
}

export async function listOperations(db: Kysely<Database>, range: SearchRange, filters: { service?: string | undefined; kind?: string | undefined }, limit: number): Promise<OperationRow[]> {
  let query = spansIn(db, range);
  if (filters.service !== undefined) query = query.where(sql<boolean>`coalesce(service_name, 'unknown') = ${filters.service}`);
  if (filters.kind !== undefined) query = query.where('kind', '=', filters.kind);
  return query
    .select([
      sql<string>`coalesce(service_name, 'unknown')`.as('service_name'),
      'span_name',
      'kind',
      sql<bigint>`count(*)`.as('span_count'),
      sql<bigint>`count(*) FILTER (WHERE status = 'error')`.as('error_count'),
      sql<number>`quantile_cont(duration_ns, 0.50)`.as('p50_ns'),
      sql<number>`quantile_cont(duration_ns, 0.95)`.as('p95_ns'),
      sql<number>`quantile_cont(duration_ns, 0.99)`.as('p99_ns'),
    ])
    .groupBy(sql`1, 2, 3`)
    .orderBy('service_name')
    .orderBy('span_name')
    .orderBy('kind')
    .limit(limit)
    .execute();
}
