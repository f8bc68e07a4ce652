// What is there to say of traces in a list of them? Computed where the spans are: however many a trace has, none leaves the database.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import { viewOfTraces } from './indexed-views.ts';

export interface ServiceOfTrace {
  readonly trace_id: string;
  readonly service_name: string | null;
  readonly spans: bigint;
  readonly errors: bigint;
  /** Whose parent is not in the trace. */
  readonly orphans: bigint;
  readonly start_ns: bigint;
  readonly end_ns: bigint;
  /** Null: the trace does not begin in this service. */
  readonly root_start_ns: bigint | null;
  readonly root_name: string | null;
}

/** A row for each service of each trace: traces in the order of the ids that findTraceIds gives, their services by name. */
export async function servicesOfTraces(db: Kysely<Database>, warehouse: Warehouse, ids: readonly string[]): Promise<ServiceOfTrace[]> {
  if (ids.length === 0) return [];
  const { rows } = await sql<ServiceOfTrace>`
    WITH found AS (
      SELECT trace_id, span_id, parent_span_id, service_name, span_name, status, start_ns, end_ns FROM ${viewOfTraces(warehouse, 'spans', ids)} AS s WHERE trace_id IN (SELECT unnest(${sql.val(ids)}))
    )
    SELECT f.trace_id, f.service_name, count(*) AS spans, count(*) FILTER (f.status = 'error') AS errors,
      count(*) FILTER (f.parent_span_id IS NOT NULL AND p.span_id IS NULL) AS orphans, min(f.start_ns) AS start_ns, max(f.end_ns) AS end_ns,
      min(f.start_ns) FILTER (f.parent_span_id IS NULL) AS root_start_ns, arg_min(f.span_name, f.start_ns) FILTER (f.parent_span_id IS NULL) AS root_name
    FROM found AS f LEFT JOIN found AS p ON p.trace_id = f.trace_id AND p.span_id = f.parent_span_id
    GROUP BY f.trace_id, f.service_name ORDER BY f.trace_id DESC, f.service_name`.execute(db);
  return rows;
}
