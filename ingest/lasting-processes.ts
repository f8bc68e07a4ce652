// What was said of processes that are still running, in DATA/ledger.duckdb: a service that started months ago keeps its name
// when retention drops the segment that held it.
import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlName } from './duckdb-instance.ts';
import { runQuery } from './duckdb-query.ts';
import type { Segment } from './segment-catalog.ts';
import { templateSchema } from './segment-tables.ts';
import type { SegmentTables } from './segment-tables.ts';

/** Stored tables with rows that outlive their segments, in ledger.lasting_<name>. */
export const LASTING_TABLES = ['processes'] as const;

const TABLE = 'ledger.lasting_processes';
const TEMPLATE = `memory.${templateSchema('raw')}.processes`;

/** Rows to be added to those of the stored table of this name; none in a folder of an older version that is open for reading. */
export async function lastingRows(connection: DuckDBConnection, tables: SegmentTables, read_only: boolean): Promise<ReadonlyMap<string, string>> {
  if (!tables.of('raw').some(({ name }) => name === 'processes')) return new Map();
  const found = await runQuery(connection, "SELECT 1 FROM duckdb_tables() WHERE database_name = 'ledger' AND table_name = 'lasting_processes'");
  if (found.rows.length === 0 && read_only) return new Map();
  // Columns that a newer version has are null in what an older one wrote.
  if (!read_only) await connection.run(`CREATE OR REPLACE TABLE ${TABLE} AS SELECT * FROM ${TEMPLATE}${found.rows.length === 0 ? '' : ` UNION ALL BY NAME SELECT * FROM ${TABLE}`}`);
  return new Map([['processes', `SELECT * FROM ${TABLE}`]]);
}

/** Before the segments go. Those that ended in them go too. */
export async function keepProcesses(connection: DuckDBConnection, leaving: readonly Segment[]): Promise<void> {
  const parts = leaving.filter(({ kind, rows }) => kind === 'raw' && (rows?.get('processes') ?? 0) > 0).map(({ alias }) => `SELECT * FROM ${sqlName(alias)}.main.processes`);
  if (parts.length === 0) return;
  await connection.run(`CREATE OR REPLACE TEMP TABLE leaving_processes AS
    WITH known AS (SELECT DISTINCT * FROM (SELECT * FROM ${TABLE} UNION ALL BY NAME ${parts.join(' UNION ALL BY NAME ')}))
    SELECT * FROM known WHERE process_id NOT IN (SELECT process_id FROM known WHERE ended_ns IS NOT NULL AND process_id IS NOT NULL)`);
  await connection.run('BEGIN');
  try {
    await connection.run(`DELETE FROM ${TABLE}`);
    await connection.run(`INSERT INTO ${TABLE} BY NAME SELECT * FROM leaving_processes`);
    await connection.run('COMMIT');
  } catch (error) {
    await connection.run('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
