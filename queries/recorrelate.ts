// History again, under today's rules: stored segments are computed anew from the raw messages and swapped.
import type { DuckDBConnection } from '@duckdb/node-api';
import { isOutOfMemory } from '../ingest/duckdb-errors.ts';
import type { DerivedSegment, Warehouse } from '../ingest/warehouse.ts';
import { TracehouseError } from '../schema/errors.ts';
import { READ_AFTER_STEPS, carryOver, forgetOld, leaveLate, someIn } from './carry-over.ts';
import { chooseFinished } from './choose-finished.ts';
import { chooseStaying, takeAsStored } from './raw-gone.ts';
import { loadSteps, runSteps, type Step } from './step-runner.ts';
import { computedSteps } from './timing/claim.ts';
import { RULE_VERSION, describeFinished, storeFinished } from './store-spans.ts';
import { DEFAULT_LIMITS, KEEP_NS, addThreadMoves, createWorkingSet, dropWorkingSet, loadHistory, loadMore, readMessages, setLimits, setRunEnds, storedMessages, type Limits, type RunEnd, type StoredMessages } from './working-set.ts';

export interface ChangeReport {
  readonly spans: number;
  /** Of these, as they were: their raw rows are gone. */
  readonly kept: number;
  readonly unchanged: number;
  readonly links_gained: number;
  readonly links_lost: number;
  readonly links_moved: number;
}

export interface RecorrelateOptions {
  /** Segments that may hold spans which ended in [from_ns, to_ns] are done again, whole. */
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  /** Spans. */
  readonly progress?: (done: number, of: number) => void;
  readonly limits?: Limits;
  /** Runs that nothing more is expected of. */
  readonly run_ends?: readonly RunEnd[];
  /** How long each step took, for measurements. */
  readonly observe?: ((step: Step, elapsed_ms: number) => void) | undefined;
  /** Of the segments in the range. */
  readonly only?: (segment: DerivedSegment) => boolean;
  /** Spans that are worked on at a time, and held in memory with what they need; 500,000. */
  readonly most_spans?: number;
  /** Results of steps with so many rows are dropped once nothing reads them any more; 10,000. */
  readonly many_rows?: number;
}

const MOST_SPANS = 500_000;
/** Where so few do not fit, fewer would not either. */
const FEWEST_SPANS = 10_000;
/** What has happened by so long after a piece is known in it: the answers that its calls wait for, and when what it leaves open ended. */
const AHEAD_NS = 5_000_000_000n;
/** Exchanges that begin later than this after a piece are left to the next one. A live cycle leaves what begins SETTLE_NS after its cut. */
const BEGUN_AHEAD_NS = 1_000_000_000n;
/** A large segment is divided into so many slices at most, of so much at least, and these are put together. */
const MOST_SLICES = 100_000n;
const LEAST_SLICE_NS = 10_000_000n;
const SILENT_MS = 10_000;
const NEVER = 9_000_000_000_000_000_000n;
const NOTHING: ChangeReport = { spans: 0, kept: 0, unchanged: 0, links_gained: 0, links_lost: 0, links_moved: 0 };
const STORED = ['spans', 'exchanges', 'span_links'] as const;

/** Neighbouring segments that give way to one. */
interface Chunk {
  readonly ids: readonly string[];
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  /** Spans. */
  readonly size: number;
}

/** Of a chunk: what ended in (from_ns, to_ns]. */
interface Piece {
  readonly chunk: Chunk;
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  /** Which of the chunk's stored rows are its: what landed late is stored with later rows, and is the first piece's. */
  readonly own: string;
}

/** Whose working set a connection holds: of the call that did the piece up to to_ns, as its steps have left it. */
interface Carried {
  readonly options: RecorrelateOptions;
  readonly to_ns: bigint;
  /** Its messages. */
  readonly stored: StoredMessages;
}

/** Another call may come between two chunks: it has the same connection and the same temp tables. */
const carried = new WeakMap<DuckDBConnection, Carried>();

/**
 * Running it again under the same rules changes nothing. It is done a piece at a time, of several small segments or of a part of a large one; where the memory
 * does not suffice, in smaller ones. Errors: disk-full.
 */
export async function recorrelate(warehouse: Warehouse, options: RecorrelateOptions): Promise<ChangeReport> {
  let total = NOTHING;
  let done_to = -1n;
  let done = 0;
  let [most_spans, most_segments] = [options.most_spans ?? MOST_SPANS, Infinity];
  for (;;) {
    const left = segmentsOf(warehouse, options).filter((segment) => segment.to_ns > done_to);
    const sizes = sizesOf(warehouse);
    const chunk = firstChunk(left, sizes, { spans: most_spans, segments: most_segments });
    if (chunk === undefined) return total;
    const of = done + left.reduce((sum, { id }) => sum + (sizes.get(id) ?? 0), 0);
    const progress = (of_chunk: number): void => options.progress?.(done + of_chunk, of);
    try {
      total = bothReports(total, await redoChunk(warehouse, chunk, options, { last: chunk.ids.length === left.length, most_spans, progress }));
    } catch (error) {
      // Nothing of it is stored.
      if (isOutOfMemory(error) && chunk.ids.length > 1) {
        most_segments = chunk.ids.length >> 1;
        continue;
      }
      if (isOutOfMemory(error) && Math.min(most_spans, chunk.size) > FEWEST_SPANS) {
        most_spans = Math.min(most_spans, chunk.size) >> 1;
        continue;
      }
      if (!(error instanceof TracehouseError && error.code === 'segments-changed')) throw error;
      await new Promise(setImmediate); // whoever changes them has to get on
      continue;
    }
    done_to = chunk.to_ns;
    done += chunk.size;
  }
}

function segmentsOf(warehouse: Warehouse, { from_ns, to_ns, only = () => true }: RecorrelateOptions): DerivedSegment[] {
  return warehouse.derivedSegments(from_ns, to_ns).filter(only).toSorted((a, b) => (a.from_ns < b.from_ns ? -1 : 1));
}

const sizesOf = (warehouse: Warehouse): ReadonlyMap<string, number> => new Map(warehouse.segments.map((segment) => [segment.uid, segment.rows?.get('spans') ?? 0]));

/** Neighbours are done together. */
function firstChunk(segments: readonly DerivedSegment[], sizes: ReadonlyMap<string, number>, most: { readonly spans: number; readonly segments: number }): Chunk | undefined {
  const [first] = segments;
  if (first === undefined) return undefined;
  const ids: string[] = [];
  let [to_ns, size] = [first.to_ns, 0];
  for (const segment of segments) {
    const own = sizes.get(segment.id) ?? 0;
    if (ids.length > 0 && (size + own > most.spans || ids.length === most.segments || segment.from_ns > to_ns)) break;
    ids.push(segment.id);
    size += own;
    if (segment.to_ns > to_ns) to_ns = segment.to_ns;
  }
  return { ids, from_ns: first.from_ns, to_ns, size };
}

/** Of about so many spans each, in order of time. */
async function piecesOf(warehouse: Warehouse, connection: DuckDBConnection, chunk: Chunk, most_spans: number): Promise<Piece[]> {
  const { from_ns, to_ns, ids } = chunk;
  if (chunk.size <= most_spans) return [{ chunk, from_ns, to_ns, own: 'true' }];
  const spans_now = rowsNow(warehouse, ids, 'spans');
  const found = await connection.runAndReadAll(`SELECT coalesce(min(end_ns), 0), coalesce(max(end_ns), 0) FROM ${spans_now} WHERE end_ns > ${from_ns}`);
  const [first_ns, last_ns] = found.getRows()[0] as [bigint, bigint]; // the oldest segment begins in 1970
  const slice_ns = (last_ns - first_ns) / MOST_SLICES > LEAST_SLICE_NS ? (last_ns - first_ns) / MOST_SLICES : LEAST_SLICE_NS;
  const counted = await connection.runAndReadAll(`SELECT (greatest(end_ns, ${first_ns}) - ${first_ns}) // ${slice_ns} AS slice, count(*) FROM ${spans_now} GROUP BY slice ORDER BY slice`);
  const cuts: bigint[] = [];
  let spans = 0;
  for (const [slice, count] of counted.getRows() as [bigint, bigint][]) {
    const begins_ns = first_ns + slice * slice_ns - 1n; // what ends then is of the slice before
    if (spans > 0 && spans + Number(count) > most_spans && begins_ns > from_ns && begins_ns < to_ns) {
      cuts.push(begins_ns);
      spans = 0;
    }
    spans += Number(count);
  }
  return [...cuts, to_ns].map((end_ns, at) => {
    const begins_ns = cuts[at - 1] ?? from_ns;
    const own = [...(at > 0 ? [`end_ns > ${begins_ns}`] : []), ...(at < cuts.length ? [`end_ns <= ${end_ns}`] : [])].join(' AND ') || 'true';
    return { chunk, from_ns: begins_ns, to_ns: end_ns, own };
  });
}

/** Of two parts of history together. */
export function bothReports(a: ChangeReport, b: ChangeReport): ChangeReport {
  return {
    spans: a.spans + b.spans, kept: a.kept + b.kept, unchanged: a.unchanged + b.unchanged, links_gained: a.links_gained + b.links_gained, links_lost: a.links_lost + b.links_lost,
    links_moved: a.links_moved + b.links_moved,
  };
}

interface Redo {
  /** Nothing is to follow it. */
  readonly last: boolean;
  readonly most_spans: number;
  readonly progress: (spans: number) => void;
}

async function redoChunk(warehouse: Warehouse, chunk: Chunk, options: RecorrelateOptions, { last, most_spans, progress }: Redo): Promise<ChangeReport> {
  let report = NOTHING;
  await warehouse.replaceDerived(chunk.ids, async (alias, connection) => {
    let whole = false;
    try {
      await keepOfAll(warehouse, connection, chunk);
      for (const piece of await piecesOf(warehouse, connection, chunk, most_spans)) {
        await keepBefore(warehouse, connection, piece);
        await fill(warehouse, alias, connection, piece, options);
        report = bothReports(report, await compare(connection, alias, piece));
        progress(Math.min(report.spans, chunk.size));
      }
      await keepOldAliases(warehouse, connection, alias, chunk);
      whole = true;
    } finally {
      if (last || !whole) await letGo(connection);
    }
  });
  progress(chunk.size);
  return report;
}

/** before_trace_aliases, before_progress, before_models: what the segments hold of these now. */
async function keepOfAll(warehouse: Warehouse, connection: DuckDBConnection, { ids }: Chunk): Promise<void> {
  for (const table of ['trace_aliases', 'progress', 'models'] as const) await connection.run(`CREATE OR REPLACE TEMP TABLE before_${table} AS SELECT * FROM ${rowsNow(warehouse, ids, table)}`);
}

/** What the segments hold of a piece now: before_spans and before_exchanges have what changes are told by, kept_* the rows of what ended before it, as far as they are not written anew. */
async function keepBefore(warehouse: Warehouse, connection: DuckDBConnection, piece: Piece): Promise<void> {
  const { from_ns } = piece;
  const rowsOf = (table: string): string => rowsOfPiece(warehouse, piece, table);
  await connection.run(`CREATE OR REPLACE TEMP TABLE before_spans AS SELECT span_id, parent_span_id, start_ns, trace_hi, trace_lo, end_ns FROM ${rowsOf('spans')}`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE before_exchanges AS SELECT run_id, socket_id, exchange_no, span_id, start_ns, end_ns FROM ${rowsOf('exchanges')} WHERE end_ns > ${from_ns}`);
  for (const table of STORED) await connection.run(`CREATE OR REPLACE TEMP TABLE kept_${table} AS SELECT * FROM ${rowsOf(table)} WHERE end_ns <= ${from_ns}`);
}

const rowsOfPiece = (warehouse: Warehouse, { chunk, own }: Piece, table: string): string => `(FROM ${rowsNow(warehouse, chunk.ids, table)} WHERE ${own})`;

/** Of the segments that are done again, as they are stored. */
function rowsNow(warehouse: Warehouse, ids: readonly string[], table: string): string {
  const segments = warehouse.segments.filter((segment) => segment.kind === 'derived' && ids.includes(segment.uid) && segment.state === 'sealed');
  return `(${[`(SELECT * FROM memory.stored.${table} LIMIT 0)`, ...segments.map((segment) => `(SELECT * FROM "${segment.alias}".main.${table})`)].join(' UNION ALL BY NAME ')})`;
}

/**
 * stored_late: what other segments hold although it was over before they begin, and may turn out to have ended in the chunk. Its end may have been
 * taken for another then, within the limit after which a request is given up.
 */
async function noteStoredLate(warehouse: Warehouse, connection: DuckDBConnection, alias: string, { chunk: { ids, from_ns: first_ns }, from_ns, to_ns }: Piece, { open_limit_ns }: Limits): Promise<void> {
  const [low, high] = [from_ns - open_limit_ns, to_ns + open_limit_ns];
  const others = warehouse.segments.filter((segment) => segment.kind === 'derived' && segment.state !== 'spare' && segment.from_ns > low && !ids.includes(segment.uid));
  const rows = others.map((segment) => `(SELECT span_id FROM "${segment.alias}".main.spans WHERE end_ns > ${low} AND end_ns <= ${segment.from_ns < high ? segment.from_ns : high})`);
  if (from_ns > first_ns) rows.push(`(SELECT span_id FROM ${alias}.spans WHERE end_ns <= ${first_ns})`); // by the first piece
  await connection.run(`CREATE OR REPLACE TEMP TABLE stored_late AS ${['(SELECT span_id FROM memory.stored.spans LIMIT 0)', ...rows].join(' UNION ALL ')}`);
}

async function fill(warehouse: Warehouse, alias: string, connection: DuckDBConnection, piece: Piece, options: RecorrelateOptions): Promise<void> {
  const { from_ns, to_ns } = piece;
  // Whatever was waited for has happened by now.
  const limits = { ...(options.limits ?? DEFAULT_LIMITS), decide_limit_ns: 0n };
  const stored = await takeUp(warehouse, connection, { from_ns, to_ns }, limits, options);
  await connection.run('DELETE FROM decided_stored WHERE span_id IN (SELECT span_id FROM before_spans)');
  await chooseStaying(warehouse, connection);
  await takeAsStored(connection);
  for (const table of STORED) await connection.run(`INSERT INTO kept_${table} SELECT k.* FROM ${rowsOfPiece(warehouse, piece, table)} k SEMI JOIN stays s ON s.span_id = k.span_id`);
  await setLimits(connection, limits, to_ns + AHEAD_NS);
  await runSteps(connection, loadSteps(), { computed: computedSteps(connection), kept: READ_AFTER_STEPS, many_rows: options.many_rows, observe: options.observe });
  await noteStoredLate(warehouse, connection, alias, piece, limits);
  // Rows that landed late are stored with later ones: those stay there, and such ones that are here stay here.
  await connection.run(`CREATE OR REPLACE TEMP TABLE late_exchanges AS
    SELECT e.span_id FROM exchanges e ANTI JOIN before_spans b ON b.span_id = e.span_id
    WHERE e.end_ns <= ${from_ns} OR e.span_id IN (SELECT s.span_id FROM stored_late s)`);
  await chooseFinished(connection, to_ns);
  await describeFinished(connection);
  await connection.run('BEGIN TRANSACTION');
  await storeFinished(connection, alias);
  for (const table of STORED) {
    await connection.run(`INSERT INTO ${alias}.${table} BY NAME SELECT k.* FROM kept_${table} k ANTI JOIN over_now o ON o.span_id = k.span_id`);
  }
  await keepModels(connection, alias, piece);
  await keepOldIds(connection, alias, piece);
  if (to_ns === piece.chunk.to_ns) await connection.run(`INSERT INTO ${alias}.progress SELECT max(apply_no), max(cut_ns), ${RULE_VERSION} FROM before_progress HAVING count(*) > 0`);
  await connection.run('COMMIT');
  carried.set(connection, { options, to_ns, stored });
}

/**
 * The working set for a chunk: what the one before it has left, and what landed since; or read anew, with what led up to it. Messages stay in the files:
 * a table of all would take more of the memory than what is made of them. Returns where they are.
 */
async function takeUp(warehouse: Warehouse, connection: DuckDBConnection, { from_ns, to_ns }: { from_ns: bigint; to_ns: bigint }, limits: Limits, options: RecorrelateOptions): Promise<StoredMessages> {
  const before = carried.get(connection);
  carried.delete(connection);
  const range = { from_ns, to_ns: to_ns + AHEAD_NS, apply_no: warehouse.last_apply_no };
  let stored: StoredMessages;
  if (before?.options === options && before.to_ns === from_ns) {
    await connection.run('DELETE FROM timing_models');
    // Their files may have been replaced since. What has gone for good is missing: then spans of its time stay as they are (chooseStaying).
    await readMessages(connection, { news: storedMessages(warehouse, before.stored), horizon_ns: from_ns + BEGUN_AHEAD_NS });
    await leaveLate(connection, from_ns);
    await carryOver(connection, from_ns, from_ns);
    await forgetOld(connection, from_ns, limits);
    stored = await loadMore(warehouse, connection, { ...range, loaded_ns: from_ns + AHEAD_NS }, limits);
    await addThreadMoves(warehouse, connection, from_ns + AHEAD_NS, to_ns + AHEAD_NS);
  } else {
    await createWorkingSet(connection);
    stored = await loadHistory(warehouse, connection, range, limits);
    await addThreadMoves(warehouse, connection, from_ns - KEEP_NS, to_ns + AHEAD_NS);
  }
  await setRunEnds(connection, options.run_ends ?? silentRuns(warehouse));
  await readMessages(connection, { news: storedMessages(warehouse, stored), horizon_ns: to_ns + BEGUN_AHEAD_NS });
  return stored;
}

/** The connection has other work, for which tables of the working set are in the way. */
async function letGo(connection: DuckDBConnection): Promise<void> {
  carried.delete(connection);
  await connection.run('ROLLBACK').catch(() => undefined); // fails when there is nothing to roll back
  await dropWorkingSet(connection);
}

function silentRuns(warehouse: Warehouse): RunEnd[] {
  return warehouse.runs().filter((run) => run.final || Date.now() - run.heard_ms >= SILENT_MS).map(({ run_id, node, watermark_ns }) => ({ run_id, node, run_end_ns: watermark_ns }));
}

/** Links that stay as they are name the models that they were weighed by. */
async function keepModels(connection: DuckDBConnection, alias: string, { own }: Piece): Promise<void> {
  await connection.run(`INSERT INTO ${alias}.models BY NAME
    SELECT DISTINCT b.* FROM before_models b SEMI JOIN (FROM ${alias}.span_links WHERE ${own}) l ON l.model_version = b.model_version ANTI JOIN ${alias}.models m ON m.model_version = b.model_version`);
}

const traceId = (row: string): string => `printf('%016x%016x', ${row}.trace_hi, ${row}.trace_lo)`;

/** Ids that a trace had before still lead to it: temp table old_ids, of a piece. */
async function keepOldIds(connection: DuckDBConnection, alias: string, { own }: Piece): Promise<void> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE old_ids AS
    SELECT ${traceId('o')} AS old_trace_id, n.trace_id, CASE WHEN o.span_id = o.trace_lo THEN 0 ELSE n.span_id END AS place
    FROM before_spans o JOIN (FROM ${alias}.spans WHERE ${own}) n ON n.span_id = o.span_id WHERE n.trace_hi <> o.trace_hi OR n.trace_lo <> o.trace_lo`);
  await storeAliases(connection, alias);
}

/** Those that were not its own even before. */
async function keepOldAliases(warehouse: Warehouse, connection: DuckDBConnection, alias: string, { ids }: Chunk): Promise<void> {
  if (!(await someIn(connection, 'before_trace_aliases'))) return;
  await connection.run(`CREATE OR REPLACE TEMP TABLE old_ids AS
    SELECT a.old_trace_id, coalesce(n.trace_id, a.trace_id) AS trace_id, ${NEVER} AS place
    FROM before_trace_aliases a LEFT JOIN (FROM ${rowsNow(warehouse, ids, 'spans')} WHERE span_id = trace_lo) o ON ${traceId('o')} = a.trace_id LEFT JOIN ${alias}.spans n ON n.span_id = o.span_id
    WHERE a.old_trace_id NOT IN (SELECT old_trace_id FROM ${alias}.trace_aliases)`);
  await storeAliases(connection, alias);
}

async function storeAliases(connection: DuckDBConnection, alias: string): Promise<void> {
  if (!(await someIn(connection, 'old_ids'))) return;
  await connection.run(`INSERT INTO ${alias}.trace_aliases BY NAME
    SELECT old_trace_id, arg_min(trace_id, place) AS trace_id FROM old_ids o ANTI JOIN ${alias}.spans s ON s.trace_id = o.old_trace_id GROUP BY old_trace_id`);
}

/** Links before and after, span by span. */
async function compare(connection: DuckDBConnection, alias: string, { own }: Piece): Promise<ChangeReport> {
  const result = await connection.runAndReadAll(`SELECT
      count(*) FILTER (n.span_id IS NOT NULL),
      (SELECT count(*) FROM stays),
      count(*) FILTER (o.parent_span_id IS NOT DISTINCT FROM n.parent_span_id AND n.span_id IS NOT NULL),
      count(*) FILTER (o.parent_span_id IS NULL AND n.parent_span_id IS NOT NULL),
      count(*) FILTER (o.parent_span_id IS NOT NULL AND n.parent_span_id IS NULL),
      count(*) FILTER (o.parent_span_id <> n.parent_span_id)
    FROM before_spans o FULL JOIN (FROM ${alias}.spans WHERE ${own}) n ON n.span_id = o.span_id`);
  const [spans, kept, unchanged, links_gained, links_lost, links_moved] = (result.getRows()[0] ?? []).map(Number) as [number, number, number, number, number, number];
  return { spans, kept, unchanged, links_gained, links_lost, links_moved };
}
