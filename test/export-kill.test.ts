import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { compileProgram } from './support/compile-program.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const KILLS = 100;

let program: ReturnType<typeof compileProgram>;
beforeAll(() => (program = compileProgram('test/support/export-program.ts')) && undefined);
afterAll(() => program.remove());

/** A machine of any speed is interrupted in the middle: lives last up to as long as it takes for so many batches. */
const BATCHES_A_LIFE = 3;

/** Kills the program some milliseconds after it is ready, or after its first batches; says which it had said it applied, and how long it lived. */
async function exportUntilKilled(folder: string, destination: string, first: number, life_ms?: number): Promise<{ acknowledged: number[]; lived_ms: number }> {
  const child = spawn(process.execPath, [program.path, folder, destination, String(first)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const closed = new Promise((resolve) => child.on('close', resolve));
  await new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (out.startsWith('ready\n')) resolve();
    });
    child.on('exit', (code, signal) => reject(new Error(`ended by itself with ${code ?? signal}: ${complaints}`)));
  });
  const started = performance.now();
  if (life_ms !== undefined) await delay(life_ms);
  else await expect.poll(() => out.split('\n').length - 2, { timeout: 30_000, interval: 5 }).toBeGreaterThanOrEqual(BATCHES_A_LIFE);
  const lived_ms = performance.now() - started;
  expect(child.exitCode, complaints).toBeNull();
  child.kill('SIGKILL');
  await closed;
  return { acknowledged: out.split('\n').slice(1, -1).map(Number), lived_ms };
}

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));

test(`killed ${KILLS} times and more at any moment: every row is exported once, and no half file is left`, async () => {
  const folder = temporaryFolder();
  const destination = join(folder, 'parquet');
  let first = 1;
  let interrupted = 0;
  const { lived_ms } = await exportUntilKilled(join(folder, 'pace'), join(folder, 'pace-parquet'), 1);
  const enough = (): boolean => interrupted > KILLS / 20; // killed between the first byte of a file and its place in the folder
  for (let round = 0; round < KILLS || (!enough() && round < 2 * KILLS); round++) {
    const { acknowledged } = await exportUntilKilled(folder, destination, first, Math.random() * lived_ms);
    interrupted += existsSync(join(folder, 'exports')) && filesBelow(join(folder, 'exports')).length > 0 ? 1 : 0;
    first = Math.max(first, (acknowledged.at(-1) ?? 0) + 1);
  }
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  const scheduler = new ExportScheduler(warehouse);
  expect(scheduler.plans).toHaveLength(1);
  await scheduler.run(scheduler.plans[0]!.export_id);
  const applied = (await warehouse.query('SELECT count(*), sum(socket_id)::BIGINT, count(DISTINCT (socket_id, stream_offset)) FROM socket_events')).rows;
  expect((await warehouse.query(`SELECT count(*), sum(socket_id)::BIGINT, count(DISTINCT (socket_id, stream_offset)) FROM read_parquet('${destination}/socket_events/**/*.parquet')`)).rows).toEqual(applied);
  expect(Number(applied[0]?.[0])).toBeGreaterThan(20 * KILLS / 4);
  expect((await warehouse.query(`SELECT count(*), count(DISTINCT sequence) FROM read_parquet('${destination}/batches/**/*.parquet')`)).rows).toEqual((await warehouse.query('SELECT count(*), count(*) FROM stored.batches')).rows);
  // The ledger and the folder say the same.
  const ledger = (await warehouse.query("SELECT path, state, rows FROM export_files WHERE state <> 'superseded'")).rows;
  expect(new Set(ledger.map(([, state]) => state))).toEqual(new Set(['done']));
  expect(filesBelow(destination).filter((path) => path.endsWith('.parquet')).toSorted()).toEqual(ledger.map(([path]) => path as string).toSorted());
  expect(enough()).toBe(true);
  await warehouse.close();
}, 400_000);
