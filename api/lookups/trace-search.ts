// Which traces match? Filters on the trace; a service or an operation matches when any span of the trace has it.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { DuckDBListValue } from '@duckdb/node-api';
import type { Database } from '../database.ts';
import { epochNs, timestamp } from '../search-range.ts';
import type { SearchRange } from '../search-range.ts';

export const TRACE_ORDERS = ['-start_time', 'start_time', '-duration', 'duration'] as const;
export type TraceOrder = (typeof TRACE_ORDERS)[number];

export interface TraceFilters {
  readonly service?: string | undefined;
  readonly operation?: string | undefined;
  /** Of the whole trace. */
  readonly min_duration_ns?: bigint | undefined;
  readonly max_duration_ns?: bigint | undefined;
  readonly error?: boolean | undefined;
}

export interface TraceRow {
  readonly trace_id: string;
  readonly root_service: string | null;
  readonly root_name: string | null;
  readonly start_ns: bigint;
  readonly duration_ns: bigint;
  readonly span_count: bigint;
  readonly error_count: bigint;
  readonly services: DuckDBListValue;
  readonly complete: boolean;
}

export function selectTraces(db: Kysely<Database>) {
  return db
    .selectFrom('traces')
    .select(['trace_id', 'root_service', 'root_name', 'duration_ns', 'span_count', 'error_count', 'services', 'complete'])
    .select(epochNs('start_time').as('start_ns'));
}

/** In a total order, so that pages neither repeat nor skip: (start_time or duration, trace_id). */
export async function searchTraces(
  db: Kysely<Database>,
  search: { range: SearchRange; filters: TraceFilters; order: TraceOrder; limit: number; after?: { key: bigint; trace_id: string } | undefined },
): Promise<TraceRow[]> {
  const { range, filters, order, limit, after } = search;
  const direction = order.startsWith('-') ? 'desc' : 'asc';
  const by_time = order.endsWith('start_time');
  const key = by_time ? ('start_time' as const) : ('duration_ns' as const);
  let query = selectTraces(db)
    .where('start_time', '>=', timestamp(range.start_ns))
    .where('start_time', '<', timestamp(range.end_ns));
  if (filters.min_duration_ns !== undefined) query = query.where('duration_ns', '>=', filters.min_duration_ns);
  if (filters.max_duration_ns !== undefined) query = query.where('duration_ns', '<=', filters.max_duration_ns);
  if (filters.error !== undefined) query = query.where('error_count', filters.error ? '>' : '=', 0n);
  if (filters.operation !== undefined) {
    // A span starts no earlier than its trace.
    let spans = db.selectFrom('spans').select('trace_id').where('span_name', '=', filters.operation).where('start_time', '>=', timestamp(range.start_ns));
    if (filters.service !== undefined) spans = spans.where('service_name', '=', filters.service);
    query = query.where('trace_id', 'in', spans);
  } else if (filters.service !== undefined) {
    query = query.where(sql<boolean>`list_contains(services, ${filters.service})`);
  }
  if (after !== undefined) {
    const comparison = direction === 'desc' ? '<' : '>';
    const last = by_time ? timestamp(after.key) : sql<never>`${after.key}`;
    query = query.where((where) => where.or([where(key, comparison, last), where.and([where(key, '=', last), where('trace_id', comparison, after.trace_id)])]));
  }
  return query.orderBy(key, direction).orderBy('trace_id', direction).limit(limit).execute();
}
