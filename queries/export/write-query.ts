// What a saved query answers about a stretch of time, as one Parquet file. $from_ns and $to_ns in it are the stretch.
import { join } from 'node:path';
import { runQuery } from '../../ingest/duckdb-query.ts';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { requireAllowed } from '../sql-allowed.ts';
import { publicViews } from '../sql-gate.ts';
import { portable } from '../../ingest/parquet-columns.ts';
import { copyTo, partitionPath } from './write-parquet.ts';
import type { StagedFile } from './write-parquet.ts';

interface Stretch {
  /** Exclusive: rows of this instant were in the stretch before. */
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

const HOUR_NS = 3_600_000_000_000n;
const withStretch = (query: string, { from_ns, to_ns }: Stretch): string => query.trim().replace(/;$/, '').replaceAll(/\$from_ns\b/g, String(from_ns)).replaceAll(/\$to_ns\b/g, String(to_ns));

/** Errors: export-query, and those of ad-hoc SQL. */
export async function checkQuery(warehouse: Warehouse, query: string): Promise<void> {
  if (!/\$from_ns\b/.test(query) || !/\$to_ns\b/.test(query)) {
    throw new TracehouseError('export-query', 'the query does not say which stretch of time it is about', { mend: 'write ... WHERE end_ns > $from_ns AND end_ns <= $to_ns' });
  }
  const sql = withStretch(query, { from_ns: 0n, to_ns: 0n });
  await requireAllowed(warehouse, await publicViews(warehouse), sql);
  await warehouse.query(`DESCRIBE SELECT * FROM (${sql}\n)`).catch((error: unknown) => {
    throw new TracehouseError('export-query', (error as Error).message, { mend: 'write one SELECT over the relations of GET /api/v1/schema' });
  });
}

export async function writeQuery(warehouse: Warehouse, folder: string, query: string, stretch: Stretch): Promise<StagedFile[]> {
  await checkQuery(warehouse, query);
  const sql = withStretch(query, stretch);
  const connection = await warehouse.connect();
  try {
    const columns = (await runQuery(connection, `DESCRIBE SELECT * FROM (${sql}\n)`)).rows as [string, string][];
    const list = columns.flatMap(([name, type]) => portable(name, type)).map(([name, expression]) => `${expression} AS "${name.replaceAll('"', '""')}"`);
    const path = `query/${partitionPath(stretch.to_ns / HOUR_NS, 'all')}/${stretch.from_ns}-${stretch.to_ns}.parquet`;
    const written = await copyTo(connection, `SELECT ${list.join(', ')} FROM (${sql}\n)`, join(folder, path));
    const rows = (await runQuery(connection, `SELECT count(*) FROM read_parquet('${join(folder, path).replaceAll("'", "''")}')`)).rows[0]?.[0] as bigint;
    return [{ relation: 'query', path, rows, min_ns: stretch.from_ns, max_ns: stretch.to_ns, ...written }];
  } finally {
    connection.closeSync();
  }
}
