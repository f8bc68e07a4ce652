// Who calls whom, how often, how slow, how often wrong? A call is a client span; whom it reached is the server span at
// the connection's other end, or, where that end was not traced, an address.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import type { SearchRange } from '../search-range.ts';
import { between, since, viewWhere } from './indexed-views.ts';
import { percentiles } from './percentiles.ts';

const CLOCKS_APART_NS = 60_000_000_000n;

interface Measures {
  readonly count: bigint;
  readonly error_count: bigint;
  readonly p50_ns: number;
  readonly p95_ns: number;
  readonly p99_ns: number;
}

export interface NodeRow extends Measures {
  readonly name: string;
}

export interface EdgeRow extends Measures {
  readonly client: string;
  readonly server: string;
  readonly server_traced: boolean;
}

const MEASURES = [
  sql<bigint>`count(*)`.as('count'),
  sql<bigint>`count(*) FILTER (WHERE c.status = 'error')`.as('error_count'),
  ...percentiles(sql`c.duration_ns`),
] as const;

const startedIn = (warehouse: Warehouse, range: SearchRange) => viewWhere(warehouse, 'spans', 'span_start', [between(range)], sql<boolean>`start_ns >= ${range.start_ns} AND start_ns < ${range.end_ns}`);

/** Services, measured by the requests that they answered. */
export async function graphNodes(db: Kysely<Database>, warehouse: Warehouse, range: SearchRange, limit: number): Promise<NodeRow[]> {
  return db
    .selectFrom(startedIn(warehouse, range).as('c'))
    .where('c.kind', '=', 'server')
    .select(sql<string>`coalesce(c.service_name, 'unknown')`.as('name'))
    .select(MEASURES)
    .groupBy(sql`1`)
    .orderBy('name')
    .limit(limit)
    .execute();
}

/** Measured where the call was made. */
export async function graphEdges(db: Kysely<Database>, warehouse: Warehouse, range: SearchRange, limit: number): Promise<EdgeRow[]> {
  // Nothing is served before it is asked for, but the two ends' clocks may differ.
  const served_since = range.start_ns > CLOCKS_APART_NS ? range.start_ns - CLOCKS_APART_NS : 0n;
  return db
    .selectFrom(startedIn(warehouse, range).as('c'))
    .leftJoin(viewWhere(warehouse, 'spans', 'span_start', [since(served_since)], sql<boolean>`start_ns >= ${served_since} AND is_server`).as('s'), (join) => join.onRef('s.parent_span_id', '=', 'c.span_id'))
    .where('c.kind', '=', 'client')
    .select([
      sql<string>`coalesce(c.service_name, 'unknown')`.as('client'),
      sql<string>`CASE WHEN s.span_id IS NOT NULL THEN coalesce(s.service_name, 'unknown') ELSE concat_ws(':', coalesce(c.server_address, 'unknown'), c.server_port) END`.as('server'),
      sql<boolean>`s.span_id IS NOT NULL`.as('server_traced'),
    ])
    .select(MEASURES)
    .groupBy(sql`1, 2, 3`)
    .orderBy('client')
    .orderBy('server')
    .orderBy('server_traced')
    .limit(limit)
    .execute();
}
