// The folders that exports have written to: DuckDB has to be told before it is shut off from all others.
import { existsSync } from 'node:fs';
import { DuckDBInstance } from '@duckdb/node-api';
import { runQuery } from './duckdb-query.ts';
import { sqlText } from './duckdb-instance.ts';

/** None when the ledger cannot be read; whoever opens it next says why. */
export async function exportFolders(folder: string, read_only: boolean): Promise<string[]> {
  const path = `${folder}/ledger.duckdb`;
  if (!existsSync(path)) return [];
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await connection.run(`ATTACH ${sqlText(path)} AS ledger ${read_only ? '(READ_ONLY)' : ''}`);
    const { rows } = await runQuery(connection, "SELECT DISTINCT destination FROM ledger.exports WHERE destination LIKE '/%'");
    return rows.map(([destination]) => destination as string);
  } catch {
    return [];
  } finally {
    await connection.run('DETACH ledger').catch(() => undefined);
    connection.closeSync();
    instance.closeSync();
  }
}
