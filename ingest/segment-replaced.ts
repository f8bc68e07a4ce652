// A rewritten segment names the ones whose rows it took over, inside itself: after a crash between its appearance and
// their deletion, this decides which of them count.
import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlName, sqlText } from './duckdb-instance.ts';
import type { Segment } from './segment-catalog.ts';

export async function writeReplaced(connection: DuckDBConnection, alias: string, uids: readonly string[]): Promise<void> {
  await connection.run(`CREATE TABLE ${sqlName(alias)}.main.replaced_segments (uid VARCHAR)`);
  await connection.run(`INSERT INTO ${sqlName(alias)}.main.replaced_segments VALUES ${uids.map((uid) => `(${sqlText(uid)})`).join(', ')}`);
}

export async function replacedSegments(connection: DuckDBConnection, segments: readonly Segment[]): Promise<Set<string>> {
  const aliases = new Set(segments.map((segment) => segment.alias));
  const tables = await connection.run("SELECT database_name FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = 'replaced_segments'");
  const found = (await tables.getRowsJS()).map(([name]) => name as string).filter((name) => aliases.has(name));
  if (found.length === 0) return new Set();
  const rows = await connection.run(found.map((alias) => `SELECT uid FROM ${sqlName(alias)}.main.replaced_segments`).join(' UNION ALL '));
  return new Set((await rows.getRowsJS()).map(([uid]) => uid as string));
}
