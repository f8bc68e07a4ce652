// Where files become one: an instance of DuckDB beside the warehouse's, behind it for processors.
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect, onTestFinished, test } from 'vitest';
import { checkpointUnmerged } from '../ingest/checkpoint.ts';
import { Compactor, CopyMemory } from '../ingest/compactor.ts';
import { isOutOfMemoryAtCheckpoint } from '../ingest/duckdb-errors.ts';
import type { Segment } from '../ingest/segment-catalog.ts';
import { SegmentTables, schemaFolder } from '../ingest/segment-tables.ts';
import { SideInstance } from '../ingest/side-instance.ts';
import { COMPACTION_LIMITS } from '../ingest/segment-compaction.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const own = await DuckDBInstance.create();
const tables = await SegmentTables.load(await own.connect(), schemaFolder());

function dataFolder(): string {
  const folder = temporaryFolder();
  for (const name of ['raw', 'tmp']) mkdirSync(join(folder, name));
  return folder;
}

/** A sealed file with so many socket events, in no order. */
async function sealed(folder: string, uid: string, events: number): Promise<Segment> {
  const path = join(folder, 'raw', `${uid}.duckdb`);
  const compactor = await Compactor.open({ folder, tables, memory: new CopyMemory() });
  const { connection, create, detach } = compactor.maker;
  await create(path, 'raw', { uid, alias: uid });
  await connection.run(`INSERT INTO ${uid}.main.socket_events BY NAME SELECT hash(range) % 65536 AS ts_ns, range AS socket_id, 'read' AS op, 'socket' AS layer FROM range(${events})`);
  await connection.run(`CHECKPOINT ${uid}`);
  await detach(uid);
  await compactor.close();
  return { kind: 'raw', uid, level: 0, state: 'sealed', alias: uid, path, from_ns: 0n, to_ns: 65_535n, rows: new Map([['socket_events', events]]), bytes: 0, last_apply_no: null, born_ms: 0 };
}

async function countIn(path: string): Promise<unknown> {
  const instance = await DuckDBInstance.create(path, { access_mode: 'READ_ONLY' });
  const connection = await instance.connect();
  const rows = await (await connection.run('SELECT count(*), count(DISTINCT socket_id) FROM socket_events')).getRows();
  connection.closeSync();
  instance.closeSync();
  return rows[0];
}

test('rows of two files in one, which leaves nothing behind, also when it was interrupted', async () => {
  const folder = dataFolder();
  const inputs = [await sealed(folder, 'one', 200_000), await sealed(folder, 'two', 200_000)];
  const path = join(folder, 'raw', 'both.duckdb');
  const compactor = await Compactor.open({ folder, tables, memory: new CopyMemory() });
  const { create, detach } = compactor.maker;
  await create(path, 'raw', { uid: 'both', alias: 'both' });
  let parts = 0;
  await compactor.copy('raw', inputs, 'both', { rest: () => 0, between: async () => {
    parts += 1;
    for (const input of inputs) input.alias = `${input.alias}_anew`; // as the warehouse may
  } });
  await detach('both');
  const attached = async (): Promise<unknown> => (await (await compactor.maker.connection.run("SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> 'memory'")).getRows()).flat();
  expect(await attached()).toEqual([]);
  expect([parts, await countIn(path)]).toEqual([2, [400_000n, 200_000n]]);

  await create(`${path}2`, 'raw', { uid: 'again', alias: 'again' });
  const copy = compactor.copy('raw', inputs, 'again', { rest: () => 0 });
  setTimeout(() => compactor.interrupt(), 30);
  const failed = await copy.catch((error: unknown) => error);
  expect([(failed as Error).message, compactor.interrupted, compactor.hasFailed(failed), compactor.hasFailed(new Error('of another'))]).toEqual([expect.stringMatching(/interrupted|urgent/i), true, true, false]);
  await expect(compactor.maker.connection.run('SELECT 1')).rejects.toThrow('more urgent');
  await detach('again'); // which is still to be done, and can be, as nothing runs any more
  await compactor.close();
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
});

const niceOf = (thread: string): number => Number(readFileSync(`/proc/self/task/${thread}/stat`, 'utf8').split(') ')[1]?.split(' ')[16]);

test('its threads, and no others, are nicer than the process', async () => {
  const folder = dataFolder();
  const before = new Map(readdirSync('/proc/self/task').map((thread) => [thread, niceOf(thread)]));
  const side = await SideInstance.open({ folder, name: 'nice', memory_limit: '64MB', temp_limit: '1GB', threads: 2 });
  onTestFinished(() => side.close());
  side.yieldBy(7);
  const own = niceOf(String(process.pid));
  const nicer = readdirSync('/proc/self/task').filter((thread) => niceOf(thread) === own + 7);
  expect(nicer).toHaveLength(2);
  expect([...before].filter(([thread, nice]) => existsSync(`/proc/self/task/${thread}`) && niceOf(thread) !== nice)).toEqual([]);
  const connection = await side.connect();
  const ticks = (): number[] => nicer.map((thread) => Number(readFileSync(`/proc/self/task/${thread}/stat`, 'utf8').split(') ')[1]?.split(' ')[11]));
  const [begun, all] = [ticks(), process.cpuUsage()];
  await connection.run('CREATE TABLE t AS SELECT hash(range) AS h FROM range(2000000) ORDER BY 1');
  const theirs = ticks().reduce((sum, now, at) => sum + now - (begun[at] as number), 0) / 100;
  const { user } = process.cpuUsage(all);
  expect(theirs / (user / 1e6)).toBeGreaterThan(0.5); // the work is theirs
});

test('once more with more memory, where that was what it lacked, and only it', async () => {
  const folder = dataFolder();
  const limits: unknown[] = [];
  const limitOf = async (compactor: Compactor): Promise<unknown> => (await (await compactor.maker.connection.run("SELECT current_setting('memory_limit')")).getRows())[0]?.[0];
  const memory = new CopyMemory();
  const done = await Compactor.with({ folder, tables, memory }, async (compactor) => {
    limits.push(await limitOf(compactor));
    await compactor.maker.connection.run('SELECT length(list(range)) FROM range(20000000)'); // which cannot be spilled
    return 'done';
  });
  expect([done, limits, memory.limit]).toEqual(['done', ['152.5 MiB', '244.1 MiB', '488.2 MiB'].slice(0, limits.length), '512MB']);
  await expect(Compactor.with({ folder, tables, memory }, (compactor) => compactor.maker.connection.run('SELECT length(list(range)) FROM range(200000000)'))).rejects.toThrow(/^Out of Memory Error/);
  expect([memory.growBeyond('160MB'), memory.growBeyond('512MB')]).toEqual([true, false]); // one that had less may try again
  let tries = 0;
  const elsewhere = new Error('Out of Memory Error: in the instance that stores');
  await expect(Compactor.with({ folder, tables, memory: new CopyMemory() }, async () => { tries += 1; throw elsewhere; })).rejects.toBe(elsewhere);
  expect([tries, readdirSync(join(folder, 'tmp'))]).toEqual([1, []]);
});

/** As DuckDB answers when it has given up on a file, or on everything. */
const GIVEN_UP = [
  ['FATAL Error: Failed to create checkpoint because of error: Out of Memory Error: failed to pin block of size 256.0 KiB', 'FATAL Error: Failed: database has been invalidated because of a previous fatal error.'],
  ['Database "both" has been invalidated because checkpointing failed. Original error: could not allocate block of size 256.0 KiB', 'anything'],
] as const;

test.each(GIVEN_UP)('a checkpoint that lacked memory is known as such: %s', async (checkpoint, reset) => {
  const said: string[] = [];
  const runner = { run: async (sql: string): Promise<never> => {
    said.push(sql);
    if (sql.startsWith('SET')) return undefined as never;
    throw new Error(sql.startsWith('CHECKPOINT') ? checkpoint : reset);
  } };
  const failed = (await checkpointUnmerged({}, runner, 'both').catch((error: unknown) => error)) as Error;
  expect([failed.message, isOutOfMemoryAtCheckpoint(failed), said.length]).toEqual([checkpoint, true, 3]);
  expect(isOutOfMemoryAtCheckpoint(new Error('FATAL Error: Failed to create checkpoint because of error: IO Error: no space left'))).toBe(false);
});

test('row groups are left as they are until the last of several checkpoints is over', async () => {
  const said: string[] = [];
  const ends: (() => void)[] = [];
  const runner = { run: (sql: string): Promise<never> => {
    said.push(sql);
    return sql.startsWith('CHECKPOINT') ? new Promise<never>((resolve) => ends.push(resolve as () => void)) : Promise.resolve(undefined as never);
  } };
  const instance = {};
  const both = ['one', 'two'].map((alias) => checkpointUnmerged(instance, runner, alias));
  while (ends.length < 2) await new Promise((resolve) => setImmediate(resolve));
  ends[0]?.();
  await Promise.race(both);
  expect(said).not.toContain('RESET GLOBAL max_vacuum_tasks');
  ends[1]?.();
  await Promise.all(both);
  expect(said).toHaveLength(4);
  expect([said[0], said.at(-1)]).toEqual(['SET GLOBAL max_vacuum_tasks = 0', 'RESET GLOBAL max_vacuum_tasks']);
});

async function fullWarehouse(): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 20, compaction: { ...COMPACTION_LIMITS, small: 3 } });
  onTestFinished(() => warehouse.close());
  for (let sequence = 1n; sequence <= 3n; sequence++) {
    const rows = Array.from({ length: 60_000 }, (_, at) => ({ ts_ns: sequence * 1_000_000n + BigInt((at * 7919) % 60_000), socket_id: BigInt(at % 977), op: 'read', bytes: 1n, layer: 'socket' }));
    await warehouse.apply(makeBatch({ sequence, watermark_ns: sequence }, { socket_events: rows }));
    await warehouse.seal();
  }
  return warehouse;
}

const halfDone = (warehouse: Warehouse): string[] => readdirSync(join(warehouse.folder, 'raw')).filter((name) => name.startsWith('temp-'));
async function untilBegun(warehouse: Warehouse): Promise<void> {
  while (halfDone(warehouse).length === 0) await new Promise((resolve) => setImmediate(resolve));
}
const files = (warehouse: Warehouse): number => warehouse.segments.filter(({ kind, state }) => kind === 'raw' && state === 'sealed').length;

test('compaction makes way for what is more urgent at any moment, leaves nothing half done, and is done the next time', async () => {
  const warehouse = await fullWarehouse();
  for (const wait_ms of [0, 20, 60]) {
    const compaction = warehouse.compact();
    await untilBegun(warehouse);
    await new Promise((resolve) => setTimeout(resolve, wait_ms));
    expect(await warehouse.withSealed(async () => [files(warehouse), halfDone(warehouse)])).toEqual([3, []]);
    await compaction;
  }
  await warehouse.compact();
  expect(files(warehouse)).toBe(1);
  expect((await warehouse.query('SELECT count(*), count(DISTINCT ts_ns) FROM stored.socket_events')).rows).toEqual([[180_000n, 180_000n]]);
});

test('who asks for compaction while one is under way waits for it', async () => {
  const warehouse = await fullWarehouse();
  const compaction = warehouse.compact();
  await untilBegun(warehouse);
  await warehouse.compact();
  expect(files(warehouse)).toBe(1);
  await compaction;
});

test('a warehouse that is closed while files are put together keeps them as they were', async () => {
  const warehouse = await fullWarehouse();
  const compaction = warehouse.compact();
  await untilBegun(warehouse);
  await warehouse.close();
  expect([halfDone(warehouse), readdirSync(join(warehouse.folder, 'tmp'))]).toEqual([[], []]); // as it waits for that
  await compaction;
  const again = await Warehouse.open({ folder: warehouse.folder, seal_every_ms: 0 });
  onTestFinished(() => again.close());
  expect([files(again), (await again.query('SELECT count(*) FROM stored.socket_events')).rows]).toEqual([3, [[180_000n]]]);
});
