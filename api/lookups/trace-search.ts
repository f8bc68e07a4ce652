// Which traces match? Filters on the trace; a service or an operation matches when any span of the trace has it.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Database, TracesTable } from '../database.ts';
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

export interface TraceSearch {
  readonly range: SearchRange;
  readonly filters: TraceFilters;
  readonly order: TraceOrder;
  readonly limit: number;
  /** Last row of the page before. */
  readonly after?: { readonly key: bigint; readonly trace_id: string } | undefined;
}

export type TraceRow = TracesTable;

/** A trace's id begins with the start of its root; by so much another node's clock may put a span before it. */
const CLOCKS_APART_NS = 60_000_000_000n;
const MINUTE_NS = 60_000_000_000n;
/** Newest first: most questions are answered by little, and a trace is a sum over its spans. */
const WINDOWS_NS = [2n * MINUTE_NS, 30n * MINUTE_NS, 480n * MINUTE_NS];

const hexTime = (ns: bigint): string => (ns < 0n ? 0n : ns).toString(16).padStart(16, '0');
const firstId = (range: SearchRange): string => hexTime(range.start_ns - CLOCKS_APART_NS);
const lastId = (range: SearchRange): string => `${hexTime(range.end_ns + CLOCKS_APART_NS)}${'f'.repeat(16)}`;

export function selectTraces(db: Kysely<Database>) {
  return db.selectFrom('traces').select(['trace_id', 'root_service', 'root_name', 'start_ns', 'duration_ns', 'span_count', 'error_count', 'services', 'complete']);
}

async function searchWindow(db: Kysely<Database>, window: SearchRange, { filters, order, limit, after }: TraceSearch): Promise<TraceRow[]> {
  const direction = order.startsWith('-') ? 'desc' : 'asc';
  const key = order.endsWith('start_time') ? 'start_ns' : 'duration_ns';
  // Bounds on trace_id reach the stored rows; those on sums over them do not.
  let query = selectTraces(db).where('trace_id', '>=', firstId(window)).where('trace_id', '<=', lastId(window)).where('start_ns', '>=', window.start_ns).where('start_ns', '<', window.end_ns);
  if (filters.min_duration_ns !== undefined) query = query.where('duration_ns', '>=', filters.min_duration_ns);
  if (filters.max_duration_ns !== undefined) query = query.where('duration_ns', '<=', filters.max_duration_ns);
  if (filters.error !== undefined) query = query.where('error_count', filters.error ? '>' : '=', 0n);
  if (filters.operation !== undefined) {
    let spans = db.selectFrom('spans').select('trace_id').where('span_name', '=', filters.operation).where('trace_id', '>=', firstId(window)).where('trace_id', '<=', lastId(window));
    if (filters.service !== undefined) spans = spans.where('service_name', '=', filters.service);
    query = query.where('trace_id', 'in', spans);
  } else if (filters.service !== undefined) {
    query = query.where(sql<boolean>`list_contains(services, ${filters.service})`);
  }
  if (after !== undefined) {
    const comparison = direction === 'desc' ? '<' : '>';
    query = query.where((where) => where.or([where(key, comparison, after.key), where.and([where(key, '=', after.key), where('trace_id', comparison, after.trace_id)])]));
  }
  return query.orderBy(key, direction).orderBy('trace_id', direction).limit(limit).execute();
}

/** In a total order, so that pages neither repeat nor skip: (start_time or duration, trace_id). */
export async function searchTraces(db: Kysely<Database>, search: TraceSearch): Promise<TraceRow[]> {
  const { range, order, limit, after } = search;
  if (order === '-start_time') {
    const end_ns = after === undefined ? range.end_ns : after.key + 1n;
    for (const window_ns of WINDOWS_NS) {
      const start_ns = end_ns - window_ns;
      if (start_ns <= range.start_ns) break;
      const rows = await searchWindow(db, { start_ns, end_ns }, search);
      if (rows.length >= limit) return rows;
    }
    return searchWindow(db, { start_ns: range.start_ns, end_ns }, search);
  }
  return searchWindow(db, range, search);
}
