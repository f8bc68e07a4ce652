// Other processes cannot open a file that is being written. So that they see the newest rows too, what is not sealed yet is
// copied into small files now and then, when somebody asks.
import { statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { checkpointWhenFree } from './checkpoint.ts';
import { sqlName } from './duckdb-instance.ts';
import { LEDGER_RELATIONS } from './export-ledger.ts';
import type { ExportLedger } from './export-ledger.ts';
import { LASTING_TABLES } from './lasting-processes.ts';
import { Mutex } from './mutex.ts';
import { OPEN_LAYOUT, removeDatabase } from './segment-catalog.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import { SEGMENT_KINDS, newUid } from './segment-names.ts';
import { countRows } from './segment-tables.ts';
import type { VisibleFiles, VisibleLedger, VisibleSegment } from './visible-files.ts';

/** Beyond so many rows it is left to sealing, which comes within seconds. Spans are few, and wanted at once. */
const MOST_RAW_ROWS = 50_000;
/** A process that was just told of a copy opens it well within this time. */
const KEEP_MS = 5000;

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
  readonly #mutex = new Mutex();
  readonly #old = new Set<NodeJS.Timeout>();
  #copies: readonly Copy[] = [];
  #failing = false;
  #ledger: { readonly version: number; readonly visible: VisibleLedger } | undefined;

  constructor(context: CopyContext) {
    this.#context = context;
  }

  /** All files of now, with copies that are at most so old; bigger raw ones only once they are sealed. Null: without copies of what is not sealed. */
  visible(max_age_ms: number | null): Promise<VisibleFiles> {
    return this.#mutex.run(async () => {
      const { catalog } = this.#context;
      await mkdir(join(this.#context.folder, 'tmp'), { recursive: true });
      // On a full disk what is there can still be asked for.
      if (max_age_ms !== null) await this.#renew(max_age_ms).then(() => this.#complain(null), (error: Error) => this.#complain(error));
      const ledger = await this.#ledgerCopy();
      // What was sealed meanwhile is there as itself.
      const sealed = SEGMENT_KINDS.flatMap((kind) => catalog.sealed(kind));
      const uids = new Set(sealed.map(({ uid }) => uid));
      this.#drop((copy) => uids.has(copy.of.uid));
      const copies = max_age_ms === null ? [] : this.#copies.flatMap(({ visible }) => visible ?? []);
      return { segments: [...sealed.map(visibleSegment), ...copies], cold: catalog.cold_files, ledger };
    });
  }

  #complain(error: Error | null): void {
    if (error !== null && !this.#failing) this.#context.log(`SQL does not see what is not sealed yet: ${error.message}`);
    this.#failing = error !== null;
  }

  async #renew(max_age_ms: number): Promise<void> {
    const now = performance.now();
    const copies: Copy[] = [];
    for (const segment of SEGMENT_KINDS.flatMap((kind) => this.#context.catalog.of(kind)).filter(({ state }) => state === 'open' || state === 'sealing')) {
      const known = this.#copies.find((copy) => copy.of === segment);
      const log_bytes = logBytes(segment);
      if (known === undefined || (now - known.made_ms > max_age_ms && known.log_bytes !== log_bytes)) copies.push(await this.#copy(segment, log_bytes));
      else copies.push(known);
    }
    this.#drop((copy) => !copies.includes(copy));
    this.#copies = copies;
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
  async #ledgerCopy(): Promise<VisibleLedger> {
    const { exports, catalog } = this.#context;
    const { version } = exports;
    if (this.#ledger?.version === version) return this.#ledger.visible;
    const before = this.#ledger;
    const statements = (alias: string): string[] => [
      ...LEDGER_RELATIONS.map((name) => `CREATE TABLE ${alias}.main.${name} AS FROM memory.stored.${name}`),
      ...LASTING_TABLES.map((name) => `CREATE TABLE ${alias}.main.lasting_${name} AS FROM ledger.lasting_${name}`),
    ];
    this.#ledger = { version, visible: await this.#write(catalog, statements) };
    if (before !== undefined) this.#removeLater(before.visible.path);
    return this.#ledger.visible;
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
      await checkpointWhenFree(connection, `copy_${id}`);
    } catch (error) {
      await connection.run('ROLLBACK').catch(() => undefined);
      throw error;
    } finally {
      await catalog.detach(`copy_${id}`).catch(() => undefined);
    }
    return { id, path };
  }

  #removeLater(path: string): void {
    const timer = setTimeout(() => {
      this.#old.delete(timer);
      void removeDatabase(path);
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
