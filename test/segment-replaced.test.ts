// Which files count after a process was killed between the appearance of a rewritten one and the removal of what it replaced.
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { COMPACTION_LIMITS } from '../ingest/segment-compaction.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const SECOND = 1_000_000_000n;

async function open(folder: string): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 600_000, compaction: { ...COMPACTION_LIMITS, small: 2 } });
  onTestFinished(() => warehouse.close());
  return warehouse;
}

const add = async (warehouse: Warehouse, sequence: bigint): Promise<void> => {
  await warehouse.apply(makeBatch({ sequence, watermark_ns: sequence * SECOND }, { socket_events: [{ ts_ns: sequence * SECOND, socket_id: 1n, op: 'read', bytes: 1n, layer: 'socket' }] }));
  await warehouse.seal();
};

test('a file that was put together with others is not counted again, although the file that replaced it was replaced and has gone first', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  await add(warehouse, 1n);
  await add(warehouse, 2n);
  const raw = () => warehouse.segments.filter(({ kind, state }) => kind === 'raw' && state === 'sealed');
  const [first] = raw();
  const kept = join(temporaryFolder(), 'kept.duckdb');
  copyFileSync(first?.path as string, kept);
  await warehouse.compact();
  expect(raw().length).toBe(1);
  await add(warehouse, 3n);
  await warehouse.withSealed((sealed, gather) => gather(sealed.filter(({ kind }) => kind === 'raw')));
  expect(raw().length).toBe(1);
  await warehouse.close();
  copyFileSync(kept, first?.path as string);
  warehouse = await open(folder);
  expect((await warehouse.query('SELECT count(*), count(DISTINCT ts_ns) FROM stored.socket_events')).rows).toEqual([[3n, 3n]]);
  expect(raw().length).toBe(1);
});

test('a file that was just sealed counts, although others were put together while its name of an open one was still on its way out', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  for (const sequence of [1n, 2n, 3n]) await add(warehouse, sequence);
  await warehouse.withSealed((sealed, gather) => gather(sealed.filter(({ kind }) => kind === 'raw').toSorted((a, b) => (a.to_ns < b.to_ns ? -1 : 1)).slice(0, 2)));
  await warehouse.close();
  warehouse = await open(folder);
  expect((await warehouse.query('SELECT sequence FROM stored.batches ORDER BY 1')).rows).toEqual([[1n], [2n], [3n]]);
  expect((await warehouse.query('SELECT count(*), count(DISTINCT ts_ns) FROM stored.socket_events')).rows).toEqual([[3n, 3n]]);
});

test('files whose rows did not all arrive in the one that should replace them stay', async () => {
  const warehouse = await open(temporaryFolder());
  await add(warehouse, 1n);
  await add(warehouse, 2n);
  const raw = () => warehouse.segments.filter(({ kind, state }) => kind === 'raw' && state === 'sealed');
  const [first] = raw();
  if (first === undefined) throw new Error('nothing was sealed');
  (first.rows as Map<string, number>).set('socket_events', 2); // one more than can be read
  await expect(warehouse.compact()).rejects.toThrow('2 of 3 rows of socket_events were copied');
  expect(raw().length).toBe(2);
  expect((await warehouse.query('SELECT count(*) FROM stored.socket_events')).rows).toEqual([[2n]]);
});
