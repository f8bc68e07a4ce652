// Which traces have one span that meets all conditions? Newest first, and then their spans.
import { sql } from 'kysely';
import type { Kysely, RawBuilder } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import type { SearchRange } from '../search-range.ts';
import { between, since, viewOfTraces, viewWhere } from './indexed-views.ts';
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

/** Of one piece of the time. */
const MOST_SPANS_A_PIECE = 2_000_000;

/** Traces that began in a time; null: however long before, or after, the spans that are asked for. */
interface Began {
  readonly from_ns: bigint | null;
  readonly until_ns: bigint | null;
}

async function idsIn(db: Kysely<Database>, warehouse: Warehouse, { range, conditions }: SpanMatch, { from_ns, until_ns }: Began, limit: number): Promise<string[]> {
  const meets = [sql<boolean>`start_ns >= ${range.start_ns} AND start_ns < ${range.end_ns}`];
  if (from_ns !== null) meets.push(sql<boolean>`trace_hi >= ${from_ns}`);
  if (until_ns !== null) meets.push(sql<boolean>`trace_hi < ${until_ns}`);
  const [indexed, asked] = from_ns === null ? (['span_start', between(range)] as const) : (['trace_start', until_ns === null ? since(from_ns) : between({ start_ns: from_ns, end_ns: until_ns })] as const);
  let query = db.selectFrom(viewWhere(warehouse, 'spans', indexed, [asked], sql<boolean>`${sql.join(meets, sql` AND `)}`).as('spans')).select('trace_id');
  for (const condition of conditions) query = query.where(condition);
  const rows = await query.groupBy('trace_id').orderBy('trace_id', 'desc').limit(limit).execute();
  return rows.map(({ trace_id }) => trace_id);
}

/** The newest first, in ever larger pieces, of which none has more spans than can be grouped beside others. */
function piecesOf(warehouse: Warehouse, { start_ns, end_ns }: SearchRange, most_spans: number): Began[] {
  const cuts = WINDOWS_NS.map((window_ns) => end_ns - window_ns).filter((cut_ns) => cut_ns > start_ns);
  const edges = [end_ns, ...cuts, start_ns];
  const within = edges.slice(1).flatMap((from_ns, at) => (from_ns < (edges[at] as bigint) ? warehouse.windowsWhere('trace_start', between({ start_ns: from_ns, end_ns: edges[at] as bigint }), most_spans).toReversed() : []));
  const starts = within.slice(0, -1).map(({ from_ns }) => from_ns);
  return [...starts, null].map((from_ns, at) => ({ from_ns, until_ns: starts[at - 1] ?? null }));
}

export async function findTraceIds(db: Kysely<Database>, warehouse: Warehouse, match: SpanMatch, most_spans = MOST_SPANS_A_PIECE): Promise<string[]> {
  const ids: string[] = [];
  for (const piece of piecesOf(warehouse, match.range, most_spans)) {
    ids.push(...(await idsIn(db, warehouse, match, piece, match.limit - ids.length)));
    if (ids.length >= match.limit) break;
  }
  return ids;
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
