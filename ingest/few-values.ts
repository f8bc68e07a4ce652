// Texts of few values (docs/adr/0029): a file that is written to stores them as numbers of a byte, by the values that were known when it was made. What a text
// costs when it is stored is its bytes, statistics, distinct counts and dictionary, some ten times a number's; and most texts are the same few over and over.
import type { DuckDBConnection } from '@duckdb/node-api';
import { isNotEnumerated } from './duckdb-errors.ts';
import { sqlName, sqlText } from './duckdb-instance.ts';
import type { TableShape } from './segment-tables.ts';

/** An ENUM of DuckDB takes one byte up to 255 values, and stands as a whole in each statement's part of the write-ahead log. */
export const MOST_VALUES = 200;
/** A value that has not come for so many files is forgotten, before as many more have been made. */
const FILES_KEPT = 64;
const MOST_FILES_QUIET = 256;
/** Of a value that is enumerated. */
const MOST_LETTERS = 100;

/** Of one column in one file: each value's number. */
export type ValueNumbers = ReadonlyMap<string, number>;
/** Of one file, by table and column; what is not there is stored as text. */
export type Enumerations = ReadonlyMap<string, ReadonlyMap<string, ValueNumbers>>;
export type ColumnName = readonly [table: string, column: string];
export const ALL_TEXT: Enumerations = new Map();

export interface EnumeratedFile {
  readonly alias: string;
  enumerations?: Enumerations;
  /** Columns that had numbers when it was made, until a text came that one of them had none for. */
  spelled_out?: readonly ColumnName[];
}

export const columnsOf = (enumerations: Enumerations): ColumnName[] => [...enumerations].flatMap(([table, columns]) => [...columns.keys()].map((column) => [table, column] as const));

const columnChange = (alias: string, [table, column]: ColumnName, type: string): string => `ALTER TABLE ${sqlName(alias)}.main.${sqlName(table)} ALTER ${sqlName(column)} TYPE ${type}`;

/** In a file that has just been made. After an error it holds texts. */
export async function enumerate(connection: DuckDBConnection, alias: string, enumerations: Enumerations): Promise<void> {
  const changes = [...enumerations].flatMap(([table, columns]) => [...columns].map(([column, numbers]) => columnChange(alias, [table, column], `ENUM(${[...numbers.keys()].map(sqlText).join(', ')})`)));
  if (changes.length === 0) return;
  try {
    await connection.run(`BEGIN; ${changes.join('; ')}; COMMIT`);
  } catch (error) {
    await connection.run('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** Text again: rewrites these columns, a few ms each for a hundred thousand rows. Nothing may be written to the file meanwhile. Returns what it enumerates then. */
export async function widen(connection: DuckDBConnection, alias: string, enumerations: Enumerations, columns: readonly ColumnName[]): Promise<Enumerations> {
  await connection.run(columns.map((column) => columnChange(alias, column, 'VARCHAR')).join('; '));
  const left = new Map([...enumerations].map(([table, own]) => [table, new Map(own)]));
  for (const [table, column] of columns) left.get(table)?.delete(column);
  return left;
}

/** One transaction for what work writes to the file, and another one where it has no number for a text: all of its columns hold text then. Nothing else may be written to it meanwhile. */
export async function storeInto(connection: DuckDBConnection, file: EnumeratedFile, work: () => Promise<void>): Promise<void> {
  for (;;) {
    await connection.run('BEGIN TRANSACTION');
    try {
      await work();
      await connection.run('COMMIT');
      return;
    } catch (error) {
      const { alias, enumerations = ALL_TEXT } = file;
      const columns = columnsOf(enumerations);
      if (!isNotEnumerated(error) || columns.length === 0) throw error;
      await connection.run('ROLLBACK');
      file.enumerations = await widen(connection, alias, enumerations, columns);
      file.spelled_out = columns;
    }
  }
}

/** SQL has no way to write a NUL. */
const fits = (value: string): boolean => value.length <= MOST_LETTERS && !value.includes('\0');

/** As DuckDB orders texts. */
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

class KnownValues {
  readonly #usual: readonly string[];
  #recent = new Set<string>();
  #former = new Set<string>();
  /** Something new came since the last file was made. */
  #news: boolean;
  /** Files in a row for which nothing new came, and how many it takes. */
  #quiet = 0;
  #needed = 1;
  /** Those since it last took fewer. */
  #calm = 0;

  constructor(usual: readonly string[]) {
    this.#usual = usual;
    this.#news = usual.length === 0;
  }

  /** Whether one of them is new. */
  note(values: Iterable<string>): boolean {
    let news = false;
    for (const value of values) {
      if (this.#recent.has(value)) continue;
      if (this.#recent.size > MOST_VALUES) break;
      if (!fits(value)) {
        news = true; // each time: while it comes the column is text
        continue;
      }
      news ||= !this.#former.has(value) && !this.#usual.includes(value);
      this.#recent.add(value);
    }
    this.#news ||= news;
    return news;
  }

  waitLonger(): void {
    this.#needed = Math.min(this.#needed * 2, MOST_FILES_QUIET);
  }

  forNewFile(ages: boolean): ValueNumbers | null {
    this.#quiet = this.#news ? 0 : this.#quiet + 1;
    this.#news = false;
    this.#calm = this.#quiet === 0 ? 0 : this.#calm + 1;
    if (this.#needed > 1 && this.#calm >= 4 * this.#needed) [this.#needed, this.#calm] = [this.#needed >> 1, 0];
    const values = new Set([...this.#usual, ...this.#recent, ...this.#former]);
    if (ages) [this.#former, this.#recent] = [this.#recent, new Set()];
    if (this.#quiet < this.#needed || values.size === 0 || values.size > MOST_VALUES) return null;
    return new Map([...values].toSorted(byBytes).map((value, index) => [value, index]));
  }
}

/** What columns of few values have held, and which of them the next file enumerates: those for which nothing new came while the last one was written. */
export class FewValues {
  readonly #columns: ReadonlyMap<string, ReadonlyMap<string, KnownValues>>;
  #files = 0;

  /** `columns`: those of few values, and which ones each has usually; of them only what the tables have is looked at. */
  constructor(tables: readonly TableShape[], columns: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>) {
    this.#columns = new Map(tables.map(({ name, columns: own }) => [name, new Map(Object.entries(columns[name] ?? {}).filter(([column]) => own.includes(column)).map(([column, usual]) => [column, new KnownValues(usual)]))]));
  }

  get columns(): ColumnName[] {
    return [...this.#columns].flatMap(([table, columns]) => [...columns.keys()].map((column) => [table, column] as const));
  }

  /** Values that a column holds, those that are known among them. Returns whether one is new. */
  note([table, column]: ColumnName, values: Iterable<string>): boolean {
    return this.#columns.get(table)?.get(column)?.note(values) ?? false;
  }

  /** A file had to hold text in these columns: each waits for twice as many files without news as before. */
  noteOutgrown(columns: readonly ColumnName[]): void {
    for (const [table, column] of columns) this.#columns.get(table)?.get(column)?.waitLonger();
  }

  forNewFile(): Enumerations {
    this.#files += 1;
    const ages = this.#files % FILES_KEPT === 0;
    return new Map(
      [...this.#columns].map(([table, columns]) => [
        table,
        new Map([...columns].flatMap(([column, known]) => {
          const numbers = known.forNewFile(ages);
          return numbers === null ? [] : [[column, numbers] as const];
        })),
      ]),
    );
  }
}
