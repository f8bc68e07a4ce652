// The rows of several segments into one that stays, table by table, packed (packed-tables.ts).
import { setTimeout as delay } from 'node:timers/promises';
import { sqlName, sqlText } from './duckdb-instance.ts';
import { PACKINGS, packedName } from './packed-tables.ts';
import type { Packing } from './packing.ts';
import type { Segment } from './segment-catalog.ts';
import { templateSchema } from './segment-tables.ts';
import type { TableShape } from './segment-tables.ts';
import type { StatementRunner } from './statement-runner.ts';

export interface CopyOptions {
  /** Asked between statements; true ends the copy with CompactionInterrupted. */
  interrupted?(): boolean;
  /** Waited for after each part, with the files that it read. */
  after?(part: readonly Segment[]): Promise<void>;
  /** Pause after each statement, as a share of the time it took; asked then. */
  rest(): number;
  /** Small files are put in order together until they have so many rows; larger ones so many at a time. */
  readonly rows_together: number;
}

/** A pause ends as soon, when there is no more reason for it. */
const LOOK_UP_MS = 200;

export class CompactionInterrupted extends Error {}

/** Tables without a packing are ordered by the first of these that they have. */
const ORDER_COLUMNS = ['ts_ns', 'start_ns', 'from_ns'];

const asIs = (rows: string): string => rows;
const physical = (segment: Segment, name: string): string => `${sqlName(segment.alias)}.main.${sqlName(name)}`;
const rowsOf = (segments: readonly Segment[], table: string): number => segments.reduce((sum, { rows }) => sum + (rows?.get(table) ?? 0), 0);
/** A segment of an older version may lack columns that the tables have now. */
const asStored = (table: string, inputs: readonly Segment[]): string =>
  `(${[`SELECT * FROM memory.${templateSchema((inputs[0] as Segment).kind)}.${sqlName(table)}`, ...inputs.map((input) => `SELECT * FROM ${physical(input, table)}`)].join(' UNION ALL BY NAME ')})`;

/** What is copied by one transaction: files as they were sealed together, as they are in no order yet; others one by one. */
export function partsOf(inputs: readonly Segment[], table: string, rows_together: number): Segment[][] {
  const parts: Segment[][] = [];
  let small: Segment[] = [];
  let rows = 0;
  const flush = (): void => {
    if (small.length > 0) parts.push(small);
    [small, rows] = [[], 0];
  };
  for (const input of inputs) {
    const own = input.rows?.get(table) ?? 0;
    if (own === 0) continue;
    if (input.level > 0) {
      flush();
      parts.push([input]);
      continue;
    }
    small.push(input);
    rows += own;
    if (rows >= rows_together) flush();
  }
  flush();
  return parts;
}

/** Whether the table of a file has these columns and no others: what it has as numbers (few-values.ts) stays so until it is in order. */
async function isWhole(connection: StatementRunner, segment: Segment, { name, columns }: TableShape): Promise<boolean> {
  const described = (await (await connection.run(`DESCRIBE ${physical(segment, name)}`)).getRowsJS()) as [string][];
  return described.length === columns.length && described.every(([column]) => columns.includes(column));
}

async function withLayout(connection: StatementRunner, inputs: readonly Segment[], name: string): Promise<ReadonlySet<Segment>> {
  const found = await connection.run(`SELECT database_name FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = ${sqlText(name)}`);
  const aliases = new Set((await found.getRowsJS()).map(([alias]) => alias as string));
  return new Set(inputs.filter(({ alias }) => aliases.has(alias)));
}

async function allFit(connection: StatementRunner, { fits }: Packing, table: string, inputs: readonly Segment[]): Promise<boolean> {
  if (fits === undefined || inputs.length === 0) return true;
  const found = await connection.run(`SELECT 1 FROM ${asStored(table, inputs)} WHERE NOT (${fits}) LIMIT 1`);
  return (await found.getRows()).length === 0;
}

/** Of a select, to create a table of: bytes that nothing else makes smaller are compressed as a whole. A block a row group, so not where there are none. */
export async function columnDefinitions(connection: StatementRunner, select: string, rows = select): Promise<string> {
  const described = (await (await connection.run(`DESCRIBE ${select}`)).getRowsJS()) as [string, string][];
  const definitions: string[] = [];
  for (const [name, type] of described) {
    const filled = type === 'BLOB' && (await (await connection.run(`SELECT 1 FROM (${rows}) WHERE ${sqlName(name)} IS NOT NULL LIMIT 1`)).getRows()).length > 0;
    definitions.push(`${sqlName(name)} ${type}${filled ? ' USING COMPRESSION zstd' : ''}`);
  }
  return definitions.join(', ');
}

/** The packed table, empty, and in place of the table the view that gives its rows back, its columns in the order of the table's: readers put files together by position. */
async function makePacked(connection: StatementRunner, alias: string, { name, columns }: TableShape, { pack, inner, unpack, over = asIs }: Packing, inputs: readonly Segment[]): Promise<void> {
  const own = `${sqlName(alias)}.main.${sqlName(name)}`; // the connection may have temporary tables of that name
  await connection.run(`USE ${sqlName(alias)}.main`); // a view finds its tables where it lies itself, whatever the file is attached as
  try {
    const packed = sqlName(packedName(name));
    await connection.run(`CREATE TABLE ${packed} (${await columnDefinitions(connection, `SELECT ${pack} FROM ${over(own)}`, `SELECT * FROM ${asStored(name, inputs)}`)}); DROP TABLE ${own}; CREATE VIEW ${own} AS SELECT ${columns.map((column) => `${unpack[column] ?? sqlName(column)} AS ${sqlName(column)}`).join(', ')} FROM ${inner === undefined ? packed : `(SELECT *, ${inner} FROM ${packed})`}`);
  } finally {
    await connection.run('USE memory.main');
  }
}

/** About as many rows each, in the order of the column: conditions. */
async function piecesOf(connection: StatementRunner, rows: string, column: string, pieces: number): Promise<string[]> {
  const shares = Array.from({ length: pieces - 1 }, (_, at) => (at + 1) / pieces);
  const found = await connection.run(`SELECT DISTINCT unnest(quantile_disc(${column}, [${shares.join(', ')}])) FROM ${rows} ORDER BY 1`);
  const cuts = ((await found.getRowsJS()) as [bigint][]).map(([cut]) => String(cut));
  const least = ['true', ...cuts.map((cut) => `${column} >= ${cut}`)];
  // Where it is null, last.
  return least.map((at_least, at) => (at === cuts.length ? `coalesce(${at_least}, true)` : `${at_least} AND ${column} < ${cuts[at] as string}`));
}

/** A table as it lies, no view, so many rows at a time. */
function slicesOf(select: string, rows: number, rows_together: number): string[] {
  const begins = Array.from({ length: Math.max(1, Math.ceil(rows / rows_together)) }, (_, at) => at * rows_together);
  return begins.map((begin, at) => `${select} WHERE rowid >= ${begin}${at === begins.length - 1 ? '' : ` AND rowid < ${begin + rows_together}`}`);
}

/** Select lists and what follows them, to be copied one after the other: of what is sorted no more than fills a row group at a time, as far as its packing allows. */
async function sourcesOf(connection: StatementRunner, table: TableShape, part: readonly Segment[], packing: Packing | undefined, order: string | undefined, rows_together: number): Promise<string[]> {
  const { name } = table;
  const [first] = part as [Segment];
  const rows = part.length === 1 && (await isWhole(connection, first, table)) ? physical(first, name) : asStored(name, part);
  const { pack, over = asIs, pieces_by } = packing ?? { pack: '*' };
  const count = rowsOf(part, name);
  // Files of higher levels are in order already.
  if (first.level > 0 && packing?.over === undefined) {
    const is_table = rows === physical(first, name) && (await withLayout(connection, part, name)).has(first);
    return is_table ? slicesOf(`${pack} FROM ${rows}`, count, rows_together) : [`${pack} FROM ${rows}`];
  }
  const ordered = order === undefined ? '' : ` ORDER BY ${order}`;
  if (pieces_by === undefined || count <= rows_together) return [`${pack} FROM ${over(rows)}${ordered}`];
  const conditions = await piecesOf(connection, rows, pieces_by, Math.ceil(count / rows_together));
  return conditions.map((condition) => `${pack} FROM ${over(`(SELECT * FROM ${rows} WHERE ${condition})`)}${ordered}`);
}

/** As long as it is said to be, until something more urgent comes. */
async function restAfter(statement_ms: number, { rest, interrupted }: CopyOptions): Promise<void> {
  const begun = performance.now();
  for (;;) {
    const left_ms = begun + statement_ms * rest() - performance.now();
    if (left_ms <= 0 || interrupted?.() === true) return;
    await delay(Math.min(left_ms, LOOK_UP_MS));
  }
}

/** In one transaction: fewer rows than fill a row group would go through the log each time, and be compressed twice. */
async function insertTogether(connection: StatementRunner, target: string, sources: readonly string[], options: CopyOptions): Promise<void> {
  await connection.run('BEGIN');
  try {
    for (const source of sources) {
      if (options.interrupted?.() === true) throw new CompactionInterrupted('something more urgent came');
      const started = performance.now();
      await connection.run(`INSERT INTO ${target} BY NAME SELECT ${source}`);
      await restAfter(performance.now() - started, options);
    }
    await connection.run('COMMIT');
  } catch (error) {
    await connection.run('ROLLBACK').catch(() => undefined); // perhaps that has been done
    throw error;
  }
}

export async function copySegments(connection: StatementRunner, tables: readonly TableShape[], inputs: readonly Segment[], alias: string, options: CopyOptions): Promise<void> {
  const { rows_together } = options;
  for (const table of tables) {
    const { name, columns } = table;
    const parts = partsOf(inputs, name, rows_together);
    if (parts.length === 0) continue;
    const packing = PACKINGS[name]?.uses.every((column) => columns.includes(column)) === true ? PACKINGS[name] : undefined;
    const order = packing?.order ?? ORDER_COLUMNS.find((column) => columns.includes(column));
    const packed = packing === undefined ? new Set<Segment>() : await withLayout(connection, inputs, packedName(name));
    const packs = packing !== undefined && (await allFit(connection, packing, name, parts.flat().filter((input) => !packed.has(input))));
    if (packs) await makePacked(connection, alias, table, packing, parts.flat());
    const target = `${sqlName(alias)}.main.${sqlName(packs ? packedName(name) : name)}`;
    for (const part of parts) {
      const [first] = part as [Segment];
      const sources = packs && packed.has(first) ? slicesOf(`* FROM ${physical(first, packedName(name))}`, rowsOf(part, name), rows_together) : await sourcesOf(connection, table, part, packs ? packing : undefined, order, rows_together);
      await insertTogether(connection, target, sources, options);
      await options.after?.(part);
    }
  }
}
