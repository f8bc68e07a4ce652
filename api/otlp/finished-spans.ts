// Which spans are to be sent for a window of time? Spans of a trace that end within `quiet_ns` of one another belong
// together; such a group is sent whole, for the window in which its last span ends. So each span belongs to one window
// only, and which one follows from what is stored alone.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database, SpansTable } from '../database.ts';
import { spansEnding, startOf } from '../lookups/indexed-views.ts';
import { SPAN_COLUMNS } from '../lookups/trace-spans.ts';
import type { SpanRow } from '../lookups/trace-spans.ts';

export interface SendWindow {
  /** Exclusive. */
  readonly from_ns: bigint;
  /** Inclusive. */
  readonly to_ns: bigint;
}

/** The end of the window that begins at from_ns: before so many spans, and not after up_to_ns. */
export async function windowEnd(db: Kysely<Database>, warehouse: Warehouse, from_ns: bigint, up_to_ns: bigint, most_spans: number): Promise<bigint> {
  const ends = db.selectFrom(spansEnding(warehouse, from_ns, up_to_ns).as('spans')).select('end_ns').where('end_ns', '>', from_ns).where('end_ns', '<=', up_to_ns).orderBy('end_ns').limit(most_spans).as('e');
  const row = await db.selectFrom(ends).select(({ fn }) => [fn.max<bigint | null>('end_ns').as('end_ns'), fn.countAll<bigint>().as('count')]).executeTakeFirst();
  return row === undefined || row.end_ns === null || Number(row.count) < most_spans ? up_to_ns : row.end_ns;
}

export interface Grouping {
  readonly quiet_ns: bigint;
  /** Instants up to which everything was sent without waiting for quiet: no group reaches across. */
  readonly cuts_ns: readonly bigint[];
}

/** All spans that end within quiet_ns after the window have to be stored by then. In an order that is always the same. */
export async function finishedSpans(db: Kysely<Database>, warehouse: Warehouse, { from_ns, to_ns }: SendWindow, { quiet_ns, cuts_ns }: Grouping, page: { skip: number; take: number }): Promise<SpanRow[]> {
  const crosses = sql.join([sql`before_ns + ${quiet_ns} < end_ns`, ...cuts_ns.map((cut_ns) => sql`(before_ns <= ${cut_ns} AND end_ns > ${cut_ns})`)], sql` OR `);
  const touched = await sql<{ low: string | null; high: string | null }>`SELECT min(trace_id) AS low, max(trace_id) AS high FROM ${spansEnding(warehouse, from_ns, to_ns)} AS s WHERE end_ns > ${from_ns} AND end_ns <= ${to_ns}`.execute(db);
  const { low = null, high = null } = touched.rows[0] ?? {};
  if (low === null || high === null) return [];
  const columns = sql.join(SPAN_COLUMNS.map((name: keyof SpansTable) => sql.ref(name)));
  const spans = spansEnding(warehouse, startOf(low), to_ns + quiet_ns);
  const { rows } = await sql<SpanRow>`
    WITH candidates AS (
      SELECT ${columns} FROM ${spans} AS s
      WHERE trace_id >= ${low} AND trace_id <= ${high} AND end_ns <= ${to_ns + quiet_ns}
        AND trace_id IN (SELECT trace_id FROM ${spansEnding(warehouse, from_ns, to_ns)} AS e WHERE end_ns > ${from_ns} AND end_ns <= ${to_ns})
    ), following AS (
      SELECT *, lag(end_ns) OVER (PARTITION BY trace_id ORDER BY end_ns) AS before_ns FROM candidates
    ), grouped AS (
      SELECT *, count(*) FILTER (before_ns IS NOT NULL AND (${crosses})) OVER (PARTITION BY trace_id ORDER BY end_ns) AS group_no FROM following
    ), finished AS (
      SELECT *, max(end_ns) OVER (PARTITION BY trace_id, group_no) AS group_end_ns FROM grouped
    )
    SELECT ${columns} FROM finished WHERE group_end_ns > ${from_ns} AND group_end_ns <= ${to_ns}
    ORDER BY trace_id, start_ns, span_id LIMIT ${BigInt(page.take)} OFFSET ${BigInt(page.skip)}`.execute(db);
  return rows;
}
