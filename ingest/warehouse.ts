// The data folder and everything in it: batches in, segments sealed and rewritten, relations out.
import { mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';
import { RELATION_NAMES } from '../schema/relations.ts';
import type { Batch } from './batch.ts';
import { checkBatch } from './batch-check.ts';
import { requireRoom } from './disk-room.ts';
import { BatchRows } from './duckdb-batch-rows.ts';
import { isFatal, storageError } from './duckdb-errors.ts';
import { closeInstance, openInstance, sqlName } from './duckdb-instance.ts';
import { ConnectionPool, runQuery } from './duckdb-query.ts';
import type { QueryParams, QueryResult } from './duckdb-query.ts';
import { insertBatch } from './batch-insert.ts';
import { AppliedBatches } from './ledger.ts';
import { LedgerStore } from './ledger-store.ts';
import { Mutex } from './mutex.ts';
import { RunStates } from './run-states.ts';
import type { RunState } from './run-states.ts';
import type { Segment } from './segment-catalog.ts';
import { SegmentCatalog } from './segment-catalog.ts';
import { SEGMENT_KINDS, newUid, openName } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { attachFound } from './segment-recovery.ts';
import { eventRows, openAlias, sealUnread, sealWhileRead, totalRows } from './segment-seal.ts';
import { SegmentTables, countRows, sqlFiles } from './segment-tables.ts';

export type { QueryParams, QueryResult } from './duckdb-query.ts';
export type { RunState } from './run-states.ts';

export interface WarehouseOptions {
  readonly folder: string;
  readonly read_only?: boolean;
  readonly memory_limit?: string;
  readonly threads?: number;
  readonly seal_every_ms?: number;
  /** How long a file stays after the views stopped naming it. */
  readonly retire_after_ms?: number;
  /** Of spilled working memory, under DATA/tmp. */
  readonly temp_limit?: string;
  /** Folders besides the data folder that trusted SQL may reach. */
  readonly more_folders?: readonly string[];
  readonly now?: () => number;
  readonly log?: (line: string) => void;
}

export interface ApplyResult {
  readonly status: 'applied' | 'duplicate';
  /** Of the batch just applied; of the last one applied when this was a duplicate. */
  readonly apply_no: bigint;
}

/** An open segment with nothing but bookkeeping in it is sealed this rarely. */
const QUIET_SEAL_MS = 60_000;
const QUERY_CONNECTIONS = 6;

/** Folders open in this process: DuckDB's file lock is the process's, it would not stop a second Warehouse here. */
const open_folders = new Set<string>();

interface Parts {
  readonly folder: string;
  readonly instance: DuckDBInstance;
  readonly catalog: SegmentCatalog;
  readonly tables: SegmentTables;
  readonly ledger: LedgerStore;
  readonly maintenance: DuckDBConnection;
  readonly writer: DuckDBConnection;
  readonly derived_writer: DuckDBConnection;
  readonly sealer: DuckDBConnection;
  readonly rows: BatchRows;
}

export class Warehouse {
  readonly folder: string;
  readonly read_only: boolean;
  readonly #parts: Parts;
  readonly #pool: ConnectionPool;
  readonly #now: () => number;
  readonly #log: (line: string) => void;
  readonly #applied = new AppliedBatches();
  readonly #runs = new RunStates();
  readonly #writing: Record<SegmentKind, Mutex> = { raw: new Mutex(), derived: new Mutex() };
  readonly #sealing = new Mutex();
  readonly #open = new Map<SegmentKind, Segment>();
  readonly #spare = new Map<SegmentKind, Segment>();
  readonly #sealed_at: Record<SegmentKind, number>;
  #last_apply_no = 0n;
  #cut_ns = 0n;
  #counts = { applied: 0, duplicates: 0, rows: 0 };
  #reading_derived: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: WarehouseOptions, parts: Parts) {
    this.folder = parts.folder;
    this.read_only = options.read_only ?? false;
    this.#parts = parts;
    this.#pool = new ConnectionPool(parts.instance, QUERY_CONNECTIONS);
    this.#now = options.now ?? Date.now;
    this.#log = options.log ?? (() => undefined);
    this.#sealed_at = { raw: this.#now(), derived: this.#now() };
    parts.catalog.readersGone = () => this.#reading_derived;
  }

  /** Errors: warehouse-locked, warehouse-missing, warehouse-version, warehouse-unwritable, disk-full. */
  static async open(options: WarehouseOptions): Promise<Warehouse> {
    const read_only = options.read_only ?? false;
    let folder = options.folder;
    let instance: DuckDBInstance | undefined;
    let taken = false;
    try {
      if (!read_only) for (const kind of [...SEGMENT_KINDS, 'tmp']) mkdirSync(join(folder, kind), { recursive: true });
      try {
        folder = realpathSync(folder);
      } catch {
        throw new TracehouseError('warehouse-missing', `${folder} does not exist`, { mend: 'name the folder that `tracehouse up` or `serve` wrote with --data' });
      }
      if (open_folders.has(folder)) {
        throw new TracehouseError('warehouse-locked', `${folder} is in use by process ${process.pid}`, { mend: 'this very process has it open already' });
      }
      open_folders.add(folder);
      taken = true;
      if (!read_only) await requireRoom(folder, 0);
      instance = await openInstance({
        folder,
        memory_limit: options.memory_limit ?? '512MB',
        threads: options.threads ?? 2,
        temp_limit: options.temp_limit ?? '2GB',
        more_folders: options.more_folders ?? [],
      });
      const maintenance = await instance.connect();
      const ledger = await LedgerStore.open(maintenance, folder, read_only);
      await maintenance.run('CREATE SCHEMA memory.stored; CREATE SCHEMA memory.live');
      const tables = await SegmentTables.load(maintenance);
      const catalog = new SegmentCatalog(maintenance, tables, { log: options.log ?? (() => undefined), retire_after_ms: options.retire_after_ms ?? 1000 });
      const rows = new BatchRows();
      const writer = await instance.connect();
      rows.register(writer);
      const warehouse = new Warehouse(options, {
        folder, instance, catalog, tables, ledger, maintenance, writer, rows,
        derived_writer: await instance.connect(),
        sealer: await instance.connect(),
      });
      await warehouse.#start(options.seal_every_ms ?? 5000);
      return warehouse;
    } catch (error) {
      if (taken) open_folders.delete(folder);
      if (instance !== undefined) await closeInstance(instance);
      throw storageError(error, folder);
    }
  }

  async #start(seal_every_ms: number): Promise<void> {
    const { catalog, tables, sealer, ledger, maintenance, folder } = this.#parts;
    for (const kind of SEGMENT_KINDS) {
      const segments = await attachFound({ folder, kind, read_only: this.read_only, connection: sealer, catalog, tables, log: this.#log });
      if (kind === 'derived') this.#cut_ns = segments.reduce((cut, segment) => (segment.to_ns > cut ? segment.to_ns : cut), 0n);
      if (!this.read_only) {
        const open = await this.#createSegment(kind, 'open');
        const spare = await this.#createSegment(kind, 'spare');
        this.#open.set(kind, open);
        this.#spare.set(kind, spare);
        segments.push(open, spare);
      }
      await catalog.publish(kind, () => segments);
    }
    for (const { name, sql } of sqlFiles('schema', 'views')) {
      try {
        await maintenance.run(sql);
      } catch (error) {
        throw new TracehouseError('views-failed', `schema/views/${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    this.#last_apply_no = await ledger.load(this.#applied, 'memory.stored.batches');
    await this.#runs.load(maintenance, 'memory.stored.batches');
    if (!this.read_only && seal_every_ms > 0) {
      this.#timer = setInterval(() => void this.#sealDue(), seal_every_ms);
      this.#timer.unref();
    }
  }

  async #createSegment(kind: SegmentKind, state: 'open' | 'spare'): Promise<Segment> {
    const uid = newUid();
    const segment: Segment = {
      kind, uid, level: 0, state, alias: openAlias(kind, uid), path: join(this.folder, kind, openName(uid)),
      from_ns: kind === 'derived' ? this.#cut_ns : BigInt(this.#now()) * 1_000_000n,
      to_ns: kind === 'derived' ? this.#cut_ns : BigInt(this.#now()) * 1_000_000n,
      rows: null, bytes: 0,
    };
    await this.#parts.catalog.create(segment.path, kind, segment.alias);
    return segment;
  }

  /** One transaction for all rows of the batch; known (node, boot_id, run_id, sequence) changes nothing. */
  apply(batch: Batch): Promise<ApplyResult> {
    return this.#writing.raw.run(async () => {
      this.#requireWritable();
      if (this.#applied.has(batch, batch.sequence)) {
        this.#counts.duplicates += 1;
        return { status: 'duplicate', apply_no: this.#last_apply_no };
      }
      checkBatch(batch);
      const { writer, rows } = this.#parts;
      const segment = this.#open.get('raw') as Segment;
      const apply_no = this.#last_apply_no + 1n;
      try {
        await requireRoom(this.folder, RELATION_NAMES.reduce((sum, name) => sum + (batch.tables[name]?.rows ?? 0) * 256, 0));
        this.#counts.rows += await insertBatch(writer, rows, segment.alias, batch, apply_no);
      } catch (error) {
        if (isFatal(error)) await this.#reattach(segment);
        if (!(await this.#hasLanded(batch, apply_no))) throw storageError(error, this.folder);
      }
      this.#applied.add(batch, batch.sequence);
      this.#last_apply_no = apply_no;
      this.#runs.note(batch, this.#now());
      this.#counts.applied += 1;
      return { status: 'applied', apply_no };
    });
  }

  /** A commit that reported an error may still be in the log. */
  async #hasLanded(batch: Batch, apply_no: bigint): Promise<boolean> {
    const segment = this.#open.get('raw') as Segment;
    const found = await this.#parts.writer
      .run(`SELECT 1 FROM ${sqlName(segment.alias)}.main.batches WHERE apply_no = ${apply_no} AND run_id = ${batch.run_id} AND sequence = ${batch.sequence}`)
      .catch(() => null);
    return found !== null && (await found.getRows()).length > 0;
  }

  /** After an error that made DuckDB give up on the file: open it again, from its write-ahead log. */
  async #reattach(segment: Segment): Promise<void> {
    const { catalog } = this.#parts;
    try {
      await catalog.detach(segment.alias);
      await catalog.attachWritable(segment.path, segment.alias);
    } catch (error) {
      this.#log(`could not open ${segment.path} again: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #requireWritable(): void {
    if (this.#closed) throw new TracehouseError('warehouse-closed', `${this.folder} is closed`);
    if (this.read_only) throw new TracehouseError('warehouse-read-only', `${this.folder} is open for reading only`);
  }

  /** Trusted SQL on a pooled connection. bigint and integer parameters are bound as BIGINT. */
  query(sql: string, params?: QueryParams): Promise<QueryResult> {
    return this.#pool.use((connection) => runQuery(connection, sql, params));
  }

  /** For readers that stream or hold a transaction; the caller closes it. */
  connect(): Promise<DuckDBConnection> {
    return this.#parts.instance.connect();
  }

  /**
   * Runs fn while holding the derived segment's write lock, on a connection that is always the same one. `alias` is the
   * catalog of the open derived segment; working tables go to schema `live` of catalog `memory`. No seal or swap of
   * derived segments happens meanwhile. A transaction that fn leaves open is rolled back.
   */
  withDerived<T>(fn: (alias: string, connection: DuckDBConnection) => Promise<T>): Promise<T> {
    const result = this.#writing.derived.run(async () => {
      this.#requireWritable();
      const { derived_writer } = this.#parts;
      try {
        return await fn((this.#open.get('derived') as Segment).alias, derived_writer);
      } finally {
        await derived_writer.run('ROLLBACK').catch(() => undefined);
      }
    });
    this.#reading_derived = result.catch(() => undefined);
    return result;
  }

  /** The correlator has decided everything up to here: the open derived segment covers it. */
  noteCut(cut_ns: bigint): void {
    if (cut_ns <= this.#cut_ns) return;
    this.#cut_ns = cut_ns;
    const open = this.#open.get('derived');
    if (open !== undefined) open.to_ns = cut_ns;
  }

  /** Watermark and last-heard wall time of each run, of those that segments still know. */
  runs(): RunState[] {
    return this.#runs.list();
  }

  get last_apply_no(): bigint {
    return this.#last_apply_no;
  }

  get segments(): readonly Segment[] {
    return this.#parts.catalog.segments;
  }

  stats(): { segments: Record<SegmentKind, number>; bytes: number; applied: number; duplicates: number; rows: number; last_apply_no: bigint } {
    const segments = this.segments;
    return {
      segments: { raw: segments.filter((s) => s.kind === 'raw').length, derived: segments.filter((s) => s.kind === 'derived').length },
      bytes: segments.reduce((sum, segment) => sum + segment.bytes, 0),
      ...this.#counts,
      last_apply_no: this.#last_apply_no,
    };
  }

  async #sealDue(): Promise<void> {
    try {
      await this.#sealing.run(async () => {
        for (const kind of SEGMENT_KINDS) await this.#sealKind(kind, false);
      });
    } catch (error) {
      this.#log(`sealing waits: ${storageError(error, this.folder).message}`);
    }
  }

  /** Seals what is open, now; settles when every row applied so far is in a sealed file. */
  seal(): Promise<void> {
    return this.#sealing.run(async () => {
      this.#requireWritable();
      for (const kind of SEGMENT_KINDS) await this.#sealKind(kind, true);
    });
  }

  async #sealKind(kind: SegmentKind, now: boolean): Promise<void> {
    if (this.#closed) return;
    const { catalog, tables, sealer } = this.#parts;
    // What an earlier attempt (a full disk) left behind goes first.
    for (const segment of catalog.of(kind).filter((other) => other.state === 'sealing')) await sealWhileRead(sealer, catalog, tables, segment);
    const rows = await countRows(sealer, (this.#open.get(kind) as Segment).alias);
    if (totalRows(rows) === 0) return;
    const quiet = eventRows(rows) === 0 && this.#now() - this.#sealed_at[kind] < QUIET_SEAL_MS;
    if (quiet && !now) return;
    await requireRoom(this.folder, totalRows(rows) * 256);
    await this.#ensureSpare(kind);
    const closing = await this.#writing[kind].run(async () => {
      const open = this.#open.get(kind) as Segment;
      const spare = this.#spare.get(kind) as Segment;
      open.state = 'sealing';
      spare.state = 'open';
      if (kind === 'derived') spare.from_ns = spare.to_ns = open.to_ns;
      this.#open.set(kind, spare);
      this.#spare.delete(kind);
      return open;
    });
    this.#sealed_at[kind] = this.#now();
    const spare = await this.#createSegment(kind, 'spare');
    this.#spare.set(kind, spare);
    // The spare becomes visible in the same change of views that swaps the sealed one in.
    await sealWhileRead(sealer, catalog, tables, closing, [spare]);
  }

  async #ensureSpare(kind: SegmentKind): Promise<void> {
    const { catalog } = this.#parts;
    const spare = this.#spare.get(kind) ?? (await this.#createSegment(kind, 'spare'));
    this.#spare.set(kind, spare);
    if (!catalog.segments.includes(spare)) await catalog.publish(kind, (segments) => [...segments, spare]);
  }

  /** Waits for what is under way, seals what is open, lets the folder go. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    const { catalog, tables, sealer, ledger, instance, maintenance, writer, derived_writer } = this.#parts;
    for (const mutex of [this.#sealing, this.#writing.raw, this.#writing.derived]) await mutex.run(async () => undefined);
    await catalog.settled();
    try {
      for (const segment of catalog.segments.filter((other) => other.state !== 'sealed')) await sealUnread(sealer, catalog, tables, segment);
    } catch (error) {
      // Nothing is lost: its log is replayed at the next start.
      this.#log(`closing without sealing: ${storageError(error, this.folder).message}`);
    }
    await ledger.close().catch(() => undefined);
    for (const connection of [maintenance, writer, derived_writer, sealer]) connection.closeSync();
    this.#pool.closeSync();
    await closeInstance(instance);
    open_folders.delete(this.folder);
  }
}
