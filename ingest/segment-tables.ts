// The tables of each kind of segment, made by running the numbered migrations of its folder.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../schema/package-root.ts';
import { sqlName, sqlText } from './duckdb-instance.ts';
import { tableOfPacked } from './packed-tables.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import type { StatementRunner } from './statement-runner.ts';

/** migrations/raw, migrations/derived and views lie in it. */
export const schemaFolder = (): string => join(packageRoot(), 'schema');

/** The .sql files of a folder in name order; none when there is no folder. */
export function sqlFiles(path: string): { name: string; sql: string }[] {
  let names: string[];
  try {
    names = readdirSync(path).filter((name) => name.endsWith('.sql'));
  } catch {
    return [];
  }
  return names.toSorted().map((name) => ({ name, sql: readFileSync(join(path, name), 'utf8') }));
}

export const totalRows = (rows: ReadonlyMap<string, number>): number => [...rows.values()].reduce((sum, count) => sum + count, 0);
/** Of segments whose rows are known. */
export const rowsIn = (segments: readonly { readonly rows: ReadonlyMap<string, number> | null }[]): number => segments.reduce((sum, { rows }) => sum + (rows === null ? 0 : totalRows(rows)), 0);

export interface TableShape {
  readonly name: string;
  readonly columns: readonly string[];
}

/** Empty tables in the memory catalog: what a view is when there is no segment, and its columns when segments lack some. */
export const templateSchema = (kind: SegmentKind): string => `template_${kind}`;

export class SegmentTables {
  readonly #migrations: Record<SegmentKind, string>;
  readonly #shapes: Record<SegmentKind, readonly TableShape[]>;

  private constructor(migrations: Record<SegmentKind, string>, shapes: Record<SegmentKind, readonly TableShape[]>) {
    this.#migrations = migrations;
    this.#shapes = shapes;
  }

  static async load(connection: StatementRunner, folder: string): Promise<SegmentTables> {
    const migrations: Record<SegmentKind, string> = { raw: '', derived: '' };
    const shapes: Record<SegmentKind, readonly TableShape[]> = { raw: [], derived: [] };
    for (const kind of SEGMENT_KINDS) {
      migrations[kind] = sqlFiles(join(folder, 'migrations', kind))
        .map((file) => file.sql)
        .join('\n');
      if (kind === 'raw' && migrations[kind] === '') throw new Error(`${folder}/migrations/raw is missing`);
    }
    const tables = new SegmentTables(migrations, shapes);
    await tables.createTemplates(connection);
    for (const kind of SEGMENT_KINDS) {
      const columns = await connection.run(
        `SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() WHERE database_name = 'memory' AND schema_name = ${sqlText(templateSchema(kind))} GROUP BY table_name ORDER BY table_name`,
      );
      shapes[kind] = (await columns.getRowsJS()).map(([name, list]) => ({ name: name as string, columns: list as string[] }));
    }
    return tables;
  }

  /** In the memory catalog of an instance: another one than these were loaded in, too. */
  async createTemplates(connection: StatementRunner): Promise<void> {
    for (const kind of SEGMENT_KINDS) {
      await connection.run(`CREATE SCHEMA memory.${templateSchema(kind)}`);
      await runMigrations(connection, `memory.${templateSchema(kind)}`, this.#migrations[kind]);
    }
  }

  of(kind: SegmentKind): readonly TableShape[] {
    return this.#shapes[kind];
  }

  /** In an empty database that has just been attached. */
  async create(connection: StatementRunner, kind: SegmentKind, alias: string): Promise<void> {
    await runMigrations(connection, sqlName(alias), this.#migrations[kind]);
  }
}

async function runMigrations(connection: StatementRunner, target: string, sql: string): Promise<void> {
  if (sql.trim() === '') return;
  await connection.run(`USE ${target}`);
  try {
    await connection.run(`BEGIN; ${sql}; COMMIT`);
  } catch (error) {
    await connection.run('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    await connection.run('USE memory.main');
  }
}

/** Row counts of the tables that a segment has. */
export async function countRows(connection: StatementRunner, alias: string): Promise<Map<string, number>> {
  const names = await connection.run(`SELECT table_name FROM duckdb_tables() WHERE database_name = ${sqlText(alias)} AND schema_name = 'main'`);
  const tables = (await names.getRowsJS()).map(([name]) => name as string);
  if (tables.length === 0) return new Map();
  const counts = await connection.run(tables.map((name) => `SELECT ${sqlText(name)}, count(*) FROM ${sqlName(alias)}.main.${sqlName(name)}`).join(' UNION ALL '));
  return new Map((await counts.getRowsJS()).map(([name, count]) => [tableOfPacked(name as string), Number(count)]));
}

const EVENT_TIMES = [['ts_ns', 'end_ts_ns'], ['ts_ns', 'ts_ns'], ['start_ns', 'end_ns'], ['from_ns', 'to_ns']] as const;
/** Of batches and clocks: they say when a segment was written where no event does. */
const WRITING_TIMES = [['utc_ns', 'utc_ns']] as const;

interface TimeRange {
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

/** The span of time that the rows of a segment cover; null when none of its tables has rows with a time. */
export async function timeRange(connection: StatementRunner, alias: string, tables: readonly TableShape[], rows: ReadonlyMap<string, number>): Promise<TimeRange | null> {
  return (await rangeOver(EVENT_TIMES)) ?? rangeOver(WRITING_TIMES);

  async function rangeOver(pairs: readonly (readonly [string, string])[]): Promise<TimeRange | null> {
    const parts: string[] = [];
    for (const { name, columns } of tables) {
      if ((rows.get(name) ?? 0) === 0) continue;
      const pair = pairs.find(([first, last]) => columns.includes(first) && columns.includes(last));
      if (pair !== undefined) parts.push(`SELECT min(${pair[0]}) AS low, max(${pair[1]}) AS high FROM ${sqlName(alias)}.main.${sqlName(name)}`);
    }
    if (parts.length === 0) return null;
    const result = await connection.run(`SELECT min(low), max(high) FROM (${parts.join(' UNION ALL ')})`);
    const [low, high] = ((await result.getRows())[0] ?? []) as [bigint | null, bigint | null];
    if (low === null || low === undefined || high === null || high === undefined) return null;
    const from_ns = low < 0n ? 0n : low;
    return { from_ns, to_ns: high < from_ns ? from_ns : high };
  }
}

/** Of each of these raw databases that has batches. */
export async function lastApplyNumbers(connection: StatementRunner, aliases: readonly string[]): Promise<Map<string, bigint>> {
  if (aliases.length === 0) return new Map();
  const result = await connection.run(aliases.map((alias) => `SELECT ${sqlText(alias)}, max(apply_no) FROM ${sqlName(alias)}.main.batches`).join(' UNION ALL '));
  const rows = (await result.getRows()) as [string, bigint | null][];
  return new Map(rows.filter((row): row is [string, bigint] => row[1] !== null));
}
