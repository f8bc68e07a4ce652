// The data folder and everything in it: batches in, segments sealed and rewritten, relations out.
import { statSync } from 'node:fs';
import type { DuckDBConnection } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';
import type { RelationName } from '../schema/relations.ts';
import type { Batch } from './batch.ts';
import { outgrownBy } from './batch-values.ts';
import { BatchLanding } from './batch-landing.ts';
import type { ApplyResult } from './batch-landing.ts';
import type { ColdArchive } from './cold-archive.ts';
import { requireRoom } from './disk-room.ts';
import { isBroken, storageError } from './duckdb-errors.ts';
import { ConnectionPool, runQuery } from './duckdb-query.ts';
import type { QueryParams, QueryResult } from './duckdb-query.ts';
import { storeInto } from './few-values.ts';
import { keepProcesses } from './lasting-processes.ts';
import type { ExportLedger } from './export-ledger.ts';
import { keptWhere, oldestKnown, windowsWhere } from './indexed-relation.ts';
import { Mutex } from './mutex.ts';
import type { RunState } from './run-states.ts';
import { UnsealedCopies } from './unsealed-copies.ts';
import type { VisibleFiles } from './visible-files.ts';
import type { Segment } from './segment-catalog.ts';
import type { DroppedFiles } from './segment-keeper.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { sealUnread } from './segment-seal.ts';
import type { SegmentWriter } from './segment-writer.ts';
import { keptBetween, storedBetween, storedSince } from './stored-relation.ts';
import type { IndexedTime, NsRange } from './trace-index.ts';
import { closeParts, openParts } from './warehouse-parts.ts';
import type { WarehouseOptions, WarehouseParts } from './warehouse-parts.ts';
import type { ViewText } from './view-texts.ts';

export type { ApplyResult } from './batch-landing.ts';
export type { QueryParams, QueryResult } from './duckdb-query.ts';
export type { RunState } from './run-states.ts';
export type { WarehouseOptions } from './warehouse-parts.ts';
export type { IndexedTime, NsRange } from './trace-index.ts';
export type { ViewText } from './view-texts.ts';

export interface DerivedSegment {
  readonly id: string;
  /** Holds the spans that end in (from_ns, to_ns]. */
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  readonly open: boolean;
}

export interface WarehouseStats {
  readonly segments: Readonly<Record<SegmentKind, number>>;
  /** On disk, sealed and open. */
  readonly bytes: number;
  readonly applied: number;
  readonly duplicates: number;
  /** Applied since this process opened the folder. */
  readonly rows: number;
  readonly last_apply_no: bigint;
}

/** Without so much room, correlation waits as applying does. */
const WORK_BYTES = 4 * 1024 * 1024;
/** Exported files in folders may be taken away by their owner. */
const COLD_LOOK_MS = 300_000;
/** Each running query holds a thread of Node's pool. */
const QUERY_CONNECTIONS = 6;

export class Warehouse {
  readonly folder: string;
  readonly read_only: boolean;
  readonly #parts: WarehouseParts;
  readonly #pool: ConnectionPool;
  readonly #now: () => number;
  readonly #log: (line: string) => void;
  readonly #landing: BatchLanding;
  readonly #sealing = new Mutex();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #keeping_up = true;
  #cold_seen_ms = performance.now();
  #copies: Promise<UnsealedCopies> | undefined;
  #break: (error: TracehouseError) => void = () => undefined;
  /** Nothing can be read or written any more: the folder has to be opened anew. Error: warehouse-broken. */
  readonly broken = new Promise<TracehouseError>((resolve) => (this.#break = resolve));

  private constructor(options: WarehouseOptions, parts: WarehouseParts) {
    this.folder = parts.folder;
    this.read_only = options.read_only ?? false;
    this.#parts = parts;
    this.#pool = new ConnectionPool(parts.instance, QUERY_CONNECTIONS);
    this.#now = options.now ?? Date.now;
    this.#log = options.log ?? ((): void => undefined);
    this.#landing = new BatchLanding({ parts, now: this.#now, log: this.#log, storageError: (error) => this.#storageError(error) });
  }

  /** Errors: warehouse-locked, warehouse-missing, warehouse-version, warehouse-unwritable, disk-full, views-failed. */
  static async open(options: WarehouseOptions): Promise<Warehouse> {
    const parts = await openParts(options);
    const warehouse = new Warehouse(options, parts);
    try {
      await warehouse.#landing.learn();
    } catch (error) {
      await closeParts(parts);
      throw storageError(error, parts.folder);
    }
    const seal_every_ms = options.seal_every_ms ?? 5000;
    if (!warehouse.read_only && seal_every_ms > 0) {
      warehouse.#timer = setInterval(() => void warehouse.#keepUp(), seal_every_ms);
      warehouse.#timer.unref();
    }
    return warehouse;
  }

  #storageError(error: unknown): TracehouseError {
    const told = storageError(error, this.folder);
    if (told.code === 'warehouse-broken') this.#break(told);
    return told;
  }

  #watch(work: Promise<unknown>): void {
    work.catch((error: unknown) => isBroken(error) && this.#storageError(error));
  }

  #writers(): Readonly<Record<SegmentKind, SegmentWriter>> {
    if (this.#closed) throw new TracehouseError('warehouse-closed', `${this.folder} is closed`);
    if (this.#parts.segment_writers === null) throw new TracehouseError('warehouse-read-only', `${this.folder} is open for reading only`);
    return this.#parts.segment_writers;
  }

  /**
   * One transaction for all rows of the batch; a known (node, boot_id, run_id, sequence) changes nothing.
   * Some are written at the same time, and commit in the order asked for.
   * After an error nothing of it is there and it can be applied again. Errors: batch-invalid, batch-version, disk-full.
   */
  async apply(batch: Batch): Promise<ApplyResult> {
    return this.#writers().raw.writeBeside((segment, lane) => {
      this.#writers();
      return this.#landing.land(batch, segment, lane);
    }, ({ enumerations }) => enumerations !== undefined && outgrownBy(batch, enumerations).length > 0);
  }

  /** Trusted SQL on a pooled connection. bigint and integer parameters are bound as BIGINT. Files that it may name stay until it is over, however long it waits for its turn. */
  query(sql: string, params?: QueryParams): Promise<QueryResult> {
    const result = this.#pool.use((connection) => runQuery(connection, sql, params));
    this.#watch(result);
    this.holdFilesFor(result);
    return result;
  }

  /**
   * The files in which other processes find all rows: spans at most so old, raw events until they are sealed at the latest. Null: what is sealed.
   * wait_ms: for copies that DuckDB refuses to finish; missing_since_ms says what then is not there.
   */
  async visibleFiles(max_age_ms: number | null, wait_ms = Infinity): Promise<VisibleFiles> {
    this.#copies ??= this.#openCopies();
    return (await this.#copies).visible(max_age_ms, wait_ms);
  }

  async #openCopies(): Promise<UnsealedCopies> {
    const { catalog, exports, instance } = this.#parts;
    try {
      return new UnsealedCopies({ folder: this.folder, catalog, exports, connection: await instance.connect(), log: this.#log });
    } catch (error) {
      this.#copies = undefined; // whoever asks next tries again
      throw error;
    }
  }

  /** Folders of those files. */
  get data_folders(): readonly string[] {
    return this.#parts.data_folders;
  }

  /** While it lasts, files stay that a relation made before it may name (storedBetween and the like). */
  holdFilesFor(work: Promise<unknown>): void {
    this.#parts.catalog.holdFilesFor(work);
  }

  /** For readers that stream or hold a transaction; the caller closes it. */
  connect(): Promise<DuckDBConnection> {
    return this.#parts.instance.connect();
  }

  /**
   * A raw table as a relation to put after FROM, over only the segments that may hold rows of batches after apply_no, and by `to`:
   * what stored.<table> says of them, without the planning of a hundred files. Other rows have to be left out by
   * the reader. For use at once, or within the same withDerived.
   */
  storedSince(table: RelationName | 'batches', apply_no: bigint, to?: bigint): string {
    return storedSince(this.#parts.catalog, table, apply_no, to);
  }

  /** The same over the segments whose rows may lie in [from_ns, to_ns]; open ones always. */
  storedBetween(kind: SegmentKind, table: string, from_ns: bigint, to_ns: bigint): string {
    return storedBetween(this.#parts.catalog, kind, table, from_ns, to_ns);
  }

  /** The same, and what was exported and dropped. */
  keptBetween(kind: SegmentKind, table: string, from_ns: bigint, to_ns: bigint): string {
    return keptBetween(this.#parts, kind, table, from_ns, to_ns);
  }

  /**
   * The stored table of an indexed time, over only the files that may hold rows in one of these ranges. Other rows have to be
   * left out by the reader. For use at once.
   */
  keptWhere(indexed: IndexedTime, asked: readonly NsRange[]): string {
    return keptWhere(this.#parts, indexed, asked);
  }

  /** A long range in pieces, in order of time, of which each has about so many rows in the stored table of the indexed time. */
  windowsWhere(indexed: IndexedTime, range: NsRange, most_rows: number): NsRange[] {
    return windowsWhere(this.#parts, indexed, range, most_rows);
  }

  /** Start of the oldest span that is kept; null: there is none. */
  async oldestSpan(): Promise<bigint | null> {
    const { oldest_ns, unknown } = oldestKnown(this.#parts);
    const found = (await this.query(`SELECT min(start_ns) FROM ${unknown}`)).rows[0]?.[0] as bigint | null;
    return oldest_ns === null || (found !== null && found < oldest_ns) ? found : oldest_ns;
  }

  /** The public view as text around the stored table that it reads. */
  viewText(name: string): ViewText {
    const text = this.#parts.views.get(name);
    if (text === undefined) throw new RangeError(`the view ${name} does not read one stored table`);
    return text;
  }

  #indexTraces(): Promise<void> {
    const { catalog, exports, trace_index } = this.#parts;
    return trace_index.learn(() => catalog.segments, (uid) => exports.knows(uid));
  }

  /**
   * Runs fn while holding the derived segment's write lock, on a connection that is always the same one. `alias` is the
   * catalog of the open derived segment; working tables go to schema `live` of catalog `memory`. No seal or swap of
   * derived segments happens meanwhile, and no file that its views name goes. A transaction that fn leaves open when it
   * fails is rolled back.
   */
  async withDerived<T>(fn: (alias: string, connection: DuckDBConnection) => Promise<T>): Promise<T> {
    const { derived } = this.#parts.connections;
    const result = this.#writers().derived.write(async (open) => {
      this.#writers();
      await requireRoom(this.folder, WORK_BYTES);
      try {
        return await fn(open.alias, derived);
      } catch (error) {
        await derived.run('ROLLBACK').catch(() => undefined); // fails when there is nothing to roll back
        throw error;
      }
    });
    this.#watch(result);
    this.#parts.catalog.holdFilesFor(result);
    return result;
  }

  /** Within withDerived: one transaction for what work writes to the open segment, and another one where its file has no number for a text. */
  storeDerived(connection: DuckDBConnection, work: () => Promise<void>): Promise<void> {
    return storeInto(connection, this.#writers().derived.open, work);
  }

  /** Batches up to here have been correlated: later ones will be read. */
  noteRead(apply_no: bigint): void {
    this.#parts.keeper.read_to = apply_no;
  }

  /** Whether correlation lacks processors: files are put together at leisure then. */
  noteLoad(pressed: boolean): void {
    this.#parts.keeper.pressed = pressed;
  }

  /** The correlator has decided everything up to here: the open derived segment covers it. */
  noteCut(cut_ns: bigint): void {
    const { open } = this.#writers().derived;
    if (cut_ns > open.to_ns) open.to_ns = cut_ns;
  }

  /** Derived segments that may hold spans that end in [from_ns, to_ns], the open one too. */
  derivedSegments(from_ns: bigint, to_ns: bigint): DerivedSegment[] {
    return this.#parts.catalog
      .of('derived')
      .filter((segment) => segment.state !== 'spare' && segment.from_ns < segment.to_ns && segment.from_ns < to_ns && segment.to_ns >= from_ns)
      .map((segment) => ({ id: segment.uid, from_ns: segment.from_ns, to_ns: segment.to_ns, open: segment.state === 'open' }));
  }

  /**
   * Swaps the given derived segments for one newly written by fill: all rows of all derived tables, bookkeeping too.
   * An open one is sealed first, and a seal that is under way is waited for. With no ids, `range` says what the new one covers. Not to be called within withDerived.
   * Error segments-changed: an id is no longer there, ask derivedSegments again.
   */
  async replaceDerived(ids: readonly string[], fill: (alias: string, connection: DuckDBConnection) => Promise<void>, range?: { from_ns: bigint; to_ns: bigint }): Promise<void> {
    const { derived } = this.#writers();
    const { keeper, catalog } = this.#parts;
    await this.#sealing.run(async () => {
      if (catalog.of('derived').some(({ uid, state }) => state !== 'sealed' && ids.includes(uid))) await derived.seal(true);
    });
    await keeper.replaceDerived(ids, derived, range, (alias, connection) => {
      const filling = fill(alias, connection);
      catalog.holdFilesFor(filling);
      return filling;
    });
    await this.#indexTraces();
  }

  /** Part of history that is still to be correlated again: it outlives the process. */
  late(): Promise<{ from_ns: bigint; to_ns: bigint } | null> {
    return this.#parts.ledger.late();
  }

  /** Adds to it, or says with null that nothing is left of it. */
  noteLate(range: { from_ns: bigint; to_ns: bigint } | null): Promise<void> {
    const { ledger } = this.#parts;
    return this.#storing(range === null ? ledger.forgetLate() : ledger.noteLate(range.from_ns, range.to_ns));
  }

  /** Watermark and last-heard wall time of each run, of those that segments still know. */
  runs(): RunState[] {
    return this.#landing.runs.list();
  }

  /** Rows of the batches after this one; null: one of them is not of the last few. */
  rowsSince(apply_no: bigint): number | null {
    return this.#landing.rowsSince(apply_no);
  }

  get last_apply_no(): bigint {
    return this.#landing.last_apply_no;
  }

  get segments(): readonly Segment[] {
    return this.#parts.catalog.segments;
  }

  stats(): WarehouseStats {
    const count = (kind: SegmentKind): number => this.segments.filter((segment) => segment.kind === kind).length;
    const sizeOf = (segment: Segment): number => (segment.state === 'sealed' ? segment.bytes : (statSync(segment.path, { throwIfNoEntry: false })?.size ?? 0));
    return {
      segments: { raw: count('raw'), derived: count('derived') },
      bytes: this.segments.reduce((sum, segment) => sum + sizeOf(segment), 0),
      ...this.#landing.counts,
      last_apply_no: this.last_apply_no,
    };
  }

  #storing<T>(work: Promise<T>): Promise<T> {
    return work.catch((error: unknown) => {
      throw this.#storageError(error);
    });
  }

  async #keepUp(): Promise<void> {
    try {
      await this.#sealing.run(async () => {
        for (const kind of SEGMENT_KINDS) if (!this.#closed) await this.#writers()[kind].seal(false);
      });
      await this.#indexTraces();
      await this.#parts.keeper.compact();
      await this.#indexTraces();
      this.#keeping_up = true;
    } catch (error) {
      const { message } = this.#storageError(error);
      if (!this.#closed && this.#keeping_up) this.#log(`segments are sealed and put together later: ${message}`);
      this.#keeping_up = false;
    }
    await this.#lookAfterCold().catch((error: unknown) => this.#log(`exported files: ${this.#storageError(error).message}`));
  }

  async #lookAfterCold(): Promise<void> {
    const { places } = this.#parts.archive;
    if (performance.now() - this.#cold_seen_ms < COLD_LOOK_MS) return;
    this.#cold_seen_ms = performance.now();
    const { version } = places;
    await places.lookAgain();
    if (places.version !== version) await this.#parts.archive.show();
  }

  /** Seals what is open, now; settles when every row written so far is in a sealed file. */
  async seal(): Promise<void> {
    const writers = this.#writers();
    await this.#storing(
      this.#sealing.run(async () => {
        for (const kind of SEGMENT_KINDS) await writers[kind].seal(true);
        await this.#indexTraces();
      }),
    );
  }

  /** Puts small segments together, as it otherwise happens in the background. */
  async compact(): Promise<void> {
    this.#writers();
    await this.#storing(this.#parts.keeper.compactNow().then(() => this.#indexTraces()));
  }

  /** Drops every segment that ends before ns. */
  dropBefore(ns: bigint): Promise<DroppedFiles> {
    return this.drop((sealed) => sealed.filter((segment) => segment.to_ns < ns), () => 'asked');
  }

  /**
   * Drops the sealed segments that choose names, whole; their space is free when this settles. What they applied stays
   * known, and dropped_segments says what went and why.
   */
  async drop(choose: (sealed: readonly Segment[]) => readonly Segment[], reasonOf: (segment: Segment) => string): Promise<DroppedFiles> {
    this.#writers();
    const { keeper, ledger, exports } = this.#parts;
    return this.#storing(
      keeper.drop(choose, async (leaving) => {
        await this.#indexTraces(); // of what goes, too: its exported files are found by it
        await ledger.keep(this.#landing.applied, this.last_apply_no);
        await ledger.alone((connection) => keepProcesses(connection, leaving));
        await exports.noteDropped(leaving, reasonOf, BigInt(this.#now()) * 1_000_000n);
      }),
    );
  }

  /** While work runs, sealed segments stay what they are, but for those that it gathers: neighbours of one group become one. */
  async withSealed<T>(work: (sealed: readonly Segment[], gather: (segments: readonly Segment[]) => Promise<Segment>) => Promise<T>): Promise<T> {
    this.#writers();
    return this.#storing(this.#parts.keeper.hold((gather) => work(this.segments.filter((segment) => segment.state === 'sealed'), gather)));
  }

  get exports(): ExportLedger {
    return this.#parts.exports;
  }

  /** What was exported and dropped, here or elsewhere. */
  get archive(): ColdArchive {
    return this.#parts.archive;
  }

  /** Waits for what is under way, seals what is open, lets the folder go. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    const { catalog, tables, keeper, segment_writers, connections } = this.#parts;
    await keeper.close();
    await this.#sealing.run(async () => undefined);
    if (segment_writers !== null) await Promise.all([segment_writers.raw.idle(), segment_writers.derived.idle()]);
    await catalog.close();
    try {
      for (const segment of catalog.segments.filter((other) => other.state !== 'sealed')) await sealUnread(connections.sealer, catalog, tables, segment);
    } catch (error) {
      // Nothing is lost: its log is replayed at the next start.
      this.#log(`closed without sealing: ${storageError(error, this.folder).message}`);
    }
    this.#pool.closeSync();
    (await this.#copies?.catch(() => undefined))?.close();
    await closeParts(this.#parts);
  }
}
