// Queries of exports in processes of their own: a place each, given back whatever becomes of the answer, and an end that waits for none.
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { exportQueries } from '../api/sql-export.ts';
import { SqlJobs } from '../api/sql-jobs.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { SQL_LIMITS } from '../queries/sql-limits.ts';
import { packageRoot } from '../schema/package-root.ts';
import { keptFolder, temporaryFolder } from './support/temporary-folder.ts';

/** Minutes, were it not stopped. */
const LONG = 'SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range * b.range % 7 = 3';

const { folder: kept, remove } = keptFolder();
let warehouse: Warehouse;
let sql: SqlPool;
beforeAll(async () => {
  warehouse = await Warehouse.open({ folder: join(kept, 'data') });
  sql = new SqlPool(warehouse, { limits: { ...SQL_LIMITS, at_once: 1 } });
});
afterAll(async () => {
  await sql.close();
  await warehouse.close();
  remove();
});

async function answered(): Promise<string> {
  const { parts } = await sql.run({ sql: 'SELECT 42 AS n' }, 'csv');
  let text = '';
  for await (const part of parts) text += Buffer.from(part).toString();
  return text;
}

const REST = 'n\r\n42\r\n';

test('an answer of which nothing was read gives its place back when it is left', async () => {
  const { parts } = await sql.run({ sql: 'SELECT 1 AS n' }, 'csv');
  await expect(answered()).rejects.toMatchObject({ code: 'sql-busy' });
  await parts.return();
  expect(await answered()).toBe(REST);
});

test('an export whose file cannot be made gives its place back', async () => {
  await expect(exportQueries(sql).writeParquet('SELECT * FROM range(100000)', join(warehouse.folder, 'no-such-folder', 'x.parquet'))).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await answered()).toBe(REST);
});

test('an asynchronous statement whose answer cannot be stored gives its place back', async () => {
  const no_folder = join(temporaryFolder(), 'a-file');
  writeFileSync(no_folder, '');
  const jobs = new SqlJobs(sql, no_folder);
  const { query_id } = jobs.submit({ sql: 'SELECT * FROM range(100000)' }, 'csv');
  await expect.poll(() => jobs.get(query_id).state).toBe('failed');
  expect(await answered()).toBe(REST);
  await jobs.close().catch(() => undefined);
});

test('closed, a query under way is stopped, and one that waits for its turn', async () => {
  const queries = exportQueries(sql);
  const path = join(warehouse.folder, 'long.parquet');
  const running = expect(queries.writeParquet(LONG, path)).rejects.toMatchObject({ code: 'not-ready', mend: expect.stringContaining('next run') });
  await expect.poll(() => answered().catch((error: { code: string }) => error.code)).toBe('sql-busy');
  const waiting = expect(queries.columns('SELECT 1 AS n')).rejects.toMatchObject({ code: 'not-ready' });
  const from = performance.now();
  queries.close();
  await Promise.all([running, waiting]);
  expect(performance.now() - from).toBeLessThan(3000);
  await expect(queries.columns('SELECT 1 AS n')).rejects.toMatchObject({ code: 'not-ready' });
  await expect.poll(() => answered().catch((error: { code: string }) => error.code)).toBe(REST);
});

test('killed, a server leaves no statement running', async () => {
  const folder = join(temporaryFolder(), 'data');
  const modules = ['ingest/warehouse.js', 'api/sql-worker/pool.js'].map((name) => JSON.stringify(join(packageRoot(), 'dist', name)));
  const program = `
    const [{ Warehouse }, { SqlPool }] = await Promise.all([${modules.map((path) => `import(${path})`).join(', ')}]);
    const pool = new SqlPool(await Warehouse.open({ folder: ${JSON.stringify(folder)} }));
    pool.run({ sql: ${JSON.stringify(LONG)} }, 'csv').catch(() => undefined);
    setInterval(() => undefined, 1000);`;
  const server = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
  const of = (pid: string, name: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, 'utf8');
    } catch {
      return '';
    }
  };
  const workers = (): string[] => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && of(pid, 'cmdline').includes('sql-worker') && of(pid, 'cmdline').includes(folder));
  const ticks = (pid: string): number => Number(of(pid, 'stat').split(') ').at(-1)?.split(' ')[11] ?? 0);
  // More than it takes to start.
  await expect.poll(() => workers().some((pid) => ticks(pid) > 400), { timeout: 40_000, interval: 200 }).toBe(true);
  server.kill('SIGKILL');
  await expect.poll(() => workers(), { timeout: 5000 }).toEqual([]);
}, 60_000);
