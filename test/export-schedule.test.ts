import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { compileProgram } from './support/compile-program.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const event = { ts_ns: 1_790_000_000_000_000_000n, mono_ns: 1, socket_id: 1, op: 'read', bytes: 1, stream_offset: 0, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false };

async function until(there: () => Promise<boolean>): Promise<void> {
  for (let tries = 200; tries > 0 && !(await there()); tries--) await delay(50);
}

test('a schedule runs by itself, again after a restart, and no more once it is deleted', async () => {
  const folder = temporaryFolder();
  let warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  let scheduler = new ExportScheduler(warehouse);
  const rows = async (): Promise<number> => Number((await warehouse.query("SELECT coalesce(sum(rows), 0)::BIGINT FROM export_files WHERE relation = 'socket_events' AND state = 'done'")).rows[0]?.[0]);
  scheduler.start();
  const { export_id } = await scheduler.add({ destination: join(folder, 'parquet'), relations: ['socket_events'], cron: '* * * * * *' });
  await warehouse.apply(makeBatch({ sequence: 1n }, { socket_events: [event] }));
  await until(async () => (await rows()) === 1);
  expect(await rows()).toBe(1);
  await scheduler.close();
  await warehouse.close();

  warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  scheduler = new ExportScheduler(warehouse);
  scheduler.start();
  await warehouse.apply(makeBatch({ sequence: 2n }, { socket_events: [event] }));
  await until(async () => (await rows()) === 2);
  expect(await rows()).toBe(2);
  await scheduler.remove(export_id);
  await scheduler.close();
  expect((await warehouse.query('SELECT deleted_at IS NOT NULL FROM exports')).rows).toEqual([[true]]);
  expect(scheduler.plans).toEqual([]);
  await warehouse.close();
});

test('the verb exports from a folder, and from a running server, to the same place each row once', async () => {
  const folder = temporaryFolder();
  const data = join(folder, 'data');
  const warehouse = await Warehouse.open({ folder: data, seal_every_ms: 0 });
  await warehouse.apply(makeBatch({ sequence: 1n }, { socket_events: [event, event] }));
  await warehouse.close();
  const program = compileProgram('main.ts');
  onTestFinished(() => program.remove());
  const verb = async (): Promise<{ rows: string }> =>
    JSON.parse((await promisify(execFile)(process.execPath, [program.path, 'export', '--data', data, '--to', join(folder, 'parquet'), '--relation', 'socket_events', '--relation', 'messages', '--json'])).stdout) as { rows: string };
  expect((await verb()).rows).toBe('2');
  const server = spawn(process.execPath, [program.path, 'serve', '--data', data, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  await new Promise((resolve) => server.stdout.once('data', resolve));
  expect(existsSync(join(data, 'tracehouse.sock'))).toBe(true);
  expect((await verb()).rows).toBe('0');
  server.kill('SIGTERM');
  expect(await ended).toBe(0);
}, 60_000);
