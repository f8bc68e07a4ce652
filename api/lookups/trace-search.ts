// Which traces match? First their ids, from the few columns that decide; then what is shown, of one page of ids.
import { sql } from 'kysely';
import type { Kysely, RawBuilder } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database, TracesTable } from '../database.ts';
import type { SearchRange } from '../search-range.ts';
import { at, beganAt, between, spanColumns, startOf, viewOfTraces } from './indexed-views.ts';
import type { StoredTraceId } from './indexed-views.ts';
import { SUMMARY_COLUMNS, tracesOf } from './trace-summary.ts';
import type { SummarySpan } from './trace-summary.ts';

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
const DURATION = sql<bigint>`max(end_ns) - trace_hi`;

/** About one span of the trace; null: nothing is asked of it. */
function spanCondition({ service, operation, duration_of, min_duration_ns, max_duration_ns }: TraceFilters): RawBuilder<boolean> | null {
  const all: RawBuilder<boolean>[] = [];
  if (service !== undefined) all.push(sql`service_name = ${service}`);
  if (operation !== undefined) all.push(sql`span_name = ${operation}`);
  if (duration_of === 'span' && min_duration_ns !== undefined) all.push(sql`duration_ns >= ${min_duration_ns}`);
  if (duration_of === 'span' && max_duration_ns !== undefined) all.push(sql`duration_ns <= ${max_duration_ns}`);
  return all.length === 0 ? null : sql`bool_or(${sql.join(all, sql` AND `)})`;
}

/** Of a span: everything that conditions speak of. */
const CONDITION_COLUMNS = ['service_name', 'span_name', 'duration_ns', 'status', 'end_ns'] as const;

/** Of a page, in its order. */
const COMPARED = {
  '-start_time': { sign: sql`<`, by: null },
  start_time: { sign: sql`>`, by: null },
  '-duration': { sign: sql`<`, by: DURATION },
  duration: { sign: sql`>`, by: DURATION },
} as const satisfies Record<TraceOrder, unknown>;

/** In a total order, so that pages neither repeat nor skip: (start, rest of the id) or (duration, id). */
function beyond({ order, after }: TraceSearch): RawBuilder<boolean> | null {
  if (after === undefined) return null;
  const { sign, by } = COMPARED[order];
  const [hi, lo] = [startOf(after.trace_id), BigInt(`0x${after.trace_id.slice(16)}`)];
  const id = sql<boolean>`(trace_hi ${sign} ${hi} OR (trace_hi = ${hi} AND trace_lo ${sign} ${lo}))`;
  return by === null ? id : sql<boolean>`(${by} ${sign} ${after.duration_ns} OR (${by} = ${after.duration_ns} AND ${id}))`;
}

function conditions(search: TraceSearch): RawBuilder<boolean>[] {
  const { duration_of, min_duration_ns, max_duration_ns, error } = search.filters;
  const all: RawBuilder<boolean>[] = [];
  const of_span = spanCondition(search.filters);
  if (of_span !== null) all.push(of_span);
  if (duration_of !== 'span' && min_duration_ns !== undefined) all.push(sql`${DURATION} >= ${min_duration_ns}`);
  if (duration_of !== 'span' && max_duration_ns !== undefined) all.push(sql`${DURATION} <= ${max_duration_ns}`);
  if (error !== undefined) all.push(sql`bool_or(status = 'error') = ${error}`);
  const of_page = beyond(search);
  if (of_page !== null) all.push(of_page);
  return all;
}

/** Spans of a page are read as they are, while that is little. */
const MOST_ROWS = 10_000;

const rowsIn = (warehouse: Warehouse, window: SearchRange): { rows: string; in_window: RawBuilder<boolean> } => ({
  rows: warehouse.keptWhere('trace_start', [between(window)]),
  in_window: sql<boolean>`trace_hi >= ${window.start_ns} AND trace_hi < ${window.end_ns}`,
});

function idsOf(warehouse: Warehouse, window: SearchRange, search: TraceSearch): RawBuilder<StoredTraceId> {
  const { rows, in_window } = rowsIn(warehouse, window);
  const direction = sql.raw(search.order.startsWith('-') ? 'DESC' : 'ASC');
  const having = conditions(search);
  const by = COMPARED[search.order].by;
  return sql`
    SELECT trace_hi, trace_lo FROM ${spanColumns(warehouse, CONDITION_COLUMNS, rows, in_window)} GROUP BY trace_hi, trace_lo
    ${having.length === 0 ? sql`` : sql`HAVING ${sql.join(having, sql` AND `)}`}
    ORDER BY ${by === null ? sql`` : sql`${by} ${direction}, `}trace_hi ${direction}, trace_lo ${direction} LIMIT ${search.limit}`;
}

const idOf = ({ trace_hi, trace_lo }: StoredTraceId): string => trace_hi.toString(16).padStart(16, '0') + trace_lo.toString(16).padStart(16, '0');

/** As the search orders them. */
function inOrder(traces: readonly TraceRow[], order: TraceOrder): TraceRow[] {
  const sign = order.startsWith('-') ? -1 : 1;
  const compare = <T>(a: T, b: T): number => (a < b ? -sign : a > b ? sign : 0);
  return traces.toSorted((a, b) => (COMPARED[order].by === null ? 0 : compare(a.duration_ns, b.duration_ns)) || compare(a.trace_id, b.trace_id));
}

/** Beyond, and where a page's traces are not neighbours, to plan a second statement costs less than to unpack (docs/adr/0019) every span between them: a join does that, a list of starts goes to the scan. */
const SHORT_NS = 60n * SECOND_NS;

async function tracesIn(db: Kysely<Database>, warehouse: Warehouse, window: SearchRange, search: TraceSearch): Promise<TraceRow[]> {
  const ids = idsOf(warehouse, window, search);
  if (COMPARED[search.order].by === null && window.end_ns - window.start_ns <= SHORT_NS) {
    const { rows, in_window } = rowsIn(warehouse, window);
    const spans = spanColumns(warehouse, SUMMARY_COLUMNS, `(FROM ${rows} SEMI JOIN found USING (trace_hi, trace_lo))`, in_window);
    const found = await sql<SummarySpan>`WITH found AS MATERIALIZED (${ids}) FROM ${spans} LIMIT ${MOST_ROWS + 1}`.execute(db);
    if (found.rows.length <= MOST_ROWS) return inOrder([...tracesOf(found.rows).values()], search.order);
  }
  const found = (await ids.execute(db)).rows;
  if (found.length === 0) return [];
  const wanted = new Set(found.map(idOf));
  const starts = [...new Set(found.map(({ trace_hi }) => trace_hi))];
  const spans = spanColumns(warehouse, SUMMARY_COLUMNS, warehouse.keptWhere('trace_start', starts.map(at)), beganAt(starts));
  const { rows } = await sql<SummarySpan>`FROM ${spans} LIMIT ${MOST_ROWS + 1}`.execute(db);
  const traces = rows.length <= MOST_ROWS ? [...tracesOf(rows.filter(({ trace_id }) => wanted.has(trace_id))).values()] : await tracesWithIds(db, warehouse, [...wanted]);
  return inOrder(traces, search.order);
}

async function newestTraces(db: Kysely<Database>, warehouse: Warehouse, search: TraceSearch): Promise<TraceRow[]> {
  const { range, after, limit } = search;
  const end_ns = after === undefined ? range.end_ns : startOf(after.trace_id) + 1n;
  for (const window_ns of WINDOWS_NS) {
    if (end_ns - range.start_ns <= (window_ns > SHORT_NS ? window_ns : SHORT_NS)) break;
    const traces = await tracesIn(db, warehouse, { start_ns: end_ns - window_ns, end_ns }, search);
    if (traces.length >= limit) return traces;
  }
  return tracesIn(db, warehouse, { start_ns: range.start_ns, end_ns }, search);
}

export async function tracesWithIds(db: Kysely<Database>, warehouse: Warehouse, ids: readonly string[]): Promise<TraceRow[]> {
  return db.selectFrom(viewOfTraces(warehouse, 'traces', ids).as('traces')).select(TRACE_COLUMNS).where('trace_id', 'in', ids).execute();
}

export async function searchTraces(db: Kysely<Database>, warehouse: Warehouse, search: TraceSearch): Promise<TraceRow[]> {
  return search.order === '-start_time' ? newestTraces(db, warehouse, search) : tracesIn(db, warehouse, search.range, search);
}
