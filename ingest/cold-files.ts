// Exported files that stand in for segments that retention has dropped. memory.kept.<table> is what is stored here and what
// lies in them, as if nothing had ever been dropped; memory.stored.<table> is what is stored here alone.
import { createHash } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlName, sqlText } from './duckdb-instance.ts';
import { runQuery } from './duckdb-query.ts';
import type { ColdFile, ExportLedger } from './export-ledger.ts';
import { readColumns, writtenColumns } from './parquet-columns.ts';
import type { StoredColumn } from './parquet-columns.ts';
import type { Segment } from './segment-catalog.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { templateSchema } from './segment-tables.ts';
import type { SegmentTables } from './segment-tables.ts';

export interface ColdOptions {
  readonly folder: string;
  readonly read_only: boolean;
  readonly exports: ExportLedger;
  readonly tables: SegmentTables;
  /** Folders besides the data folder that DuckDB may read; it can be told no others after its start. */
  readonly reachable: readonly string[];
  readonly log: (line: string) => void;
}

/** Views memory.kept.<table> of a kind, kept up to date with its segments. */
export interface KeptViews {
  /** Statements that bring the views of a kind up to date with its segments; none when nothing has changed. */
  changedViews(kind: SegmentKind, segments: readonly Segment[]): string[];
  /** A failed publication has changed no view. */
  forget(): void;
  /** Files that the views name besides the segments. Another list when it has changed. */
  readonly files: readonly TableFiles[];
}

/** Parquet files with rows of a stored table. */
export interface TableFiles {
  readonly kind: SegmentKind;
  readonly table: string;
  readonly paths: readonly string[];
}

export type ColumnsOfTables = ReadonlyMap<string, StoredColumn[]>;

/** Of all tables of segments; their templates are there. */
export async function columnsOfTables(connection: DuckDBConnection): Promise<ColumnsOfTables> {
  const found = new Map<string, StoredColumn[]>();
  for (const kind of SEGMENT_KINDS) {
    const { rows } = await runQuery(connection, "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = 'memory' AND schema_name = $1 ORDER BY column_index", [templateSchema(kind)]);
    for (const [table, name, type] of rows as [string, string, string][]) found.set(table, [...(found.get(table) ?? []), { name, type }]);
  }
  return found;
}

/** Rows of exported files in the columns of their table; null: no files. */
export function relationOfFiles({ kind, table, paths }: TableFiles, all_columns: ColumnsOfTables): string | null {
  const columns = all_columns.get(table);
  if (paths.length === 0 || columns === undefined) return null;
  const shape = `SELECT ${writtenColumns(table, columns)} FROM memory.${templateSchema(kind)}.${sqlName(table)}`;
  return `SELECT ${readColumns(columns)} FROM (${shape} UNION ALL BY NAME SELECT * FROM read_parquet([${paths.map(sqlText).join(', ')}], union_by_name = true, hive_partitioning = false))`;
}

export const keptView = (table: string, files: string | null): string => `FROM memory.stored.${sqlName(table)}${files === null ? '' : ` UNION ALL BY NAME ${files}`}`;

export class ColdFiles implements KeptViews {
  readonly #options: ColdOptions;
  readonly #columns: ColumnsOfTables;
  readonly #files = new Map<string, TableFiles>();
  /** Text of each view as it is now. */
  readonly #views = new Map<string, string>();
  readonly #complained = new Set<string>();
  #live: Readonly<Record<SegmentKind, ReadonlySet<string>>> = { raw: new Set(), derived: new Set() };

  files: readonly TableFiles[] = [];

  private constructor(options: ColdOptions, columns: ColumnsOfTables) {
    this.#options = options;
    this.#columns = columns;
  }

  static async open(connection: DuckDBConnection, options: ColdOptions): Promise<ColdFiles> {
    // Names of an earlier start: DuckDB reaches those folders themselves by now.
    if (!options.read_only) rmSync(join(options.folder, 'cold'), { recursive: true, force: true });
    await connection.run('CREATE SCHEMA memory.kept');
    return new ColdFiles(options, await columnsOfTables(connection));
  }

  changedViews(kind: SegmentKind, segments: readonly Segment[]): string[] {
    // What is here is read here: a file whose segment has not gone yet, or has come back after a crash, would be read twice.
    const live = new Set(segments.flatMap(({ uid, lineage }) => [uid, ...(lineage?.carries ?? []), ...(lineage?.supersedes ?? [])]));
    this.#live = { ...this.#live, [kind]: live };
    const statements: string[] = [];
    for (const { name } of this.#options.tables.of(kind)) {
      const files = this.#filesOf(kind, name, () => true);
      const text = keptView(name, relationOfFiles(files, this.#columns));
      if (this.#views.get(name) === text) continue;
      this.#views.set(name, text);
      this.#files.set(name, files);
      this.files = [...this.#files.values()].filter(({ paths }) => paths.length > 0);
      statements.push(`CREATE OR REPLACE VIEW memory.kept.${sqlName(name)} AS ${text}`);
    }
    return statements;
  }

  forget(): void {
    this.#views.clear();
  }

  /** Rows of files that may lie in [from_ns, to_ns]; null: none. */
  between(kind: SegmentKind, table: string, from_ns: bigint, to_ns: bigint): string | null {
    return relationOfFiles(this.#filesOf(kind, table, ({ min_ns, max_ns }) => (min_ns === null || min_ns <= to_ns) && (max_ns === null || max_ns >= from_ns)), this.#columns);
  }

  /** Rows of the files that fit, by the segment that they were; null: none. */
  ofSegments(kind: SegmentKind, table: string, fits: (uid: string) => boolean): string | null {
    return relationOfFiles(this.#filesOf(kind, table, ({ segment_uid }) => fits(segment_uid)), this.#columns);
  }

  /** Whose files of the table are read. */
  segmentsOf(kind: SegmentKind, table: string): string[] {
    return this.#fittingFiles(kind, table, () => true).map((file) => file.segment_uid);
  }

  #fittingFiles(kind: SegmentKind, table: string, fits: (file: ColdFile) => boolean): ColdFile[] {
    return this.#options.exports.coldFiles(table).filter((file) => !this.#live[kind].has(file.segment_uid) && fits(file));
  }

  #filesOf(kind: SegmentKind, table: string, fits: (file: ColdFile) => boolean): TableFiles {
    return { kind, table, paths: this.#fittingFiles(kind, table, fits).map((file) => this.#pathOf(file)).filter((path) => path !== null) };
  }

  /** Where DuckDB can read it; null, and a line in the log, when it cannot. */
  #pathOf(file: ColdFile): string | null {
    const path = join(file.destination, file.path);
    if (!existsSync(path)) return this.#unreadable(path, 'it is not there');
    if (path.startsWith(`${this.#options.folder}/`) || this.#options.reachable.includes(file.destination)) return path;
    // The export is younger than this process: until the next start the file has a second name in the data folder.
    const own = join(this.#options.folder, 'cold', `${createHash('sha256').update(path).digest('hex').slice(0, 32)}.parquet`);
    try {
      if (!existsSync(own)) {
        mkdirSync(join(this.#options.folder, 'cold'), { recursive: true });
        linkSync(path, own);
      }
      return own;
    } catch (error) {
      return this.#unreadable(path, `it can be read after the next start (${(error as Error).message})`);
    }
  }

  #unreadable(path: string, why: string): null {
    if (!this.#complained.has(path)) this.#options.log(`rows that were exported to ${path} are left out of answers: ${why}`);
    this.#complained.add(path);
    return null;
  }
}
