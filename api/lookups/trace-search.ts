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
  /** Spans that are grouped at once, about. */
  readonly most_grouped?: number;
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

/** What is to be found, and how long it took: by that, too, pages are in order. */
interface Found extends StoredTraceId {
  readonly took_ns: bigint;
}

function idsOf(warehouse: Warehouse, window: SearchRange, search: TraceSearch): RawBuilder<Found> {
  const { rows, in_window } = rowsIn(warehouse, window);
  const direction = sql.raw(search.order.startsWith('-') ? 'DESC' : 'ASC');
  const having = conditions(search);
  const by = COMPARED[search.order].by;
  return sql`
    SELECT trace_hi, trace_lo, ${DURATION} AS took_ns FROM ${spanColumns(warehouse, CONDITION_COLUMNS, rows, in_window)} GROUP BY trace_hi, trace_lo
    ${having.length === 0 ? sql`` : sql`HAVING ${sql.join(having, sql` AND `)}`}
    ORDER BY ${by === null ? sql`` : sql`${by} ${direction}, `}trace_hi ${direction}, trace_lo ${direction} LIMIT ${search.limit}`;
}

const idOf = ({ trace_hi, trace_lo }: StoredTraceId): string => trace_hi.toString(16).padStart(16, '0') + trace_lo.toString(16).padStart(16, '0');

const compare = <T>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);
const signOf = (order: TraceOrder): number => (order.startsWith('-') ? -1 : 1);

/** As the search orders them. */
function inOrder(traces: readonly TraceRow[], order: TraceOrder): TraceRow[] {
  return traces.toSorted((a, b) => signOf(order) * ((COMPARED[order].by === null ? 0 : compare(a.duration_ns, b.duration_ns)) || compare(a.trace_id, b.trace_id)));
}

const longestFirst = (order: TraceOrder) => (a: Found, b: Found): number => signOf(order) * (compare(a.took_ns, b.took_ns) || compare(a.trace_hi, b.trace_hi) || compare(a.trace_lo, b.trace_lo));

/**
 * Of a long history a piece at a time: a trace began in one of them, so what the pieces find is what all of it holds, and no more
 * traces are gathered at once than fit beside those of other searches. By start it ends where enough is found.
 */
async function findIds(db: Kysely<Database>, warehouse: Warehouse, windows: readonly SearchRange[], search: TraceSearch): Promise<Found[]> {
  let found: Found[] = [];
  for (const window of windows) {
    const by_start = COMPARED[search.order].by === null;
    const limit = by_start ? search.limit - found.length : search.limit;
    if (limit === 0) break;
    const { rows } = await idsOf(warehouse, window, { ...search, limit }).execute(db);
    found = by_start ? [...found, ...rows] : [...found, ...rows].toSorted(longestFirst(search.order)).slice(0, search.limit);
  }
  return found;
}

/** Beyond, and where a page's traces are not neighbours, to plan a second statement costs less than to unpack (docs/adr/0019) every span between them: a join does that, a list of starts goes to the scan. */
const SHORT_NS = 60n * SECOND_NS;

/** Of one piece; fewer spans than this are grouped within 100 MB, if each is a trace of its own. */
const MOST_GROUPED = 2_000_000;

function windowsOf(warehouse: Warehouse, { start_ns, end_ns }: SearchRange, { order, most_grouped = MOST_GROUPED }: TraceSearch): SearchRange[] {
  if (end_ns <= start_ns) return [];
  const windows = warehouse.windowsWhere('trace_start', between({ start_ns, end_ns }), most_grouped).map(({ from_ns, to_ns }) => ({ start_ns: from_ns, end_ns: to_ns + 1n }));
  return order === '-start_time' ? windows.toReversed() : windows;
}

async function tracesIn(db: Kysely<Database>, warehouse: Warehouse, range: SearchRange, search: TraceSearch): Promise<TraceRow[]> {
  const windows = windowsOf(warehouse, range, search);
  const [only] = windows;
  if (only !== undefined && windows.length === 1 && COMPARED[search.order].by === null && range.end_ns - range.start_ns <= SHORT_NS) {
    const { rows, in_window } = rowsIn(warehouse, only);
    const spans = spanColumns(warehouse, SUMMARY_COLUMNS, `(FROM ${rows} SEMI JOIN found USING (trace_hi, trace_lo))`, in_window);
    const found = await sql<SummarySpan>`WITH found AS MATERIALIZED (${idsOf(warehouse, only, search)}) FROM ${spans} LIMIT ${MOST_ROWS + 1}`.execute(db);
    if (found.rows.length <= MOST_ROWS) return inOrder([...tracesOf(found.rows).values()], search.order);
  }
  const found = await findIds(db, warehouse, windows, search);
  if (found.length === 0) return [];
  const wanted = new Set(found.map(idOf));
  const starts = [...new Set(found.map(({ trace_hi }) => trace_hi))];
  const spans = spanColumns(warehouse, SUMMARY_COLUMNS, warehouse.keptWhere('trace_start', starts.map(at)), beganAt(starts));
  const { rows } = await sql<SummarySpan>`FROM ${spans} LIMIT ${MOST_ROWS + 1}`.execute(db);
  const traces = rows.length <= MOST_ROWS ? [...tracesOf(rows.filter(({ trace_id }) => wanted.has(trace_id))).values()] : await tracesWithIds(db, warehouse, [...wanted]);
  return inOrder(traces, search.order);
}

/** The newest first, in ever larger pieces. */
async function newestTraces(db: Kysely<Database>, warehouse: Warehouse, { start_ns, end_ns }: SearchRange, search: TraceSearch): Promise<TraceRow[]> {
  const found: TraceRow[] = [];
  let until_ns = end_ns;
  for (const window_ns of [...WINDOWS_NS, null]) {
    const enough = window_ns === null || end_ns - start_ns <= (window_ns > SHORT_NS ? window_ns : SHORT_NS);
    const from_ns = enough ? start_ns : end_ns - window_ns;
    found.push(...(await tracesIn(db, warehouse, { start_ns: from_ns, end_ns: until_ns }, { ...search, limit: search.limit - found.length })));
    if (enough || found.length >= search.limit) break;
    until_ns = from_ns;
  }
  return found;
}

export async function tracesWithIds(db: Kysely<Database>, warehouse: Warehouse, ids: readonly string[]): Promise<TraceRow[]> {
  return db.selectFrom(viewOfTraces(warehouse, 'traces', ids).as('traces')).select(TRACE_COLUMNS).where('trace_id', 'in', ids).execute();
}

export async function searchTraces(db: Kysely<Database>, warehouse: Warehouse, search: TraceSearch): Promise<TraceRow[]> {
  const { order, after } = search;
  let { start_ns, end_ns } = search.range;
  // A page goes on where the one before ended.
  const last_ns = after === undefined ? null : startOf(after.trace_id);
  if (order === '-start_time' && last_ns !== null && last_ns < end_ns) end_ns = last_ns + 1n;
  if (order === 'start_time' && last_ns !== null && last_ns > start_ns) start_ns = last_ns;
  return order === '-start_time' ? newestTraces(db, warehouse, { start_ns, end_ns }, search) : tracesIn(db, warehouse, { start_ns, end_ns }, search);
}
