// Other processes cannot open a file that is being written. So that they see the newest rows too, what is not sealed yet is
// copied into small files now and then, when somebody asks.
import { statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';
import { checkpointWhenFree } from './checkpoint.ts';
import { isBusy } from './duckdb-errors.ts';
import { sqlName } from './duckdb-instance.ts';
import { LEDGER_RELATIONS } from './export-ledger.ts';
import type { ExportLedger } from './export-ledger.ts';
import { LASTING_TABLES } from './lasting-processes.ts';
import { isOpenHere } from './open-here.ts';
import { Renewal } from './renewal.ts';
import { OPEN_LAYOUT, removeDatabase } from './segment-catalog.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import { SEGMENT_KINDS, newUid } from './segment-names.ts';
import { countRows } from './segment-tables.ts';
import type { VisibleFiles, VisibleLedger, VisibleSegment } from './visible-files.ts';

/** Beyond so many rows it is left to sealing, which comes within seconds. Spans are few, and wanted at once. */
const MOST_RAW_ROWS = 50_000;
/** A process that was just told of a copy opens it well within this time. */
const KEEP_MS = 5000;
const MOST_TRIES = 100;
const RETRY_MS = 50;

interface Copy {
  readonly of: Segment;
  readonly visible: VisibleSegment | null;
  readonly made_ms: number;
  /** Of the file when the copy was made; another after each commit. */
  readonly log_bytes: number;
}

export interface CopyContext {
  readonly folder: string;
  readonly catalog: SegmentCatalog;
  readonly exports: ExportLedger;
  /** Its own. */
  readonly connection: DuckDBConnection;
  readonly log: (line: string) => void;
}

export class UnsealedCopies {
  readonly #context: CopyContext;
  readonly #renewal = new Renewal((max_age_ms) => this.#renew(max_age_ms));
  readonly #old = new Set<NodeJS.Timeout>();
  #copies: readonly Copy[] = [];
  #ledger: { readonly version: number; readonly made_ms: number; readonly visible: VisibleLedger } | undefined;
  #failure: Error | null = null;

  constructor(context: CopyContext) {
    this.#context = context;
  }

  /**
   * All files of now, with copies that are at most so old; bigger raw ones only once they are sealed. Null: without copies of what is not sealed.
   * While DuckDB refuses to finish copies it waits for so long, and then says what is missing, as it does when they cannot be made.
   */
  async visible(max_age_ms: number | null, wait_ms: number): Promise<VisibleFiles> {
    const { catalog } = this.#context;
    const renewed = await this.#renewal.ask(max_age_ms ?? Infinity, wait_ms);
    if (this.#ledger === undefined) await this.#renewal.ask(Infinity, Infinity); // nothing can be read without it
    if (this.#ledger === undefined) throw this.#failure as Error;
    const unsealed = this.#unsealed();
    // What was sealed meanwhile is there as itself.
    this.#drop((copy) => !unsealed.includes(copy.of));
    const copies = max_age_ms === null ? [] : this.#copies.flatMap(({ visible }) => visible ?? []);
    const sealed = SEGMENT_KINDS.flatMap((kind) => catalog.sealed(kind));
    const missing_since_ms = max_age_ms === null || (renewed && this.#failure === null) ? null : this.#missingSince(max_age_ms, unsealed);
    return { segments: [...sealed.map(visibleSegment), ...copies], cold: catalog.cold_files, ledger: this.#ledger.visible, missing_since_ms };
  }

  #unsealed(): Segment[] {
    return this.#context.catalog.segments.filter(({ state }) => state === 'open' || state === 'sealing');
  }

  #missingSince(max_age_ms: number, unsealed: readonly Segment[]): number | null {
    const [now, to_wall_ms] = [performance.now(), Date.now() - performance.now()];
    const isOld = ({ made_ms }: { made_ms: number }): boolean => now - made_ms > max_age_ms;
    const since = unsealed.flatMap((segment) => {
      const copy = this.#copies.find(({ of }) => of === segment);
      if (copy === undefined) return [segment.born_ms];
      return isOld(copy) && copy.log_bytes !== logBytes(segment) ? [copy.made_ms + to_wall_ms] : [];
    });
    const ledger = this.#ledger;
    if (ledger !== undefined && ledger.version !== this.#context.exports.version && isOld(ledger)) since.push(ledger.made_ms + to_wall_ms);
    return since.length === 0 ? null : Math.min(...since);
  }

  async #renew(max_age_ms: number): Promise<void> {
    await mkdir(join(this.#context.folder, 'tmp'), { recursive: true });
    let failure: Error | null = null;
    for (const part of [() => this.#renewLedger(), () => this.#renewCopies(max_age_ms)]) await part().catch((error: Error) => (failure = error));
    this.#complain(failure);
  }

  #complain(failure: Error | null): void {
    if (failure !== null && this.#failure === null) this.#context.log(`SQL does not see what is not sealed yet: ${failure.message}`);
    this.#failure = failure;
  }

  async #renewCopies(max_age_ms: number): Promise<void> {
    if (max_age_ms === Infinity) return;
    const now = performance.now();
    for (const segment of this.#unsealed().toSorted((a, b) => SEGMENT_KINDS.indexOf(a.kind) - SEGMENT_KINDS.indexOf(b.kind))) {
      const known = this.#copies.find((copy) => copy.of === segment);
      const log_bytes = logBytes(segment);
      if (known !== undefined && (now - known.made_ms <= max_age_ms || known.log_bytes === log_bytes)) continue;
      const copy = await this.#copy(segment, log_bytes);
      this.#drop(({ of }) => of === segment);
      this.#copies = [...this.#copies, copy];
    }
  }

  #drop(which: (copy: Copy) => boolean): void {
    for (const copy of this.#copies) if (which(copy) && copy.visible !== null) this.#removeLater(copy.visible.path);
    this.#copies = this.#copies.filter((copy) => !which(copy));
  }

  async #copy(segment: Segment, log_bytes: number): Promise<Copy> {
    const { connection, catalog } = this.#context;
    const made_ms = performance.now();
    const rows = await countRows(connection, segment.alias);
    const tables = [...rows].filter(([, count]) => count > 0).map(([name]) => name);
    const total = [...rows.values()].reduce((sum, count) => sum + count, 0);
    if (tables.length === 0 || (segment.kind === 'raw' && total > MOST_RAW_ROWS)) return { of: segment, visible: null, made_ms, log_bytes };
    const statements = (alias: string): string[] => tables.map((name) => `CREATE TABLE ${alias}.main.${sqlName(name)} AS FROM ${sqlName(segment.alias)}.main.${sqlName(name)}`);
    const { id, path } = await this.#write(catalog, statements);
    return { of: segment, visible: { kind: segment.kind, id, path, tables, from_ns: String(segment.from_ns) }, made_ms, log_bytes };
  }

  /** Read again only after it has changed. */
  async #renewLedger(): Promise<void> {
    const { exports, catalog } = this.#context;
    const { version } = exports;
    if (this.#ledger?.version === version) return;
    const before = this.#ledger;
    const statements = (alias: string): string[] => [
      ...LEDGER_RELATIONS.map((name) => `CREATE TABLE ${alias}.main.${name} AS FROM memory.stored.${name}`),
      ...LASTING_TABLES.map((name) => `CREATE TABLE ${alias}.main.lasting_${name} AS FROM ledger.lasting_${name}`),
    ];
    const made_ms = performance.now();
    this.#ledger = { version, made_ms, visible: await this.#write(catalog, statements) };
    if (before !== undefined) this.#removeLater(before.visible.path);
  }

  /** A database made by these statements, closed and whole. */
  async #write(catalog: SegmentCatalog, statements: (alias: string) => string[]): Promise<VisibleLedger> {
    const { folder, connection } = this.#context;
    const id = newUid();
    const path = join(folder, 'tmp', `copy-${id}.duckdb`);
    const alias = sqlName(`copy_${id}`);
    await catalog.attachNew(path, `copy_${id}`, OPEN_LAYOUT);
    try {
      await connection.run(`BEGIN; ${statements(alias).join('; ')}; COMMIT`);
      await checkpointWhenFree(connection, `copy_${id}`, async (error) => isBusy(error) && this.#renewal.heldUp());
      await catalog.detach(`copy_${id}`);
      await this.#whenReleased(path);
    } catch (error) {
      await connection.run('ROLLBACK').catch(() => undefined);
      await catalog.detach(`copy_${id}`).catch(() => undefined);
      await removeDatabase(path);
      throw error;
    }
    return { id, path };
  }

  /** A transaction that has looked at it keeps it open, and other processes from reading it, until that is over. Error: segment-busy. */
  async #whenReleased(path: string): Promise<void> {
    for (let tries = 1; isOpenHere(path); tries += 1) {
      if (tries === MOST_TRIES) throw new TracehouseError('segment-busy', `${path} is still held by a transaction that began before it`);
      this.#renewal.heldUp();
      await delay(RETRY_MS);
    }
  }

  #removeLater(path: string): void {
    const timer = setTimeout(() => {
      this.#old.delete(timer);
      removeDatabase(path).catch((error: Error) => this.#context.log(`a copy stays until the next start: ${error.message}`));
    }, KEEP_MS);
    timer.unref();
    this.#old.add(timer);
  }

  /** Files that are left are removed with the folder's other temporary ones. */
  close(): void {
    for (const timer of this.#old) clearTimeout(timer);
    this.#context.connection.closeSync();
  }
}

/** What is not sealed is written to its log alone. */
const logBytes = ({ path }: Segment): number => statSync(`${path}.wal`, { throwIfNoEntry: false })?.size ?? 0;

function visibleSegment({ kind, uid, path, rows, from_ns }: Segment): VisibleSegment {
  return { kind, id: uid, path, tables: [...(rows ?? [])].filter(([, count]) => count > 0).map(([name]) => name), from_ns: String(from_ns) };
}
