// History again, under today's rules: stored segments are computed anew from the raw messages and swapped.
import type { DuckDBConnection } from '@duckdb/node-api';
import { isOutOfMemory } from '../ingest/duckdb-errors.ts';
import type { DerivedSegment, Warehouse } from '../ingest/warehouse.ts';
import { TracehouseError } from '../schema/errors.ts';
import { READ_AFTER_STEPS, carryOver, forgetOld, leaveLate } from './carry-over.ts';
import { chooseFinished } from './choose-finished.ts';
import { ChunkChanges, NOTHING, bothReports, storeAliases, type ChangeReport } from './history-changes.ts';
import { firstChunk, piecesOf, rowsNow, rowsOfPiece, spansIn, type Chunk, type Piece } from './history-pieces.ts';
import { chooseStaying, takeAsStored } from './raw-gone.ts';
import { loadSteps, runSteps, type Step } from './step-runner.ts';
import { computedSteps } from './timing/claim.ts';
import { RULE_VERSION, describeFinished, storeFinished } from './store-spans.ts';
import { DEFAULT_LIMITS, KEEP_NS, addThreadMoves, createWorkingSet, dropWorkingSet, loadHistory, loadMore, readMessages, setLimits, setRunEnds, storedMessages, type Limits, type RunEnd, type StoredMessages } from './working-set.ts';

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
  /** Awaited before each piece and each step, for work that is more urgent; what it throws ends it all, and nothing is changed by the chunk that was under way. */
  readonly between?: () => Promise<void>;
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
const SILENT_MS = 10_000;
const STORED = ['spans', 'exchanges', 'span_links'] as const;

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
  let [most_spans, most_segments] = [options.most_spans ?? MOST_SPANS, Infinity];
  const told = { spans: 0 };
  for (;;) {
    const left = segmentsOf(warehouse, options).filter((segment) => segment.to_ns > done_to);
    const chunk = firstChunk(warehouse, left, { spans: most_spans, segments: most_segments });
    if (chunk === undefined) return total;
    const of = total.spans + spansIn(warehouse, left.map(({ id }) => id));
    // What did not fit is done again, and not counted back.
    const progress = (spans: number): void => options.progress?.((told.spans = Math.max(told.spans, total.spans + spans)), Math.max(of, told.spans));
    try {
      total = bothReports(total, await redoChunk(warehouse, chunk, options, { last: chunk.ids.length === left.length, most_spans, progress }));
    } catch (error) {
      if (isOutOfMemory(error)) {
        // Nothing of it is stored.
        const size = Math.min(most_spans, spansIn(warehouse, chunk.ids));
        if (chunk.ids.length === 1 && size <= FEWEST_SPANS) throw error;
        if (chunk.ids.length > 1) most_segments = chunk.ids.length >> 1;
        else most_spans = size >> 1;
        continue;
      }
      if (!(error instanceof TracehouseError && error.code === 'segments-changed')) throw error;
      await new Promise(setImmediate); // whoever changes them has to get on
      continue;
    }
    done_to = chunk.to_ns;
    progress(0);
  }
}

function segmentsOf(warehouse: Warehouse, { from_ns, to_ns, only = () => true }: RecorrelateOptions): DerivedSegment[] {
  return warehouse.derivedSegments(from_ns, to_ns).filter(only).toSorted((a, b) => (a.from_ns < b.from_ns ? -1 : 1));
}

interface Redo {
  /** Nothing is to follow it. */
  readonly last: boolean;
  readonly most_spans: number;
  readonly progress: (spans: number) => void;
}

/** Memory that large tables have given back goes back to the system soon: history makes and drops hundreds of them. Storing batches is slower this way. */
const GIVES_BACK = "SET GLOBAL allocator_background_threads = true; SET GLOBAL allocator_flush_threshold = '16MB'; SET GLOBAL allocator_bulk_deallocation_flush_threshold = '32MB'";
const KEEPS_FOR_NEXT = 'RESET GLOBAL allocator_background_threads; RESET GLOBAL allocator_flush_threshold; RESET GLOBAL allocator_bulk_deallocation_flush_threshold';

async function redoChunk(warehouse: Warehouse, chunk: Chunk, options: RecorrelateOptions, { last, most_spans, progress }: Redo): Promise<ChangeReport> {
  let report: ChangeReport | undefined;
  await warehouse.replaceDerived(chunk.ids, async (alias, connection) => {
    try {
      await connection.run(GIVES_BACK);
      await keepOfAll(warehouse, connection, chunk);
      const changes = await ChunkChanges.begin(connection);
      for (const piece of await piecesOf(warehouse, connection, chunk, most_spans)) {
        await options.between?.();
        if (!piece.first) progress(changes.spans);
        await keepBefore(warehouse, connection, piece);
        await fill(warehouse, alias, connection, piece, options);
        await changes.notePiece();
      }
      const changed = await changes.end();
      await connection.run('BEGIN TRANSACTION');
      await keepModels(connection, alias);
      await storeAliases(warehouse, connection, alias, chunk);
      await connection.run(`INSERT INTO ${alias}.progress SELECT max(apply_no), max(cut_ns), ${RULE_VERSION} FROM before_progress HAVING count(*) > 0`);
      await connection.run('COMMIT');
      report = changed;
    } finally {
      if (last || report === undefined) await letGo(connection);
      await connection.run(KEEPS_FOR_NEXT).catch(() => undefined); // whatever failed before is what is to be told
    }
  });
  return report ?? NOTHING;
}

/** before_trace_aliases, before_progress, before_models: what the segments hold of these now. */
async function keepOfAll(warehouse: Warehouse, connection: DuckDBConnection, { ids }: Chunk): Promise<void> {
  for (const table of ['trace_aliases', 'progress', 'models'] as const) await connection.run(`CREATE OR REPLACE TEMP TABLE before_${table} AS SELECT * FROM ${rowsNow(warehouse, ids, table)}`);
}

/**
 * What the segments hold of a piece now: before_spans has what changes are told by, kept_* the rows of what ended before it, as far as they are not written anew.
 * later_spans: what ended in a later piece of the same chunk and had begun. before_exchanges: the keys of both, but for what ended before.
 */
async function keepBefore(warehouse: Warehouse, connection: DuckDBConnection, piece: Piece): Promise<void> {
  const { chunk, from_ns, to_ns } = piece;
  const rowsOf = (table: string): string => rowsOfPiece(warehouse, piece, table);
  const last = to_ns === chunk.to_ns;
  const columns = 'span_id, parent_span_id, start_ns, trace_hi, trace_lo, end_ns';
  await connection.run(`CREATE OR REPLACE TEMP TABLE before_spans AS SELECT ${columns} FROM ${rowsOf('spans')}`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE later_spans AS SELECT ${columns}, is_server FROM ${rowsNow(warehouse, chunk.ids, 'spans')} WHERE ${last ? 'false' : `start_ns <= ${to_ns} AND end_ns > ${to_ns}`}`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE before_exchanges AS SELECT run_id, socket_id, exchange_no, span_id, start_ns, end_ns FROM ${rowsNow(warehouse, chunk.ids, 'exchanges')} WHERE end_ns > ${from_ns}${last ? '' : ` AND start_ns <= ${to_ns}`}`);
  for (const table of STORED) await connection.run(`CREATE OR REPLACE TEMP TABLE kept_${table} AS SELECT * FROM ${rowsOf(table)} WHERE end_ns <= ${from_ns}`);
}

/**
 * stored_late: what other segments hold although it was over before they begin, and may turn out to have ended in the piece. Its end may have been
 * taken for another then, within the limit after which a request is given up. stored_here: what earlier pieces of the chunk have written of what the steps worked on.
 */
async function noteStored(warehouse: Warehouse, connection: DuckDBConnection, alias: string, { chunk, first, from_ns, to_ns }: Piece, { open_limit_ns }: Limits): Promise<void> {
  const [low, high] = [from_ns - open_limit_ns, to_ns + open_limit_ns];
  const others = warehouse.segments.filter((segment) => segment.kind === 'derived' && segment.state !== 'spare' && segment.from_ns > low && !chunk.ids.includes(segment.uid));
  const rows = others.map((segment) => `(SELECT span_id FROM "${segment.alias}".main.spans WHERE end_ns > ${low} AND end_ns <= ${segment.from_ns < high ? segment.from_ns : high})`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE stored_late AS ${['(SELECT span_id FROM memory.stored.spans LIMIT 0)', ...rows].join(' UNION ALL ')}`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE stored_here AS ${first ? 'SELECT span_id FROM stored_late LIMIT 0' : `
    SELECT span_id FROM ${alias}.spans WHERE end_ns <= ${chunk.from_ns} UNION ALL SELECT s.span_id FROM ${alias}.spans s SEMI JOIN (FROM exchanges WHERE end_ns <= ${from_ns}) e ON e.span_id = s.span_id`}`);
}

async function fill(warehouse: Warehouse, alias: string, connection: DuckDBConnection, piece: Piece, options: RecorrelateOptions): Promise<void> {
  const { from_ns, to_ns } = piece;
  // Whatever was waited for has happened by now.
  const limits = { ...(options.limits ?? DEFAULT_LIMITS), decide_limit_ns: 0n };
  const stored = await takeUp(warehouse, connection, { from_ns, to_ns }, limits, options);
  await chooseStaying(warehouse, connection, piece);
  await takeAsStored(connection);
  for (const table of STORED) await connection.run(`INSERT INTO kept_${table} SELECT k.* FROM ${rowsOfPiece(warehouse, piece, table)} k SEMI JOIN stays s ON s.span_id = k.span_id`);
  await connection.run(setLimits(limits, to_ns + AHEAD_NS));
  await runSteps(connection, loadSteps(), { computed: computedSteps(connection, options.between), kept: READ_AFTER_STEPS, many_rows: options.many_rows, observe: options.observe, between: options.between });
  await noteStored(warehouse, connection, alias, piece, limits);
  // Rows that landed late are stored with later ones: those stay there, and such ones that are here stay here. When something ended may be known only in a later piece.
  await connection.run(`CREATE OR REPLACE TEMP TABLE late_exchanges AS
    SELECT e.span_id FROM exchanges e ANTI JOIN before_spans b ON b.span_id = e.span_id
    WHERE e.end_ns <= ${piece.chunk.from_ns} OR e.span_id IN (SELECT s.span_id FROM stored_late s)
    UNION ALL FROM stored_here`);
  const { losses } = await chooseFinished(connection, to_ns);
  await describeFinished(connection, losses);
  await connection.run('BEGIN TRANSACTION');
  await connection.run(storeFinished(alias));
  for (const table of STORED) {
    await connection.run(`INSERT INTO ${alias}.${table} BY NAME SELECT k.* FROM kept_${table} k ANTI JOIN over_now o ON o.span_id = k.span_id`);
  }
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
    await connection.run(readMessages({ news: storedMessages(warehouse, before.stored), horizon_ns: from_ns + BEGUN_AHEAD_NS }));
    await leaveLate(connection, from_ns);
    await carryOver(connection, from_ns, from_ns);
    await forgetOld(connection, from_ns, limits);
    stored = await loadMore(warehouse, connection, { ...range, loaded_ns: from_ns + AHEAD_NS });
    await connection.run(addThreadMoves(warehouse, from_ns + AHEAD_NS, to_ns + AHEAD_NS));
  } else {
    await createWorkingSet(connection);
    stored = await loadHistory(warehouse, connection, range, limits);
    await connection.run(addThreadMoves(warehouse, from_ns - KEEP_NS, to_ns + AHEAD_NS));
    await connection.run('DELETE FROM decided_stored WHERE span_id IN (SELECT span_id FROM before_spans)'); // late ones that are here
  }
  await setRunEnds(connection, options.run_ends ?? silentRuns(warehouse));
  await connection.run(readMessages({ news: storedMessages(warehouse, stored), horizon_ns: to_ns + BEGUN_AHEAD_NS }));
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
async function keepModels(connection: DuckDBConnection, alias: string): Promise<void> {
  await connection.run(`INSERT INTO ${alias}.models BY NAME
    SELECT DISTINCT b.* FROM before_models b SEMI JOIN (SELECT DISTINCT model_version FROM ${alias}.span_links WHERE model_version IS NOT NULL) l ON l.model_version = b.model_version ANTI JOIN ${alias}.models m ON m.model_version = b.model_version`);
}
