// What a saved query answers about a stretch of time, as one Parquet file. $from_ns and $to_ns in it are the stretch.
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sqlName } from '../../ingest/duckdb-instance.ts';
import { portable } from '../../ingest/parquet-columns.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { QueryRunner } from './query-runner.ts';
import { finishFile, partitionPath } from './write-parquet.ts';
import type { StagedFile } from './write-parquet.ts';

interface Stretch {
  /** Exclusive: rows of this instant were in the stretch before. */
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

const HOUR_NS = 3_600_000_000_000n;
const withStretch = (query: string, { from_ns, to_ns }: Stretch): string => query.trim().replace(/;$/, '').replaceAll(/\$from_ns\b/g, String(from_ns)).replaceAll(/\$to_ns\b/g, String(to_ns));

/** Errors: export-query, and those of ad-hoc SQL. */
export async function checkQuery(runner: QueryRunner, query: string): Promise<void> {
  if (!/\$from_ns\b/.test(query) || !/\$to_ns\b/.test(query)) {
    throw new TracehouseError('export-query', 'the query does not say which stretch of time it is about', { mend: 'write ... WHERE end_ns > $from_ns AND end_ns <= $to_ns' });
  }
  await runner.columns(withStretch(query, { from_ns: 0n, to_ns: 0n })).catch((error: unknown) => {
    if (error instanceof TracehouseError && error.code !== 'sql-failed') throw error;
    throw new TracehouseError('export-query', (error as Error).message, { mend: 'write one SELECT over the relations of GET /api/v1/schema' });
  });
}

export async function writeQuery(runner: QueryRunner, folder: string, query: string, stretch: Stretch): Promise<StagedFile[]> {
  await checkQuery(runner, query);
  const sql = withStretch(query, stretch);
  const list = (await runner.columns(sql)).flatMap(([name, type]) => portable(name, type)).map(([name, expression]) => `${expression} AS ${sqlName(name)}`);
  const path = `query/${partitionPath(stretch.to_ns / HOUR_NS, 'all')}/${stretch.from_ns}-${stretch.to_ns}.parquet`;
  await mkdir(dirname(join(folder, path)), { recursive: true });
  const rows = await runner.writeParquet(`SELECT ${list.join(', ')} FROM (${sql}\n)`, join(folder, path));
  return [{ relation: 'query', path, rows, min_ns: stretch.from_ns, max_ns: stretch.to_ns, shape: null, ...(await finishFile(join(folder, path))) }];
}
