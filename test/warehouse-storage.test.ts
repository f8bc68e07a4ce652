import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import type { WarehouseOptions } from '../ingest/warehouse.ts';
import { compileProgram } from './support/compile-program.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { makeBatch } from './support/make-batch.ts';
import type { Row } from './support/make-batch.ts';
import { smallDisk } from './support/disks.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const COMPACTION = { small: 3, minutes: 60, hours: 72, idle_ms: 60_000 };
const open = (folder: string, options: Partial<WarehouseOptions> = {}): Promise<Warehouse> => Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 20, compaction: COMPACTION, ...options });

const event = (ts_ns: number | bigint): Row => ({ ts_ns, mono_ns: ts_ns, socket_id: 7n, op: 'read', bytes: 10, stream_offset: 0, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false });
const HOUR = 3_600_000_000_000;

async function applyAndSeal(warehouse: Warehouse, sequence: bigint, times: readonly number[]): Promise<void> {
  await warehouse.apply(makeBatch({ sequence, utc_ns: BigInt(times[0] ?? 0) }, { socket_events: times.map(event) }));
  await warehouse.seal();
}

const timesOf = async (warehouse: Warehouse): Promise<unknown[]> => (await warehouse.query('SELECT ts_ns FROM stored.socket_events ORDER BY ALL')).rows.map(([ts]) => Number(ts));
const levels = (warehouse: Warehouse): number[] => warehouse.segments.filter((segment) => segment.kind === 'raw' && segment.state === 'sealed').map((segment) => segment.level);
const files = (folder: string): string[] => readdirSync(join(folder, 'raw')).filter((name) => !name.startsWith('open-'));

test('compaction goes on while retention finds that nothing has to go', async () => {
  const warehouse = await open(temporaryFolder());
  for (let i = 1; i <= 3; i++) await applyAndSeal(warehouse, BigInt(i), [i * 10 + 2, i * 10 + 1]);
  let over = false;
  const compaction = warehouse.compact().finally(() => (over = true));
  let asked = 0;
  while (!over) {
    expect(await warehouse.dropBefore(0n)).toEqual({ files: 0, bytes: 0 });
    asked += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await compaction;
  expect(asked).toBeGreaterThan(1);
  expect(levels(warehouse)).toEqual([1]);
  await warehouse.close();
});

test('compaction: same rows in fewer files, each batch still known', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  for (let i = 1; i <= 4; i++) await applyAndSeal(warehouse, BigInt(i), [i * 10 + 2, i * 10 + 1]);
  await warehouse.compact();
  expect(levels(warehouse)).toEqual([1]);
  expect(await timesOf(warehouse)).toEqual([11, 12, 21, 22, 31, 32, 41, 42]);
  expect((await warehouse.apply(makeBatch({ sequence: 2n }))).status).toBe('duplicate');
  await warehouse.close();
  expect(files(folder)).toHaveLength(1);
  warehouse = await open(folder);
  expect((await warehouse.apply(makeBatch({ sequence: 3n }))).status).toBe('duplicate');
  expect(await timesOf(warehouse)).toHaveLength(8);
  await warehouse.close();
});

test('what correlation comes to next stays as it is: so many files', async () => {
  const warehouse = await open(temporaryFolder(), { compaction: { ...COMPACTION, to_be_read: 4 }, now: () => 0 });
  warehouse.noteRead(2n);
  for (let i = 1; i <= 5; i++) await applyAndSeal(warehouse, BigInt(i), [i * 10]);
  await warehouse.compact();
  expect(levels(warehouse)).toEqual([0, 0, 0, 0, 0]);
  warehouse.noteRead(3n);
  await warehouse.compact();
  expect(levels(warehouse)).toEqual([1, 0, 0]);
  // The oldest four that wait stay; three beyond them become one.
  for (let i = 6; i <= 8; i++) await applyAndSeal(warehouse, BigInt(i), [i * 10]);
  await warehouse.compact();
  expect(levels(warehouse)).toEqual([1, 0, 0, 0, 0, 0]);
  await applyAndSeal(warehouse, 9n, [90]);
  await applyAndSeal(warehouse, 10n, [100]);
  await warehouse.compact();
  expect(levels(warehouse)).toEqual([1, 0, 0, 0, 0, 1]);
  expect(await timesOf(warehouse)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
  await warehouse.close();
});

test.each(['socket_events', 'thread_events', 'messages'] as const)('%s read file by file is the table, also where packed files lie beside others', async (table) => {
  const warehouse = await open(temporaryFolder());
  const rows: Record<typeof table, (at: number) => Row> = {
    socket_events: (at) => event(at),
    thread_events: (at) => ({ ts_ns: at, mono_ns: at + 5, process_id: 3n, thread_id: 4n, op: 'wake', target_thread_id: 6n, target_process_id: 7n, comm: 'worker', in_irq: false }),
    messages: (at) => ({ ts_ns: at, end_ts_ns: at + 2, socket_id: 7n, conn_id: 8n, process_id: 3n, role: 'server', kind: 'request', exchange_no: at, stream_offset: 1, end_offset: 9, method: 'GET', path: `/${at}`, complete: true, partial: false }),
  };
  const add = (at: number): Promise<unknown> => warehouse.apply(makeBatch({ sequence: BigInt(at), utc_ns: BigInt(at) }, { [table]: [rows[table](at), rows[table](at + 100)] }));
  for (let at = 1; at <= 3; at++) {
    await add(at);
    await warehouse.seal();
  }
  await warehouse.compact();
  expect(levels(warehouse)).toEqual([1]);
  await add(4);
  await warehouse.seal();
  await add(5);
  const read = async (relation: string): Promise<unknown> => (await warehouse.query(`SELECT * FROM ${relation} ORDER BY ts_ns`)).rows;
  const columns = (await warehouse.query(`DESCRIBE stored.${table}`)).rows.map(([name]) => String(name));
  const all = await read(`(SELECT ${columns.join(', ')} FROM stored.${table})`);
  expect(all).toHaveLength(10);
  expect(await read(`(SELECT ${columns.join(', ')} FROM ${warehouse.storedBetween('raw', table, 0n, 10n ** 18n)})`)).toEqual(all);
  expect(await read(`(SELECT ${columns.join(', ')} FROM ${warehouse.storedSince(table, 0n)})`)).toEqual(all);
  await warehouse.close();
});

test('a compaction that was cut off leaves neither doubles nor gaps', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  for (let i = 1; i <= 3; i++) await applyAndSeal(warehouse, BigInt(i), [i]);
  await warehouse.close();
  const inputs = files(folder);
  const saved = join(folder, 'saved');
  mkdirSync(saved);
  for (const name of inputs) execFileSync('cp', [join(folder, 'raw', name), saved]);
  warehouse = await open(folder);
  await warehouse.compact();
  await warehouse.close();
  // As if it had been killed before it deleted its inputs, with another one begun.
  for (const name of inputs) execFileSync('cp', [join(saved, name), join(folder, 'raw')]);
  writeFileSync(join(folder, 'raw', 'temp-0123456789ab.duckdb'), 'half a file');
  warehouse = await open(folder);
  expect(await timesOf(warehouse)).toEqual([1, 2, 3]);
  expect(files(folder)).toHaveLength(1);
  await warehouse.close();
});

test('retention: whole files go at once, what they applied stays known, numbers go on', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  for (let i = 1; i <= 3; i++) await applyAndSeal(warehouse, BigInt(i), [i * HOUR, i * HOUR + 5]);
  const sizes = warehouse.segments.filter((segment) => segment.state === 'sealed').map((segment) => segment.bytes);
  const dropped = await warehouse.dropBefore(BigInt(3 * HOUR));
  expect(dropped).toEqual({ files: 2, bytes: (sizes[0] as number) + (sizes[1] as number) });
  expect(files(folder)).toHaveLength(1);
  expect(await timesOf(warehouse)).toEqual([3 * HOUR, 3 * HOUR + 5]);
  expect(await warehouse.dropBefore(BigInt(3 * HOUR))).toEqual({ files: 0, bytes: 0 });
  await warehouse.dropBefore(BigInt(9 * HOUR));
  await warehouse.close();
  warehouse = await open(folder);
  for (const sequence of [1n, 2n, 3n]) expect((await warehouse.apply(makeBatch({ sequence }))).status).toBe('duplicate');
  expect(await warehouse.apply(makeBatch({ sequence: 4n }))).toEqual({ status: 'applied', apply_no: 4n });
  await warehouse.close();
});

test('retention that is cut off before the files have gone counts their rows once', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  await applyAndSeal(warehouse, 1n, [1, 2, 3]);
  await warehouse.exports.noteDropped(warehouse.segments.filter(({ state }) => state === 'sealed'), () => 'asked', 1n);
  await warehouse.close();
  warehouse = await open(folder);
  expect(await timesOf(warehouse)).toEqual([1, 2, 3]);
  await warehouse.dropBefore(BigInt(HOUR));
  expect((await warehouse.query("SELECT rows, reason FROM dropped_segments WHERE relation = 'socket_events'")).rows).toEqual([[3n, 'asked']]);
  await warehouse.close();
});

test('a file that was damaged is set aside and named, the rest goes on', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  await applyAndSeal(warehouse, 1n, [1]);
  await warehouse.close();
  writeFileSync(join(folder, 'raw', 'open-00000000aaaa.duckdb'), Buffer.alloc(100_000, 7));
  writeFileSync(join(folder, 'raw', '0-5-6-00000000bbbb.duckdb'), Buffer.alloc(100_000, 7));
  writeFileSync(join(folder, 'raw', 'open-00000000cccc.duckdb'), '');
  const lines: string[] = [];
  warehouse = await open(folder, { log: (line) => lines.push(line) });
  expect(await timesOf(warehouse)).toEqual([1]);
  expect(lines).toHaveLength(2);
  expect(lines.join('\n')).toMatch(/bbbb.*left out[\s\S]*aaaa.*set aside/);
  expect(existsSync(join(folder, 'raw', 'damaged-00000000aaaa.duckdb'))).toBe(true);
  await warehouse.close();
});

let program: ReturnType<typeof compileProgram>;
beforeAll(() => (program = compileProgram('test/support/apply-program.ts')) && undefined);
afterAll(() => program.remove());

test('another process has the folder: one line says which, reading included; killed, it leaves no lock', async () => {
  const folder = temporaryFolder();
  const child = spawn(process.execPath, [program.path, folder, '1'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = new Promise((resolve) => child.on('close', resolve));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  for (const read_only of [false, true]) {
    await expect(open(folder, { read_only })).rejects.toMatchObject({ code: 'warehouse-locked', message: expect.stringContaining(`process ${child.pid}`) });
  }
  child.kill('SIGKILL');
  await closed;
  // What it left has write-ahead logs; reading them changes nothing.
  const before = readdirSync(join(folder, 'raw')).toSorted();
  const reader = await open(folder, { read_only: true });
  const rows = await timesOf(reader);
  await reader.close();
  expect(readdirSync(join(folder, 'raw')).toSorted()).toEqual(before);
  const warehouse = await open(folder);
  expect(await timesOf(warehouse)).toEqual(rows);
  await warehouse.close();
});

test('a full disk: batches are refused whole, and taken when there is room again', async (context) => {
  const disk = smallDisk(64);
  if (typeof disk === 'string') return context.skip(disk);
  const folder = join(disk.path, 'data');
  const warehouse = await open(folder);
  const batch = (sequence: bigint): ReturnType<typeof makeBatch> => makeBatch({ sequence }, { socket_events: Array.from({ length: 2000 }, (_, i) => event(Number(sequence) * 10_000 + i)) });
  await warehouse.apply(batch(1n));
  disk.fill(200_000);
  const refused = [2n, 3n, 2n].map((sequence) => warehouse.apply(batch(sequence)));
  for (const one of await Promise.allSettled(refused)) expect(one).toMatchObject({ status: 'rejected', reason: { code: 'disk-full' } });
  await expect(warehouse.seal()).rejects.toMatchObject({ code: 'disk-full' });
  expect(await timesOf(warehouse)).toHaveLength(2000);
  disk.fill(undefined);
  expect((await warehouse.apply(batch(2n))).status).toBe('applied');
  await warehouse.seal();
  expect(await timesOf(warehouse)).toHaveLength(4000);
  const scheduler = new ExportScheduler(warehouse);
  const { export_id } = await scheduler.add({ destination: temporaryFolder(), relations: ['socket_events'] });
  disk.fill(200_000);
  await expect(scheduler.run(export_id)).rejects.toMatchObject({ code: 'disk-full' });
  disk.fill(undefined);
  expect((await scheduler.run(export_id)).rows).toBe(4000n);
  await warehouse.close();
  disk.fill(200_000);
  await expect(open(folder)).rejects.toMatchObject({ code: 'disk-full' });
});
