// Which traces match? First their ids, from the few columns that decide; then what is shown, of one page of ids.
import { sql } from 'kysely';
import type { Kysely, RawBuilder } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database, TracesTable } from '../database.ts';
import type { SearchRange } from '../search-range.ts';
import { between, startOf, viewOfTraces, viewWhere } from './indexed-views.ts';

export const TRACE_ORDERS = ['-start_time', 'start_time', '-duration', 'duration'] as const;
export type TraceOrder = (typeof TRACE_ORDERS)[number];

export const DURATIONS_OF = ['trace', 'span'] as const;
export type DurationOf = (typeof DURATIONS_OF)[number];

export interface TraceFilters {
  /** Any span of the trace is of this service; together with operation, the same span. */
  readonly service?: string | undefined;
  readonly operation?: string | undefined;
  /** trace: of the whole one. span: of the very span that service and operation speak of. */
  readonly duration_of?: DurationOf | undefined;
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
  readonly after?: { readonly duration_ns: bigint; readonly trace_id: string } | undefined;
}

export type TraceRow = TracesTable;

const SECOND_NS = 1_000_000_000n;
/** Newest first: most questions are answered by little. */
const WINDOWS_NS = [10n * SECOND_NS, 600n * SECOND_NS, 28_800n * SECOND_NS];

export const TRACE_COLUMNS = ['trace_id', 'root_service', 'root_name', 'start_ns', 'duration_ns', 'span_count', 'error_count', 'services', 'complete'] as const satisfies readonly (keyof TracesTable)[];

/** As the view traces has it: from the start of the root, which stands in the id, whatever a span's clock says. */
const DURATION = sql<bigint>`max(end_ns) - CAST('0x' || left(trace_id, 16) AS BIGINT)`;

/** About one span of the trace; null: nothing is asked of it. */
function spanCondition({ service, operation, duration_of, min_duration_ns, max_duration_ns }: TraceFilters): RawBuilder<boolean> | null {
  const all: RawBuilder<boolean>[] = [];
  if (service !== undefined) all.push(sql`service_name = ${service}`);
  if (operation !== undefined) all.push(sql`span_name = ${operation}`);
  if (duration_of === 'span' && min_duration_ns !== undefined) all.push(sql`duration_ns >= ${min_duration_ns}`);
  if (duration_of === 'span' && max_duration_ns !== undefined) all.push(sql`duration_ns <= ${max_duration_ns}`);
  return all.length === 0 ? null : sql`bool_or(${sql.join(all, sql` AND `)})`;
}

function conditions({ filters, order, after }: TraceSearch): RawBuilder<boolean>[] {
  const { duration_of, min_duration_ns, max_duration_ns, error } = filters;
  const all: RawBuilder<boolean>[] = [];
  const of_span = spanCondition(filters);
  if (of_span !== null) all.push(of_span);
  if (duration_of !== 'span' && min_duration_ns !== undefined) all.push(sql`${DURATION} >= ${min_duration_ns}`);
  if (duration_of !== 'span' && max_duration_ns !== undefined) all.push(sql`${DURATION} <= ${max_duration_ns}`);
  if (error !== undefined) all.push(sql`bool_or(status = 'error') = ${error}`);
  if (after !== undefined && order === '-duration') all.push(sql`(${DURATION} < ${after.duration_ns} OR (${DURATION} = ${after.duration_ns} AND trace_id < ${after.trace_id}))`);
  if (after !== undefined && order === 'duration') all.push(sql`(${DURATION} > ${after.duration_ns} OR (${DURATION} = ${after.duration_ns} AND trace_id > ${after.trace_id}))`);
  return all;
}

/** In a total order, so that pages neither repeat nor skip: (start, rest of the id) or (duration, id). */
async function matchingIds(db: Kysely<Database>, warehouse: Warehouse, window: SearchRange, search: TraceSearch): Promise<string[]> {
  const { order, after, limit } = search;
  const direction = order.startsWith('-') ? 'desc' : 'asc';
  const spans = viewWhere(warehouse, 'spans', 'trace_start', [between(window)], sql<boolean>`trace_hi >= ${window.start_ns} AND trace_hi < ${window.end_ns}`);
  let query = db.selectFrom(spans.as('spans')).select('trace_id').groupBy('trace_id');
  if (after !== undefined && order === '-start_time') query = query.where('trace_id', '<', after.trace_id);
  if (after !== undefined && order === 'start_time') query = query.where('trace_id', '>', after.trace_id);
  for (const condition of conditions(search)) query = query.having(condition);
  const ordered = order.endsWith('duration') ? query.orderBy(DURATION, direction) : query;
  const rows = await ordered.orderBy('trace_id', direction).limit(limit).execute();
  return rows.map(({ trace_id }) => trace_id);
}

async function newestIds(db: Kysely<Database>, warehouse: Warehouse, search: TraceSearch): Promise<string[]> {
  const { range, after, limit } = search;
  const end_ns = after === undefined ? range.end_ns : startOf(after.trace_id) + 1n;
  for (const window_ns of WINDOWS_NS) {
    const start_ns = end_ns - window_ns;
    if (start_ns <= range.start_ns) break;
    const ids = await matchingIds(db, warehouse, { start_ns, end_ns }, search);
    if (ids.length >= limit) return ids;
  }
  return matchingIds(db, warehouse, { start_ns: range.start_ns, end_ns }, search);
}

export async function tracesWithIds(db: Kysely<Database>, warehouse: Warehouse, ids: readonly string[]): Promise<TraceRow[]> {
  return db.selectFrom(viewOfTraces(warehouse, 'traces', ids).as('traces')).select(TRACE_COLUMNS).where('trace_id', 'in', ids).execute();
}

export async function searchTraces(db: Kysely<Database>, warehouse: Warehouse, search: TraceSearch): Promise<TraceRow[]> {
  const ids = search.order === '-start_time' ? await newestIds(db, warehouse, search) : await matchingIds(db, warehouse, search.range, search);
  if (ids.length === 0) return [];
  const rows = await tracesWithIds(db, warehouse, ids);
  const by_id = new Map(rows.map((row) => [row.trace_id, row]));
  return ids.flatMap((id) => by_id.get(id) ?? []);
}
