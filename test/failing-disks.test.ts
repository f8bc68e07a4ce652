// Disks that fill or fail while two batches are written at a time: what was acknowledged is there, once, and the rest can come again.
import { randomFillSync } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { expect, onTestFinished, test } from 'vitest';
import { ARROW_STREAM } from '../api/routes/ingest.ts';
import type { Batch } from '../ingest/batch.ts';
import { encodeBatches } from '../ingest/arrow-format.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Server } from '../main/server.ts';
import { dyingDisk, smallDisk, thinDisk } from './support/disks.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

async function open(folder: string, lines: string[] = []): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 20, log: (line) => lines.push(line) });
  onTestFinished(() => warehouse.close());
  return warehouse;
}

/** Of rows that nothing makes smaller. */
function batch(sequence: number, rows: number, row_bytes: number, run_id = 1n): Batch {
  const random = randomFillSync(new Uint8Array(rows * row_bytes));
  const events = Array.from({ length: rows }, (_, i) => ({
    ts_ns: sequence * 1_000_000 + i, mono_ns: i, socket_id: sequence, op: 'read', bytes: 1, stream_offset: i, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false,
    payload: random.subarray(i * row_bytes, (i + 1) * row_bytes),
  }));
  return makeBatch({ sequence: BigInt(sequence), run_id, watermark_ns: BigInt(sequence * 1_000_000 + rows) }, { socket_events: events });
}

const PATIENT = { timeout: 20_000 };

type Outcome = 'stored' | 'known' | Error;
const STATUS = { applied: 'stored', duplicate: 'known' } as const;

/** All at once, as whoever has batches waiting. */
async function apply(warehouse: Warehouse, batches: readonly Batch[]): Promise<Outcome[]> {
  const settled = await Promise.allSettled(batches.map((one) => warehouse.apply(one)));
  return settled.map((one) => (one.status === 'fulfilled' ? STATUS[one.value.status] : (one.reason as Error)));
}

/** Sequence numbers that are stored, each with as many events as it brought, and once. */
async function stored(warehouse: Warehouse): Promise<number[]> {
  const { rows } = await warehouse.query(`
    SELECT b.sequence, b.rows, count(e.socket_id), count(DISTINCT e.stream_offset) FROM stored.batches b LEFT JOIN stored.socket_events e ON e.socket_id = b.sequence GROUP BY ALL ORDER BY 1`);
  for (const [, told, events, distinct] of rows) expect([events, distinct]).toEqual([told, told]);
  const sequences = rows.map(([sequence]) => Number(sequence));
  expect(new Set(sequences).size).toBe(sequences.length);
  return sequences;
}

/** DuckDB ends the process when a connection is closed with a transaction on a file that it gave up on. */
async function letGo(reader: DuckDBConnection): Promise<void> {
  await reader.run('ROLLBACK').catch(() => undefined);
  reader.closeSync();
}

const FULL = expect.objectContaining({ code: 'disk-full', mend: expect.stringContaining('free some space'), cause: expect.objectContaining({ message: expect.stringContaining('No space left on device') }) });

test.for([
  // Through the write-ahead log; compressed into the file itself, before the commit.
  { way: 'the first fits', rows: 2000, row_bytes: 6000, free: 17_500_000, first: 'stored' as const },
  { way: 'neither fits', rows: 8000, row_bytes: 3000, free: 20_000_000, first: FULL },
])('the disk fills while two batches are written: $way', async ({ rows, row_bytes, free, first }, context) => {
  const disk = smallDisk(128);
  if (typeof disk === 'string') return context.skip(disk);
  const warehouse = await open(join(disk.path, 'data'));
  const [two, three] = [batch(2, rows, row_bytes), batch(3, rows, row_bytes)];
  expect(await apply(warehouse, [batch(1, 100, 10)])).toEqual(['stored']);
  disk.fill(free);
  expect(await apply(warehouse, [two, three])).toEqual([first, FULL]);
  expect(await stored(warehouse)).toEqual(first === 'stored' ? [1, 2] : [1]);
  disk.fill(undefined);
  expect(await apply(warehouse, [two, three])).toEqual([first === 'stored' ? 'known' : 'stored', 'stored']);
  expect(await stored(warehouse)).toEqual([1, 2, 3]);
  await warehouse.close();
  expect(await stored(await open(join(disk.path, 'data')))).toEqual([1, 2, 3]);
});

/** Only the raw segments lie on the small disk, so that nothing looks ahead whether they fit: as when another program takes the room meanwhile. */
async function onSmallDisk(context: { skip(note: string): never }, megabytes: number): Promise<{ disk: Exclude<ReturnType<typeof smallDisk>, string>; folder: string; warehouse: Warehouse; lines: string[] }> {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'raw'));
  const disk = smallDisk(megabytes, join(folder, 'raw'));
  if (typeof disk === 'string') return context.skip(disk);
  const lines: string[] = [];
  return { disk, folder, warehouse: await open(folder, lines), lines };
}

test('a segment that cannot be sealed, for want of room and while somebody reads it: batches go on beside it, and it is readable and sealed later', async (context) => {
  const { disk, folder, warehouse } = await onSmallDisk(context, 64);
  expect(await apply(warehouse, [batch(1, 3000, 1000), batch(2, 3000, 1000)])).toEqual(['stored', 'stored']);
  const reader = await warehouse.connect();
  await reader.run('BEGIN');
  await reader.run('SELECT count(*) FROM stored.socket_events');
  disk.fill(300_000);
  const sealing = expect(warehouse.seal()).rejects.toMatchObject({ code: 'segment-busy', mend: expect.any(String), cause: { message: expect.stringContaining('already attached') } });
  expect(await apply(warehouse, [batch(3, 10, 10), batch(4, 10, 10), batch(5, 10, 10)])).toEqual(['stored', 'stored', 'stored']);
  await sealing;
  await expect(stored(warehouse)).rejects.toThrow(/does not exist/);
  await letGo(reader);
  // Still no room, but nobody holds the file any more.
  await expect(warehouse.seal()).rejects.toEqual(FULL);
  expect(await stored(warehouse)).toEqual([1, 2, 3, 4, 5]);
  disk.fill(undefined);
  expect(await apply(warehouse, [batch(5, 10, 10), batch(6, 10, 10)])).toEqual(['known', 'stored']);
  await warehouse.seal();
  expect(await stored(warehouse)).toEqual([1, 2, 3, 4, 5, 6]);
  await warehouse.close();
  expect(await stored(await open(folder))).toEqual([1, 2, 3, 4, 5, 6]);
});

test.for([{ reader: 'nobody' }, { reader: 'somebody' }])('DuckDB gives up on the segment that two batches are written to, read by $reader', async ({ reader }, context) => {
  const { disk, folder, warehouse } = await onSmallDisk(context, 64);
  expect(await apply(warehouse, [batch(1, 3000, 1000), batch(2, 3000, 1000)])).toEqual(['stored', 'stored']);
  const other = await warehouse.connect();
  await other.run(reader === 'nobody' ? 'SELECT 1' : 'BEGIN; SELECT count(*) FROM stored.socket_events');
  const checkpointing = await warehouse.connect();
  disk.fill(300_000);
  const { alias } = warehouse.segments.find((segment) => segment.kind === 'raw' && segment.state === 'open') as { alias: string };
  const beside = apply(warehouse, [batch(3, 5000, 1000), batch(4, 5000, 1000)]);
  // DuckDB refuses it while a transaction ends.
  await expect.poll(() => checkpointing.run(`CHECKPOINT "${alias}"`).catch((error: Error) => error.message), PATIENT).toMatch(/has been invalidated/);
  const failed = { code: 'disk-full', mend: expect.any(String) };
  expect(await beside).toEqual([expect.objectContaining(failed), expect.objectContaining(failed)]);
  if (reader === 'somebody') expect(await apply(warehouse, [batch(3, 10, 10)])).toEqual([expect.objectContaining({ code: 'segment-busy' })]);
  await letGo(other);
  disk.fill(undefined);
  expect(await apply(warehouse, [batch(3, 10, 10), batch(4, 10, 10), batch(2, 10, 10)])).toEqual(['stored', 'stored', 'known']);
  expect(await stored(warehouse)).toEqual([1, 2, 3, 4]);
  await warehouse.close();
  expect(await stored(await open(folder))).toEqual([1, 2, 3, 4]);
});

test('a commit that fails at its own checkpoint, in a file that somebody reads: the batches come again, once', async (context) => {
  const { disk, folder, warehouse } = await onSmallDisk(context, 64);
  expect(await apply(warehouse, [batch(1, 3000, 1000)])).toEqual(['stored']);
  const reader = await warehouse.connect();
  await reader.run("SET GLOBAL checkpoint_threshold = '4MB'");
  await reader.run('BEGIN; SELECT count(*) FROM stored.socket_events');
  disk.fill(2_500_000);
  const two = [batch(2, 2000, 1000), batch(3, 2000, 1000)];
  // The second one's commit may come to it itself, or find what the first one's did.
  const failed = expect.objectContaining({ code: 'disk-full', cause: expect.objectContaining({ message: expect.stringMatching(/Checkpoint failed|because checkpointing failed/) }) });
  expect(await apply(warehouse, two)).toEqual([failed, failed]);
  await letGo(reader);
  disk.fill(undefined);
  await apply(warehouse, two);
  expect(await stored(warehouse)).toEqual([1, 2, 3]);
  await warehouse.close();
  expect(await stored(await open(folder))).toEqual([1, 2, 3]);
});

/** Two sealed files with rows of which some outlive them, and a disk without room for a checkpoint. */
async function beforeRetention(context: { skip(note: string): never }): Promise<{ disk: Exclude<ReturnType<typeof smallDisk>, string>; folder: string; warehouse: Warehouse }> {
  const disk = smallDisk(64);
  if (typeof disk === 'string') return context.skip(disk);
  const folder = join(disk.path, 'data');
  const warehouse = await open(folder);
  for (const sequence of [1n, 2n]) {
    await warehouse.apply(makeBatch({ sequence, watermark_ns: sequence }, { processes: [{ ts_ns: sequence, process_id: sequence }] }));
    await warehouse.seal();
  }
  disk.fill(150_000);
  return { disk, folder, warehouse };
}

test('retention on a full disk: what outlives the files is kept without a checkpoint, and all goes on', async (context) => {
  const { disk, folder, warehouse } = await beforeRetention(context);
  expect(await warehouse.dropBefore(100n)).toMatchObject({ files: 2 });
  disk.fill(undefined);
  expect(await apply(warehouse, [batch(1, 10, 10), batch(3, 10, 10)])).toEqual(['known', 'stored']);
  await warehouse.seal();
  const processes = async (of: Warehouse): Promise<unknown> => (await of.query('SELECT process_id FROM stored.processes ORDER BY 1')).rows;
  expect(await processes(warehouse)).toEqual([[1n], [2n]]);
  expect(await warehouse.dropBefore(10_000_000n)).toMatchObject({ files: 1 });
  await warehouse.close();
  const again = await open(folder);
  expect(await processes(again)).toEqual([[1n], [2n]]);
  expect(await apply(again, [batch(2, 10, 10), batch(3, 10, 10), batch(4, 10, 10)])).toEqual(['known', 'known', 'stored']);
});

test('a ledger that DuckDB gave up on: the warehouse says that it is broken, and a new start goes on', async (context) => {
  const { disk, folder, warehouse } = await beforeRetention(context);
  const other = await warehouse.connect();
  await warehouse.noteLate({ from_ns: 1n, to_ns: 2n });
  await expect(other.run('CHECKPOINT ledger')).rejects.toThrow(/has been invalidated/);
  other.closeSync();
  disk.fill(undefined);
  const broken = expect.objectContaining({ code: 'warehouse-broken', message: expect.stringMatching(/DuckDB gave up on .* \(Could not write file .*: No space left on device\)/) });
  await expect(warehouse.query('SELECT * FROM stored.processes')).rejects.toThrow(/has been invalidated/);
  expect(await warehouse.broken).toEqual(broken);
  await expect(warehouse.dropBefore(100n)).rejects.toEqual(broken);
  await warehouse.close();
  const again = await open(folder);
  expect(await again.late()).toEqual({ from_ns: 1n, to_ns: 2n });
  expect(await again.dropBefore(100n)).toMatchObject({ files: 2 });
});

test('a disk that cannot keep what it took (thin provisioning): the sync fails, and the batches come again', async (context) => {
  const disk = thinDisk(24);
  if (typeof disk === 'string') return context.skip(disk);
  const folder = join(disk.path, 'data');
  const warehouse = await open(folder);
  let acknowledged = 0;
  let outcomes: Outcome[] = [];
  for (; acknowledged < 40 && outcomes.every((outcome) => outcome === 'stored'); acknowledged += outcomes.filter((outcome) => outcome === 'stored').length) {
    outcomes = await apply(warehouse, [batch(acknowledged + 1, 3000, 1000), batch(acknowledged + 2, 3000, 1000)]);
  }
  expect(outcomes.at(-1)).toEqual(expect.objectContaining({ code: 'disk-full', cause: expect.objectContaining({ message: expect.stringContaining('Could not fsync') }) }));
  const before = Array.from({ length: acknowledged }, (_, i) => i + 1);
  expect(await stored(warehouse)).toEqual(before);
  disk.fail(false);
  const next = [acknowledged + 1, acknowledged + 2];
  expect(await apply(warehouse, [batch(acknowledged, 10, 10), ...next.map((sequence) => batch(sequence, 3000, 1000))])).toEqual(['known', 'stored', 'stored']);
  await warehouse.close();
  expect(await stored(await open(folder))).toEqual([...before, ...next]);
});

test('a disk that dies: nothing is acknowledged that is not stored, the error says what to do, and a new start goes on', async (context) => {
  const disk = dyingDisk();
  if (typeof disk === 'string') return context.skip(disk);
  const folder = join(disk.path, 'data');
  const lines: string[] = [];
  const warehouse = await open(folder, lines);
  expect(await apply(warehouse, [batch(1, 10, 10), batch(2, 10, 10)])).toEqual(['stored', 'stored']);
  disk.fail(true);
  const outcomes: Outcome[] = [];
  for (let sequence = 3; sequence < 43 && outcomes.every((outcome) => outcome === 'stored'); sequence += 2) {
    outcomes.push(...(await apply(warehouse, [batch(sequence, 3000, 1000), batch(sequence + 1, 3000, 1000)])));
  }
  const broken = expect.objectContaining({ code: 'warehouse-broken', message: `DuckDB gave up on ${folder} (fsync failed!)`, mend: expect.stringContaining('start again') });
  expect(outcomes.at(-1)).toEqual(broken);
  expect(await warehouse.broken).toEqual(broken);
  const acknowledged = 2 + outcomes.filter((outcome) => outcome === 'stored').length;
  disk.fail(false);
  // Nothing works in this instance any more, and nothing claims to.
  expect(await apply(warehouse, [batch(acknowledged + 1, 10, 10), batch(1, 10, 10)])).toEqual([broken, broken]);
  await expect(warehouse.seal()).rejects.toEqual(broken);
  await warehouse.close();
  expect(lines).toEqual([expect.stringContaining('closed without sealing')]);
  const again = await open(folder);
  const found = await stored(again);
  expect(found).toEqual(Array.from({ length: found.length }, (_, i) => i + 1));
  expect(found.length).toBeGreaterThanOrEqual(acknowledged);
  expect(await apply(again, [batch(acknowledged, 10, 10), batch(found.length + 1, 10, 10)])).toEqual(['known', 'stored']);
});

test('a server whose disk dies says so, closes with the number of batches it lost, and the next start counts that time as not watched', async (context) => {
  const disk = dyingDisk();
  if (typeof disk === 'string') return context.skip(disk);
  const folder = join(disk.path, 'data');
  mkdirSync(folder);
  const lines: string[] = [];
  const start = (): Promise<Server> => Server.open({ folder, listen: '127.0.0.1:0', memory_limit: '256MB', log: (line) => lines.push(line) });
  let server = await start();
  server.submit(batch(1, 10, 10));
  await expect.poll(() => server.warehouse.last_apply_no, PATIENT).toBe(1n);
  disk.fail(true);
  for (let sequence = 2; sequence <= 20; sequence += 1) server.submit(batch(sequence, 3000, 1000));
  expect(await server.broken).toMatchObject({ code: 'warehouse-broken' });
  expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
  const ingested = await fetch(`${server.url}/api/v1/ingest`, { method: 'POST', headers: { 'content-type': ARROW_STREAM }, body: encodeBatches([batch(30, 10, 10)]) as Uint8Array<ArrayBuffer> });
  expect([ingested.status, await ingested.json()]).toEqual([503, expect.objectContaining({ code: 'warehouse-broken', applied: 0 })]);
  disk.fail(false);
  await expect(server.close()).rejects.toMatchObject({ code: 'not-stored', message: expect.stringMatching(/DuckDB gave up on .*: the last \d+ batches could not be stored/), mend: expect.stringContaining('start again') });
  server = await start();
  const found = await stored(server.warehouse);
  expect(found).toEqual(Array.from({ length: found.length }, (_, i) => i + 1));
  expect(found.length).toBeLessThan(20);
  server.submit(batch(1, 10, 10, 900_000_000n));
  await expect.poll(async () => (await server.warehouse.query("SELECT from_ns, to_ns FROM stored.losses WHERE cause = 'not_running'")).rows, PATIENT).toEqual([[BigInt(found.length * 1_000_000 + (found.length === 1 ? 10 : 3000)), 900_000_000n]]);
  await server.close();
});
