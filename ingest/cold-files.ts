// Exported files that stand in for segments that retention has dropped. memory.kept.<table> is what is stored here and what
// lies in them, as if nothing had ever been dropped; memory.stored.<table> is what is stored here alone.
import type { DuckDBConnection } from '@duckdb/node-api';
import { noteAway } from './away-files.ts';
import type { ColdPlaces } from './cold-places.ts';
import { sqlName, sqlText } from './duckdb-instance.ts';
import { runQuery } from './duckdb-query.ts';
import type { ColdFile, ExportLedger } from './export-ledger.ts';
import { formerColumns, readColumns, writtenColumns } from './parquet-columns.ts';
import type { StoredColumn } from './parquet-columns.ts';
import type { Segment } from './segment-catalog.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { templateSchema } from './segment-tables.ts';
import type { SegmentTables } from './segment-tables.ts';

export interface ColdOptions {
  readonly exports: ExportLedger;
  readonly tables: SegmentTables;
  readonly places: ColdPlaces;
}

/** Views memory.kept.<table> of a kind, kept up to date with its segments. */
export interface KeptViews {
  /** Statements that bring the views of a kind up to date with its segments; none when nothing has changed. */
  changedViews(kind: SegmentKind, segments: readonly Segment[]): string[];
  /** These are the segments of the kind now, and the views are those of changedViews. */
  published(kind: SegmentKind, segments: readonly Segment[]): void;
  /** A failed publication has changed no view; whether files have gone is looked up again. */
  forget(): Promise<void>;
  /** Files that the views name besides the segments. Another list when it has changed. */
  readonly files: readonly TableFiles[];
}

/** Parquet files with rows of a stored table. */
export interface TableFiles {
  readonly kind: SegmentKind;
  readonly table: string;
  readonly groups: readonly FileGroup[];
}

export interface FileGroup {
  /** All have the columns of the first: DuckDB need not open each of them to plan a statement. */
  readonly alike: boolean;
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
export function relationOfFiles({ kind, table, groups }: TableFiles, all_columns: ColumnsOfTables): string | null {
  const columns = all_columns.get(table);
  if (groups.length === 0 || columns === undefined) return null;
  const shape = `SELECT ${writtenColumns(table, columns)}${formerColumns(table)} FROM memory.${templateSchema(kind)}.${sqlName(table)}`;
  const read = groups.map(({ alike, paths }) => `SELECT * FROM read_parquet([${paths.map(sqlText).join(', ')}], union_by_name = ${!alike}, hive_partitioning = false)`);
  return `SELECT ${readColumns(table, columns)} FROM (${[shape, ...read].join(' UNION ALL BY NAME ')})`;
}

export const keptView = (table: string, files: string | null): string => `FROM memory.stored.${sqlName(table)}${files === null ? '' : ` UNION ALL BY NAME ${files}`}`;

/** What is here is read here: a file whose segment has not gone yet, or has come back after a crash, would be read twice. */
const liveOf = (segments: readonly Segment[]): ReadonlySet<string> => new Set(segments.flatMap(({ uid, lineage }) => [uid, ...(lineage?.carries ?? []), ...(lineage?.supersedes ?? [])]));

/** A lookup reads few files; it makes sure that they have not gone since. */
const MOST_LOOKED_FOR = 200;

export class ColdFiles implements KeptViews {
  readonly #options: ColdOptions;
  readonly #columns: ColumnsOfTables;
  readonly #files = new Map<string, TableFiles>();
  /** Of each view: what it was made from, and its text. */
  readonly #views = new Map<string, { readonly from: string; readonly text: string }>();
  #live: Readonly<Record<SegmentKind, ReadonlySet<string>>> = { raw: new Set(), derived: new Set() };

  files: readonly TableFiles[] = [];

  private constructor(options: ColdOptions, columns: ColumnsOfTables) {
    this.#options = options;
    this.#columns = columns;
  }

  static async open(connection: DuckDBConnection, options: ColdOptions): Promise<ColdFiles> {
    await connection.run('CREATE SCHEMA memory.kept');
    return new ColdFiles(options, await columnsOfTables(connection));
  }

  published(kind: SegmentKind, segments: readonly Segment[]): void {
    this.#live = { ...this.#live, [kind]: liveOf(segments) };
  }

  changedViews(kind: SegmentKind, segments: readonly Segment[]): string[] {
    const live = liveOf(segments);
    const { exports, places, tables } = this.#options;
    const statements: string[] = [];
    for (const { name } of tables.of(kind)) {
      const doubled = exports.coldFiles(name).filter(({ segment_uid }) => live.has(segment_uid)).map(({ path }) => path);
      // Before its files are looked for, which may be thousands.
      const before = this.#views.get(name);
      if (before?.from === [exports.cold_version, places.version, ...doubled].join()) continue;
      const { files } = this.#here(kind, name, () => true, live);
      const text = keptView(name, relationOfFiles(files, this.#columns));
      this.#views.set(name, { from: [exports.cold_version, places.version, ...doubled].join(), text });
      if (before?.text === text) continue;
      this.#files.set(name, files);
      this.files = [...this.#files.values()].filter(({ groups }) => groups.length > 0);
      statements.push(`CREATE OR REPLACE VIEW memory.kept.${sqlName(name)} AS ${text}`);
    }
    return statements;
  }

  async forget(): Promise<void> {
    this.#views.clear();
    await this.#options.places.lookAgain();
  }

  /** Rows of files that may lie in [from_ns, to_ns]; null: none. */
  between(kind: SegmentKind, table: string, from_ns: bigint, to_ns: bigint): string | null {
    return this.#relation(kind, table, (file) => overlaps(file, from_ns, to_ns));
  }

  /** Rows of the files that fit, by the segment that they were; null: none. */
  ofSegments(kind: SegmentKind, table: string, fits: (uid: string) => boolean): string | null {
    return this.#relation(kind, table, ({ segment_uid }) => fits(segment_uid));
  }

  #relation(kind: SegmentKind, table: string, fits: (file: ColdFile) => boolean): string | null {
    const { places } = this.#options;
    const asked = this.standIns(kind, table, fits);
    if (asked.length <= MOST_LOOKED_FOR) places.lookFor(asked);
    const { files, here, away } = this.#here(kind, table, fits);
    places.used(here);
    noteAway(away);
    return relationOfFiles(files, this.#columns);
  }

  /** Whose files of the table are read. */
  segmentsOf(kind: SegmentKind, table: string): string[] {
    return this.standIns(kind, table).map((file) => file.segment_uid);
  }

  /** Files of the table that are read in place of segments, wherever they are. */
  standIns(kind: SegmentKind, table: string, fits: (file: ColdFile) => boolean = () => true, live = this.#live[kind]): ColdFile[] {
    return this.#options.exports.coldFiles(table).filter((file) => !live.has(file.segment_uid) && fits(file));
  }

  #here(kind: SegmentKind, table: string, fits: (file: ColdFile) => boolean, live = this.#live[kind]): { files: TableFiles; here: ColdFile[]; away: ColdFile[] } {
    const [here, away]: [ColdFile[], ColdFile[]] = [[], []];
    const groups = new Map<string | null, string[]>();
    for (const file of this.standIns(kind, table, fits, live)) {
      const path = this.#options.places.pathOf(file);
      (path === null ? away : here).push(file);
      if (path === null) continue;
      const alike = groups.get(file.shape);
      if (alike === undefined) groups.set(file.shape, [path]);
      else alike.push(path);
    }
    return { files: { kind, table, groups: [...groups].map(([shape, paths]) => ({ alike: shape !== null, paths })) }, here, away };
  }
}

/** The file may have rows of that time. */
export const overlaps = ({ min_ns, max_ns }: ColdFile, from_ns: bigint, to_ns: bigint): boolean => (min_ns === null || min_ns <= to_ns) && (max_ns === null || max_ns >= from_ns);
