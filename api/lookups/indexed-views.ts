// The public views over only those files that may hold what is asked for, so that the length of the history costs nothing. The
// condition goes to the stored table, where ids are numbers and whole row groups are skipped.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import type { IndexedTime, NsRange, Warehouse } from '../../ingest/warehouse.ts';
import type { SpansTable, TracesTable } from '../database.ts';

interface Views {
  readonly spans: SpansTable;
  readonly traces: TracesTable;
}

/** A trace id as it is stored. */
export interface TraceKey {
  /** When the trace began. */
  readonly hi: bigint;
  readonly lo: bigint;
}

export interface StoredTraceId {
  readonly trace_hi: bigint;
  readonly trace_lo: bigint;
}

const MOST = 2n ** 63n - 1n;

/** Null: no trace can have this id. */
export function traceKey(trace_id: string): TraceKey | null {
  const [hi, lo] = [BigInt(`0x${trace_id.slice(0, 16)}`), BigInt(`0x${trace_id.slice(16)}`)];
  return hi > MOST || lo > MOST ? null : { hi, lo };
}

/** The start of a trace stands in its id, so ids in text order are traces by start. */
export const startOf = (trace_id: string): bigint => BigInt(`0x${trace_id.slice(0, 16)}`);

export const at = (ns: bigint): NsRange => ({ from_ns: ns, to_ns: ns });
/** Until just before `end_ns`, as ranges of requests are. */
export const between = ({ start_ns, end_ns }: { start_ns: bigint; end_ns: bigint }): NsRange => ({ from_ns: start_ns, to_ns: end_ns - 1n });
export const since = (ns: bigint): NsRange => ({ from_ns: ns, to_ns: MOST });

/** The view, over stored spans of which `condition` is true and which the index finds in one of the ranges. */
export function viewWhere<V extends keyof Views>(warehouse: Warehouse, view: V, indexed: IndexedTime, ranges: readonly NsRange[], condition?: RawBuilder<boolean>): RawBuilder<Views[V]> {
  const { before, after } = warehouse.viewText(view);
  const rows = sql.raw(warehouse.keptWhere(indexed, ranges));
  const stored = condition === undefined ? rows : sql`(SELECT * FROM ${rows} WHERE ${condition})`;
  return sql<Views[V]>`(${sql.raw(before)}${stored}${sql.raw(after)})`;
}

/** Only these columns of the view spans, and both halves of the trace id as numbers: DuckDB plans no more than is asked for. */
export function spanColumns<C extends keyof SpansTable>(warehouse: Warehouse, names: readonly C[], rows: string, condition: RawBuilder<boolean>): RawBuilder<Pick<SpansTable, C> & StoredTraceId> {
  const { columns } = warehouse.viewText('spans');
  return sql`(SELECT trace_hi, trace_lo, ${sql.raw(names.map((name) => columns.get(name) as string).join(', '))} FROM ${sql.raw(rows)} AS stored WHERE ${condition})`;
}

/** Some time before a span's end it began. */
const LONGEST_NS = 3_600_000_000_000n;

/** The view spans over the files with spans that end in the range, and some more: spans are stored by their ends. */
export function spansEnding(warehouse: Warehouse, from_ns: bigint, to_ns: bigint): RawBuilder<SpansTable> {
  const { before, after } = warehouse.viewText('spans');
  return sql<SpansTable>`(${sql.raw(before)}${sql.raw(warehouse.keptBetween('derived', 'spans', from_ns > LONGEST_NS ? from_ns - LONGEST_NS : 0n, to_ns))}${sql.raw(after)})`;
}

/** The view spans of those that begin in the range. */
export function spansBeginning(warehouse: Warehouse, range: { start_ns: bigint; end_ns: bigint }): RawBuilder<SpansTable> {
  return viewWhere(warehouse, 'spans', 'span_start', [between(range)], sql<boolean>`start_ns >= ${range.start_ns} AND start_ns < ${range.end_ns}`);
}

/** As numbers in the text: of a list that it can read, DuckDB makes a condition of the scan. */
export const beganAt = (starts: readonly bigint[]): RawBuilder<boolean> => sql<boolean>`trace_hi IN (${sql.raw(starts.join(', '))})`;

/** The view, of these traces. */
export function viewOfTraces<V extends keyof Views>(warehouse: Warehouse, view: V, ids: readonly string[]): RawBuilder<Views[V]> {
  const starts = [...new Set(ids.map(startOf))];
  return viewWhere(warehouse, view, 'trace_start', starts.map(at), beganAt(starts));
}

/** Of one trace. */
export function viewOfTrace<V extends keyof Views>(warehouse: Warehouse, view: V, { hi, lo }: TraceKey, also?: RawBuilder<boolean>): RawBuilder<Views[V]> {
  const own = sql<boolean>`trace_hi = ${hi} AND trace_lo = ${lo}`;
  return viewWhere(warehouse, view, 'trace_start', [at(hi)], also === undefined ? own : sql<boolean>`${own} AND ${also}`);
}
