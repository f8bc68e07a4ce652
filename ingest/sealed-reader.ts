// The public relations over files that other processes write: sealed segments, copies of what is not sealed yet, exported files.
// Reads nothing else, writes nothing but its own folder for temporary files.
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';
import { columnsOfTables, keptView, relationOfFiles } from './cold-files.ts';
import type { ColumnsOfTables, KeptViews, TableFiles } from './cold-files.ts';
import { openInstance, sqlName } from './duckdb-instance.ts';
import { runQuery } from './duckdb-query.ts';
import type { QueryParams, QueryResult } from './duckdb-query.ts';
import { LEDGER_RELATIONS, createLedgerTables } from './export-ledger.ts';
import { LASTING_TABLES } from './lasting-processes.ts';
import { SegmentCatalog } from './segment-catalog.ts';
import type { Segment } from './segment-catalog.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { SegmentTables, schemaFolder } from './segment-tables.ts';
import type { SqlSource } from './sql-source.ts';
import type { VisibleFiles, VisibleLedger, VisibleSegment } from './visible-files.ts';
import { createPublicViews } from './warehouse-parts.ts';

export interface ReaderOptions {
  /** Folders of the files that it will be shown. */
  readonly data_folders: readonly string[];
  /** Its own, for what does not fit into memory. */
  readonly folder: string;
  readonly memory_bytes: number;
  readonly temp_bytes: number;
  readonly threads: number;
}

/** The files are those that it is given. */
class GivenFiles implements KeptViews {
  readonly #tables: SegmentTables;
  readonly #columns: ColumnsOfTables;
  readonly #views = new Map<string, string>();
  files: readonly TableFiles[] = [];

  constructor(tables: SegmentTables, columns: ColumnsOfTables) {
    this.#tables = tables;
    this.#columns = columns;
  }

  changedViews(kind: SegmentKind): string[] {
    const statements: string[] = [];
    for (const { name } of this.#tables.of(kind)) {
      const files = this.files.find(({ table }) => table === name);
      const text = keptView(name, files === undefined ? null : relationOfFiles(files, this.#columns));
      if (this.#views.get(name) === text) continue;
      this.#views.set(name, text);
      statements.push(`CREATE OR REPLACE VIEW memory.kept.${sqlName(name)} AS ${text}`);
    }
    return statements;
  }

  published(): void {}

  async forget(): Promise<void> {
    this.#views.clear();
  }
}

interface ReaderParts {
  readonly instance: DuckDBInstance;
  readonly connection: DuckDBConnection;
  readonly catalog: SegmentCatalog;
  readonly cold: GivenFiles;
  /** Relation to add to a stored table. */
  readonly lasting: Map<string, string>;
}

export class SealedReader implements SqlSource {
  readonly folder: string;
  readonly #parts: ReaderParts;
  readonly #shown = new Map<string, Segment>();
  #ledger: string | undefined;

  private constructor(folder: string, parts: ReaderParts) {
    this.folder = folder;
    this.#parts = parts;
  }

  static async open({ data_folders, folder, memory_bytes, temp_bytes, threads }: ReaderOptions): Promise<SealedReader> {
    const instance = await openInstance({ folder, more_folders: data_folders, memory_limit: `${memory_bytes}B`, temp_limit: `${temp_bytes}B`, threads });
    const connection = await instance.connect();
    await connection.run('CREATE SCHEMA memory.stored; CREATE SCHEMA memory.kept; CREATE SCHEMA memory.live; CREATE SCHEMA memory.no_ledger');
    await createLedgerTables(connection, 'memory.no_ledger');
    for (const name of LEDGER_RELATIONS) await connection.run(`CREATE VIEW memory.stored.${name} AS FROM memory.no_ledger.${name}`);
    const tables = await SegmentTables.load(connection, schemaFolder());
    const cold = new GivenFiles(tables, await columnsOfTables(connection));
    const lasting = new Map<string, string>();
    const catalog = new SegmentCatalog(connection, tables, { log: () => undefined, retire_after_ms: 0, cold, lasting });
    for (const kind of SEGMENT_KINDS) await catalog.publish(kind, () => []);
    await createPublicViews(connection, join(schemaFolder(), 'views'), tables);
    await connection.run('SET GLOBAL external_threads = 0');
    await connection.run('SET GLOBAL lock_configuration = true');
    return new SealedReader(folder, { instance, connection, catalog, cold, lasting });
  }

  /** From here on the relations are these files. Not to be called while a statement runs. Error: files-gone, when it was told too late. */
  async show({ segments, cold, ledger }: VisibleFiles): Promise<void> {
    const { catalog } = this.#parts;
    const ids = new Set(segments.map(({ id }) => id));
    const news = segments.filter(({ id }) => !this.#shown.has(id));
    const gone = [...this.#shown].filter(([id]) => !ids.has(id)).map(([, segment]) => segment);
    const new_ledger = ledger.id !== this.#ledger;
    if (news.length + gone.length === 0 && cold === this.#parts.cold.files && !new_ledger) return;
    for (const segment of news) this.#shown.set(segment.id, await this.#attach(segment));
    for (const { uid } of gone) this.#shown.delete(uid);
    const old_ledger = new_ledger ? await this.#attachLedger(ledger) : undefined;
    this.#parts.cold.files = cold;
    for (const kind of SEGMENT_KINDS) await catalog.publish(kind, () => [...this.#shown.values()].filter((segment) => segment.kind === kind));
    for (const segment of gone) await catalog.detach(segment.alias);
    if (old_ledger !== undefined) await catalog.detach(old_ledger);
  }

  async #attachFile(path: string, alias: string): Promise<void> {
    await this.#parts.catalog.attachReadOnly(path, alias).catch((error: unknown) => {
      throw new TracehouseError('files-gone', `${path} cannot be read`, { cause: error });
    });
  }

  async #attach({ kind, id, path, tables, from_ns }: VisibleSegment): Promise<Segment> {
    const alias = `s_${id}`;
    await this.#attachFile(path, alias);
    const rows = new Map(tables.map((name) => [name, 1]));
    return { kind, uid: id, level: 0, state: 'sealed', alias, path, from_ns: BigInt(from_ns), to_ns: BigInt(from_ns), rows, bytes: 0, last_apply_no: null, born_ms: 0 };
  }

  /** The alias of the copy before. */
  async #attachLedger({ id, path }: VisibleLedger): Promise<string | undefined> {
    const { connection, lasting } = this.#parts;
    const alias = `ledger_${id}`;
    await this.#attachFile(path, alias);
    for (const name of LEDGER_RELATIONS) await connection.run(`CREATE OR REPLACE VIEW memory.stored.${name} AS FROM ${alias}.main.${name}`);
    for (const name of LASTING_TABLES) lasting.set(name, `SELECT * FROM ${alias}.main.${sqlName(`lasting_${name}`)}`);
    const before = this.#ledger;
    this.#ledger = id;
    return before === undefined ? undefined : `ledger_${before}`;
  }

  query(sql: string, params?: QueryParams): Promise<QueryResult> {
    return runQuery(this.#parts.connection, sql, params);
  }

  connect(): Promise<DuckDBConnection> {
    return this.#parts.instance.connect();
  }

  close(): void {
    this.#parts.connection.closeSync();
    this.#parts.instance.closeSync();
  }
}
