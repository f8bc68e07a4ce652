import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBConnection } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PipeReader } from '../queries/pipe-reader.ts';
import { UnaskedRun, runUnasked } from '../ingest/unasked-run.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
const pipe = join(folder, 'pipe');
const PIPE_BYTES = 65_536;
let instance: DuckDBInstance;
let connection: DuckDBConnection;

beforeAll(async () => {
  spawnSync('mkfifo', [pipe]);
  instance = await DuckDBInstance.create(':memory:', { threads: '2' });
  connection = await instance.connect();
  await connection.run('SET GLOBAL external_threads = 0');
});

afterAll(() => {
  connection.closeSync();
  instance.closeSync();
  remove();
});

test('it runs unasked, and nobody spins while it waits for a full pipe', async () => {
  const fd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const run = new UnaskedRun(await connection.prepare(`COPY (SELECT range FROM range(200000)) TO '${pipe}' (FORMAT csv, HEADER false)`));
  const piece = Buffer.alloc(PIPE_BYTES);
  const read = (): number => {
    try {
      return readSync(fd, piece);
    } catch {
      return -1; // nothing yet
    }
  };
  // The pipe is full: it cannot go on, and is not waited for.
  await expect.poll(() => { const found = read(); return found > 0; }).toBe(true);
  await delay(100);
  const before = process.cpuUsage();
  await delay(300);
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000).toBeLessThan(150);
  let bytes = 0;
  for (let found = read(); found !== 0; found = read()) {
    if (found > 0) bytes += found;
    else await delay(1);
  }
  expect(bytes).toBeGreaterThan(PIPE_BYTES);
  run.ask();
  expect(await (await run.result).getRows()).toEqual([[200_000n]]);
  closeSync(fd);
});

test('one that fails while its output is waited for says so by itself', async () => {
  const reader = new PipeReader(pipe);
  const run = new UnaskedRun(await connection.prepare(`COPY (SELECT CASE WHEN range = 150000 THEN error('there') ELSE range END FROM range(200000)) TO '${pipe}' (FORMAT csv)`));
  run.result.catch((error: Error) => reader.drain(error));
  await expect((async () => { while ((await run.waitFor(reader.next())) !== undefined); })()).rejects.toThrow('there');
  reader.destroy();
});

test('one that writes to a file is over when the file is there, and tells what failed', async () => {
  const path = join(folder, 'rows.parquet');
  await runUnasked(connection, `COPY (SELECT range FROM range(300000)) TO '${path}' (FORMAT parquet)`);
  expect((await (await connection.run(`SELECT count(*) FROM '${path}'`)).getRows())).toEqual([[300_000n]]);
  await expect(runUnasked(connection, `COPY (SELECT CASE WHEN range = 150000 THEN error('there') ELSE range END FROM range(200000)) TO '${path}' (FORMAT parquet)`)).rejects.toThrow(/^Invalid Input Error: there/);
});
