import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect, onTestFinished, test } from 'vitest';
import { isOpenHere } from '../ingest/open-here.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

test('a database that was detached is open until the transactions that have looked at it are over', async () => {
  const path = join(temporaryFolder(), 'copy.duckdb');
  const instance = await DuckDBInstance.create(':memory:');
  const [writer, reader] = [await instance.connect(), await instance.connect()];
  onTestFinished(() => {
    writer.closeSync();
    reader.closeSync();
    instance.closeSync();
  });
  await writer.run(`ATTACH '${path}' AS copy; CREATE TABLE copy.rows AS SELECT 1 AS n; CHECKPOINT copy`);
  expect(isOpenHere(path)).toBe(true);
  await reader.run('BEGIN; SELECT count(*) FROM duckdb_tables()');
  await writer.run('DETACH copy');
  expect(isOpenHere(path)).toBe(true);
  await reader.run('COMMIT');
  await expect.poll(() => isOpenHere(path)).toBe(false);
});
