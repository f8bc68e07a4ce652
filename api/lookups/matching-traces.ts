// Which traces have one span that meets all conditions? Newest first, and then their spans.
import { sql } from 'kysely';
import type { Kysely, RawBuilder } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import type { SearchRange } from '../search-range.ts';
import { spansBeginning, viewOfTraces } from './indexed-views.ts';
import { SPAN_COLUMNS } from './trace-spans.ts';
import type { SpanRow } from './trace-spans.ts';

export interface SpanMatch {
  /** The span starts in it. */
  readonly range: SearchRange;
  /** On the columns of the view spans. */
  readonly conditions: readonly RawBuilder<boolean>[];
  readonly limit: number;
}

export interface FoundTrace {
  readonly spans: SpanRow[];
  /** There are more. */
  readonly partial: boolean;
}

const SECOND_NS = 1_000_000_000n;
const WINDOWS_NS = [10n * SECOND_NS, 600n * SECOND_NS, 28_800n * SECOND_NS];
const MOST_SPANS_OF_A_TRACE = 10_000;
const MOST_SPANS = 100_000;

const hexTime = (ns: bigint): string => ns.toString(16).padStart(16, '0');

async function idsIn(db: Kysely<Database>, warehouse: Warehouse, range: SearchRange, { conditions, limit }: SpanMatch): Promise<string[]> {
  let query = db.selectFrom(spansBeginning(warehouse, range).as('spans')).select('trace_id');
  for (const condition of conditions) query = query.where(condition);
  const rows = await query.groupBy('trace_id').orderBy('trace_id', 'desc').limit(limit).execute();
  return rows.map(({ trace_id }) => trace_id);
}

export async function findTraceIds(db: Kysely<Database>, warehouse: Warehouse, match: SpanMatch): Promise<string[]> {
  const { range, limit } = match;
  for (const window_ns of WINDOWS_NS) {
    const start_ns = range.end_ns - window_ns;
    if (start_ns <= range.start_ns) break;
    const ids = await idsIn(db, warehouse, { start_ns, end_ns: range.end_ns }, match);
    // A trace that began earlier may be newer than none of those further back.
    if (ids.filter((id) => id >= hexTime(start_ns)).length >= limit) return ids;
  }
  return idsIn(db, warehouse, range, match);
}

/** In the order of the ids. */
export async function spansOfTraces(db: Kysely<Database>, warehouse: Warehouse, ids: readonly string[]): Promise<FoundTrace[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom(
      db.selectFrom(viewOfTraces(warehouse, 'spans', ids).as('spans')).select([...SPAN_COLUMNS, sql<bigint>`row_number() OVER (PARTITION BY trace_id ORDER BY start_ns, span_id)`.as('place')]).where('trace_id', 'in', ids).as('s'),
    )
    .selectAll()
    .where('place', '<=', BigInt(MOST_SPANS_OF_A_TRACE + 1))
    .orderBy('trace_id', 'desc')
    .orderBy('start_ns')
    .orderBy('span_id')
    .limit(MOST_SPANS + 1)
    .execute();
  const traces = new Map<string, SpanRow[]>(ids.map((id) => [id, []]));
  for (const { place: _place, ...span } of rows.slice(0, MOST_SPANS)) traces.get(span.trace_id)?.push(span);
  const cut = rows.length > MOST_SPANS ? rows[MOST_SPANS - 1]?.trace_id : undefined;
  return [...traces.entries()]
    .filter(([, spans]) => spans.length > 0)
    .map(([id, spans]) => ({ spans: spans.slice(0, MOST_SPANS_OF_A_TRACE), partial: spans.length > MOST_SPANS_OF_A_TRACE || id === cut }));
}
