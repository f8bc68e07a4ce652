// The public relations over files that other processes write: sealed segments, and copies of what is not sealed yet.
// Reads nothing else, writes nothing but its own folder for temporary files.
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { openInstance } from './duckdb-instance.ts';
import { runQuery } from './duckdb-query.ts';
import type { QueryParams, QueryResult } from './duckdb-query.ts';
import { SegmentCatalog } from './segment-catalog.ts';
import type { Segment } from './segment-catalog.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { SegmentTables, schemaFolder } from './segment-tables.ts';
import type { SqlSource } from './sql-source.ts';
import { createPublicViews } from './warehouse-parts.ts';

/** A file to read, as JSON can carry it. */
export interface VisibleSegment {
  readonly kind: SegmentKind;
  /** Of the file, not only of what it holds: a newer copy has another. */
  readonly id: string;
  readonly path: string;
  /** Tables that have rows. */
  readonly tables: readonly string[];
  readonly from_ns: string;
}

export interface ReaderOptions {
  readonly data_folder: string;
  /** Its own, for what does not fit into memory. */
  readonly folder: string;
  readonly memory_limit: string;
  readonly temp_limit: string;
  readonly threads: number;
}

export class SealedReader implements SqlSource {
  readonly folder: string;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #catalog: SegmentCatalog;
  readonly #shown = new Map<string, Segment>();

  private constructor(folder: string, instance: DuckDBInstance, connection: DuckDBConnection, catalog: SegmentCatalog) {
    this.folder = folder;
    this.#instance = instance;
    this.#connection = connection;
    this.#catalog = catalog;
  }

  static async open({ data_folder, folder, ...limits }: ReaderOptions): Promise<SealedReader> {
    const more_folders = [...SEGMENT_KINDS.map((kind) => join(data_folder, kind)), join(data_folder, 'tmp')];
    const instance = await openInstance({ folder, more_folders, ...limits });
    const connection = await instance.connect();
    await connection.run('CREATE SCHEMA memory.stored; CREATE SCHEMA memory.live');
    const tables = await SegmentTables.load(connection, schemaFolder());
    const catalog = new SegmentCatalog(connection, tables, { log: () => undefined, retire_after_ms: 0 });
    for (const kind of SEGMENT_KINDS) await catalog.publish(kind, () => []);
    await createPublicViews(connection, join(schemaFolder(), 'views'));
    return new SealedReader(folder, instance, connection, catalog);
  }

  /** From here on the relations are these files. Not to be called while a statement runs. */
  async show(wanted: readonly VisibleSegment[]): Promise<void> {
    const ids = new Set(wanted.map(({ id }) => id));
    const news = wanted.filter(({ id }) => !this.#shown.has(id));
    const gone = [...this.#shown].filter(([id]) => !ids.has(id));
    if (news.length === 0 && gone.length === 0) return;
    for (const { kind, id, path, tables, from_ns } of news) {
      const alias = `s_${id}`;
      await this.#catalog.attachReadOnly(path, alias);
      this.#shown.set(id, { kind, uid: id, level: 0, state: 'sealed', alias, path, from_ns: BigInt(from_ns), to_ns: BigInt(from_ns), rows: new Map(tables.map((name) => [name, 1])), bytes: 0, last_apply_no: null, born_ms: 0 });
    }
    for (const [id] of gone) this.#shown.delete(id);
    for (const kind of SEGMENT_KINDS) await this.#catalog.publish(kind, () => [...this.#shown.values()].filter((segment) => segment.kind === kind));
    for (const [, segment] of gone) await this.#catalog.detach(segment.alias);
  }

  query(sql: string, params?: QueryParams): Promise<QueryResult> {
    return runQuery(this.#connection, sql, params);
  }

  connect(): Promise<DuckDBConnection> {
    return this.#instance.connect();
  }
}
