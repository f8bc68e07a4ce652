// Which traces match? First their ids, from the few columns that decide; then what is shown, of one page of ids.
import { sql } from 'kysely';
import type { Kysely, RawBuilder } from 'kysely';
import type { Database, TracesTable } from '../database.ts';
import type { SearchRange } from '../search-range.ts';

export const TRACE_ORDERS = ['-start_time', 'start_time', '-duration', 'duration'] as const;
export type TraceOrder = (typeof TRACE_ORDERS)[number];

export interface TraceFilters {
  /** Any span of the trace is of this service; together with operation, the same span. */
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
  readonly after?: { readonly duration_ns: bigint; readonly trace_id: string } | undefined;
}

export type TraceRow = TracesTable;

const SECOND_NS = 1_000_000_000n;
/** Newest first: most questions are answered by little. */
const WINDOWS_NS = [10n * SECOND_NS, 600n * SECOND_NS, 28_800n * SECOND_NS];

const hexTime = (ns: bigint): string => ns.toString(16).padStart(16, '0');
/** The start of a trace stands in its id, so ids in text order are traces by start. */
const startOf = (trace_id: string): bigint => BigInt(`0x${trace_id.slice(0, 16)}`);

export function selectTraces(db: Kysely<Database>) {
  return db.selectFrom('traces').select(['trace_id', 'root_service', 'root_name', 'start_ns', 'duration_ns', 'span_count', 'error_count', 'services', 'complete']);
}

const DURATION = sql<bigint>`max(end_ns) - min(start_ns)`;

function conditions({ filters, order, after }: TraceSearch): RawBuilder<boolean>[] {
  const { service, operation, min_duration_ns, max_duration_ns, error } = filters;
  const all: RawBuilder<boolean>[] = [];
  if (service !== undefined && operation !== undefined) all.push(sql`bool_or(service_name = ${service} AND span_name = ${operation})`);
  else if (service !== undefined) all.push(sql`bool_or(service_name = ${service})`);
  else if (operation !== undefined) all.push(sql`bool_or(span_name = ${operation})`);
  if (min_duration_ns !== undefined) all.push(sql`${DURATION} >= ${min_duration_ns}`);
  if (max_duration_ns !== undefined) all.push(sql`${DURATION} <= ${max_duration_ns}`);
  if (error !== undefined) all.push(sql`bool_or(status = 'error') = ${error}`);
  if (after !== undefined && order === '-duration') all.push(sql`(${DURATION} < ${after.duration_ns} OR (${DURATION} = ${after.duration_ns} AND trace_id < ${after.trace_id}))`);
  if (after !== undefined && order === 'duration') all.push(sql`(${DURATION} > ${after.duration_ns} OR (${DURATION} = ${after.duration_ns} AND trace_id > ${after.trace_id}))`);
  return all;
}

/** In a total order, so that pages neither repeat nor skip: (start, rest of the id) or (duration, id). */
async function matchingIds(db: Kysely<Database>, window: SearchRange, search: TraceSearch): Promise<string[]> {
  const { order, after, limit } = search;
  const direction = order.startsWith('-') ? 'desc' : 'asc';
  let query = db.selectFrom('spans').select('trace_id').where('trace_id', '>=', hexTime(window.start_ns)).where('trace_id', '<', hexTime(window.end_ns)).groupBy('trace_id');
  if (after !== undefined && order === '-start_time') query = query.where('trace_id', '<', after.trace_id);
  if (after !== undefined && order === 'start_time') query = query.where('trace_id', '>', after.trace_id);
  for (const condition of conditions(search)) query = query.having(condition);
  const ordered = order.endsWith('duration') ? query.orderBy(DURATION, direction) : query;
  const rows = await ordered.orderBy('trace_id', direction).limit(limit).execute();
  return rows.map(({ trace_id }) => trace_id);
}

async function newestIds(db: Kysely<Database>, search: TraceSearch): Promise<string[]> {
  const { range, after, limit } = search;
  const end_ns = after === undefined ? range.end_ns : startOf(after.trace_id) + 1n;
  for (const window_ns of WINDOWS_NS) {
    const start_ns = end_ns - window_ns;
    if (start_ns <= range.start_ns) break;
    const ids = await matchingIds(db, { start_ns, end_ns }, search);
    if (ids.length >= limit) return ids;
  }
  return matchingIds(db, { start_ns: range.start_ns, end_ns }, search);
}

export async function searchTraces(db: Kysely<Database>, search: TraceSearch): Promise<TraceRow[]> {
  const ids = search.order === '-start_time' ? await newestIds(db, search) : await matchingIds(db, search.range, search);
  if (ids.length === 0) return [];
  const rows = await selectTraces(db).where('trace_id', 'in', ids).execute();
  const by_id = new Map(rows.map((row) => [row.trace_id, row]));
  return ids.flatMap((id) => by_id.get(id) ?? []);
}
