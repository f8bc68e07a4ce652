import { cpSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import { expect, test } from 'vitest';
import { sealedName } from '../ingest/segment-names.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import type { WarehouseOptions } from '../ingest/warehouse.ts';
import { packageRoot } from '../schema/package-root.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

/** Small derived tables: what is tested is the storage under the real ones. */
function schema(...migrations: string[]): string {
  const folder = temporaryFolder();
  cpSync(join(packageRoot(), 'schema', 'migrations', 'raw'), join(folder, 'migrations', 'raw'), { recursive: true });
  for (const name of ['migrations/derived', 'views']) mkdirSync(join(folder, name), { recursive: true });
  migrations.forEach((sql, i) => writeFileSync(join(folder, 'migrations', 'derived', `000${i + 1}.sql`), sql));
  writeFileSync(join(folder, 'views', '01-base.sql'), 'CREATE VIEW spans AS SELECT * FROM stored.spans');
  writeFileSync(join(folder, 'views', '02-above.sql'), 'CREATE VIEW slow AS SELECT span_id FROM spans WHERE end_ns - start_ns > 5');
  return folder;
}

const FIRST = 'CREATE TABLE spans (span_id BIGINT, start_ns BIGINT, end_ns BIGINT); CREATE TABLE progress (cut_ns BIGINT);';
const COMPACTION = { small: 3, minutes: 60, hours: 72, idle_ms: 60_000 };

const open = (folder: string, schema_folder: string, options: Partial<WarehouseOptions> = {}): Promise<Warehouse> =>
  Warehouse.open({ folder, schema_folder, seal_every_ms: 0, retire_after_ms: 20, compaction: COMPACTION, ...options });

/** What the correlator does each cycle. */
async function emit(warehouse: Warehouse, cut_ns: bigint, ends: readonly number[]): Promise<void> {
  await warehouse.withDerived(async (alias, connection) => {
    await connection.run('BEGIN');
    for (const end of ends) await connection.run(`INSERT INTO ${alias}.spans (span_id, start_ns, end_ns) VALUES (${end}, ${end - 10}, ${end})`);
    await connection.run(`DELETE FROM ${alias}.progress`);
    await connection.run(`INSERT INTO ${alias}.progress VALUES (${cut_ns})`);
    await connection.run('COMMIT');
  });
  warehouse.noteCut(cut_ns);
}

const spans = async (warehouse: Warehouse): Promise<unknown[]> => (await warehouse.query('SELECT end_ns FROM spans ORDER BY ALL')).rows.map(([end]) => Number(end));
const ranges = (warehouse: Warehouse): unknown[] => warehouse.derivedSegments(0n, 1n << 62n).map(({ from_ns, to_ns, open: is_open }) => [Number(from_ns), Number(to_ns), is_open]);

test('derived segments cover exact ranges, one after the other, and views stand on them', async () => {
  const folder = temporaryFolder();
  const tables = schema(FIRST);
  let warehouse = await open(folder, tables);
  expect(await spans(warehouse)).toEqual([]);
  await emit(warehouse, 100n, [50, 90]);
  await warehouse.seal();
  await emit(warehouse, 150n, []); // bookkeeping alone: no file yet
  await emit(warehouse, 200n, [160]);
  expect(ranges(warehouse)).toEqual([[0, 100, false], [100, 200, true]]);
  await warehouse.seal();
  expect(ranges(warehouse)).toEqual([[0, 100, false], [100, 200, false]]);
  await emit(warehouse, 300n, [250]);
  expect(await spans(warehouse)).toEqual([50, 90, 160, 250]);
  expect((await warehouse.query('SELECT count(*) FROM slow')).rows).toEqual([[4n]]);
  expect((await warehouse.query('SELECT max(cut_ns) FROM stored.progress')).rows).toEqual([[300n]]);
  await warehouse.close();
  warehouse = await open(folder, tables);
  expect(await spans(warehouse)).toEqual([50, 90, 160, 250]);
  await emit(warehouse, 400n, [350]);
  expect(ranges(warehouse)).toEqual([[0, 100, false], [100, 200, false], [200, 300, false], [300, 400, true]]);
  expect(warehouse.derivedSegments(100n, 200n).map(({ to_ns }) => to_ns)).toEqual([100n, 200n]);
  expect(warehouse.derivedSegments(101n, 200n).map(({ to_ns }) => to_ns)).toEqual([200n]);
  await warehouse.close();
});

test('a seal that fails once: what follows begins where the rows of the sealed one end', async () => {
  const folder = temporaryFolder();
  const warehouse = await open(folder, schema(FIRST));
  await emit(warehouse, 100n, [50]);
  await warehouse.withDerived(async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans VALUES (1, 189, 199)`)));
  // Sealed before the cut of these rows is noted; it cannot be attached by the name that it gets.
  const blocker = join(folder, 'derived', sealedName({ level: 0, from_ns: 0n, to_ns: 199n, uid: warehouse.derivedSegments(0n, 100n)[0]?.id ?? '' }));
  mkdirSync(blocker);
  await expect(warehouse.seal()).rejects.toMatchObject({ code: 'storage-failed' });
  warehouse.noteCut(200n);
  rmdirSync(blocker);
  await warehouse.seal();
  expect(ranges(warehouse)).toEqual([[0, 199, false], [199, 200, true]]);
  await emit(warehouse, 300n, [250]);
  await warehouse.seal();
  expect(ranges(warehouse)).toEqual([[0, 199, false], [199, 300, false]]);
  await warehouse.close();
});

test('a swap replaces whole ranges, the open one too, at one moment and for good', async () => {
  const folder = temporaryFolder();
  const tables = schema(FIRST);
  let warehouse = await open(folder, tables);
  await emit(warehouse, 100n, [50]);
  await warehouse.seal();
  await emit(warehouse, 200n, [150]);
  await warehouse.seal();
  await emit(warehouse, 300n, [250]);
  const chosen = warehouse.derivedSegments(120n, 260n);
  const fill = async (alias: string, connection: DuckDBConnection): Promise<void> => {
    await connection.run(`INSERT INTO ${alias}.spans VALUES (1, 1, 140), (1, 1, 150), (1, 1, 260)`);
    expect(await spans(warehouse)).toEqual([50, 150, 250]); // not before it is whole
  };
  await warehouse.replaceDerived(chosen.map(({ id }) => id), fill);
  expect(await spans(warehouse)).toEqual([50, 140, 150, 260]);
  expect(ranges(warehouse)).toEqual([[0, 100, false], [100, 300, false]]);
  await expect(warehouse.replaceDerived(chosen.map(({ id }) => id), fill)).rejects.toMatchObject({ code: 'segments-changed' });
  await emit(warehouse, 400n, [390]);
  expect(ranges(warehouse).at(-1)).toEqual([300, 400, true]);
  await warehouse.close();
  warehouse = await open(folder, tables);
  expect(await spans(warehouse)).toEqual([50, 140, 150, 260, 390]);
  await warehouse.close();
});

test('a swap that fails changes nothing', async () => {
  const folder = temporaryFolder();
  const warehouse = await open(folder, schema(FIRST));
  await emit(warehouse, 100n, [50]);
  await warehouse.seal();
  const [segment] = warehouse.derivedSegments(0n, 100n);
  const broken = warehouse.replaceDerived([segment?.id ?? ''], async (alias, connection) => {
    await connection.run(`BEGIN; INSERT INTO ${alias}.spans VALUES (1, 1, 1)`);
    throw new Error('no');
  });
  await expect(broken).rejects.toThrow('no');
  expect(await spans(warehouse)).toEqual([50]);
  expect(readdirSync(join(folder, 'derived')).filter((name) => name.startsWith('temp'))).toEqual([]);
  await warehouse.replaceDerived([segment?.id ?? ''], async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans VALUES (1, 1, 60)`)));
  expect(await spans(warehouse)).toEqual([60]);
  await warehouse.close();
});

test('a swap waits for a seal that is under way', async () => {
  const warehouse = await open(temporaryFolder(), schema(FIRST));
  await emit(warehouse, 100n, [50]);
  const uids = warehouse.derivedSegments(0n, 100n).map(({ id }) => id);
  const sealing = warehouse.seal();
  while (!warehouse.segments.some(({ kind, state }) => kind === 'derived' && state === 'sealing')) await new Promise(setImmediate);
  await warehouse.replaceDerived(uids, async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans VALUES (1, 1, 60)`)));
  await sealing;
  expect(await spans(warehouse)).toEqual([60]);
  await warehouse.close();
});

test('an open range without spans can be given away, and new ranges can be filled in', async () => {
  const warehouse = await open(temporaryFolder(), schema(FIRST));
  await emit(warehouse, 100n, []);
  const [segment] = warehouse.derivedSegments(0n, 100n);
  const write = (end: number) => async (alias: string, connection: DuckDBConnection): Promise<void> => void (await connection.run(`INSERT INTO ${alias}.spans VALUES (1, 1, ${end})`));
  await warehouse.replaceDerived([segment?.id ?? ''], write(40));
  await emit(warehouse, 200n, [150]);
  await warehouse.replaceDerived([], write(7), { from_ns: 5n, to_ns: 8n });
  expect(await spans(warehouse)).toEqual([7, 40, 150]);
  expect(ranges(warehouse).at(-1)).toEqual([100, 200, true]);
  await warehouse.close();
});

test('compaction and swaps do not meet: one waits or steps aside', async () => {
  const warehouse = await open(temporaryFolder(), schema(FIRST));
  for (let i = 1; i <= 4; i++) {
    await emit(warehouse, BigInt(i * 100), [i * 100 - 1]);
    await warehouse.seal();
  }
  // As the correlator does it: ask for segments, write all spans of their ranges again, ask again if they changed meanwhile.
  const swap = async (): Promise<void> => {
    const segments = warehouse.derivedSegments(150n, 199n);
    const low = segments.map(({ from_ns }) => from_ns).reduce((x, y) => (x < y ? x : y));
    const high = segments.map(({ to_ns }) => to_ns).reduce((x, y) => (x > y ? x : y));
    try {
      await warehouse.replaceDerived(segments.map(({ id }) => id), async (alias, connection) => {
        const { rows } = await warehouse.query('SELECT end_ns FROM spans WHERE end_ns > ? AND end_ns <= ?', [low, high]);
        for (const [end] of rows) await connection.run(`INSERT INTO ${alias}.spans VALUES (2, 0, ${end})`);
      });
    } catch (error) {
      if ((error as { code?: string }).code !== 'segments-changed') throw error;
      await swap();
    }
  };
  await Promise.all([warehouse.compact(), swap()]);
  expect(await spans(warehouse)).toEqual([99, 199, 299, 399]);
  expect((await warehouse.query('SELECT count(*) FROM spans WHERE span_id = 2')).rows[0]?.[0]).toBeGreaterThan(0n);
  await warehouse.compact();
  expect(ranges(warehouse)).toEqual([[0, 400, false]]);
  await warehouse.close();
});

test('a sealed file has little room that nothing lies in, however many transactions filled it', async () => {
  const warehouse = await open(temporaryFolder(), schema(FIRST), { now: () => 0 });
  for (let part = 0; part < 12; part++) {
    await warehouse.withDerived(async (alias, connection) => {
      // Two row groups of an open file, and a few rows.
      await connection.run(`INSERT INTO ${alias}.spans SELECT CAST(hash(i + ${part}) // 4 AS BIGINT), CAST(hash(i) // 4 AS BIGINT), ${part} * 1000000 + i FROM range(13000) t (i)`);
    });
  }
  warehouse.noteCut(12_000_000n);
  await warehouse.seal();
  const [segment] = warehouse.segments.filter(({ kind, state }) => kind === 'derived' && state === 'sealed');
  const [[free, used] = []] = (await warehouse.query('SELECT free_blocks, used_blocks FROM pragma_database_size() WHERE database_name = $1', [segment?.alias])).rows as [bigint, bigint][];
  expect(Number(free) / Number(used)).toBeLessThan(0.1);
  expect(segment?.rows?.get('spans')).toBe(156_000);
  await warehouse.close();
});

test('compaction leaves no room in a file that nothing lies in', async () => {
  const warehouse = await open(temporaryFolder(), schema(FIRST), { now: () => 0 });
  for (let part = 0; part < COMPACTION.small; part++) {
    const cut_ns = BigInt(part + 1) * 1_000_000n;
    await warehouse.withDerived(async (alias, connection) => {
      // Not a multiple of a row group; random, so that it takes blocks of its own.
      await connection.run(`INSERT INTO ${alias}.spans SELECT CAST(hash(i + ${part}) // 4 AS BIGINT), CAST(hash(i) // 4 AS BIGINT), ${part} * 1000000 + i FROM range(150000) t (i)`);
      await connection.run(`DELETE FROM ${alias}.progress; INSERT INTO ${alias}.progress VALUES (${cut_ns})`);
    });
    warehouse.noteCut(cut_ns);
    await warehouse.seal();
  }
  await warehouse.compact();
  const [segment, ...others] = warehouse.segments.filter(({ kind, state }) => kind === 'derived' && state === 'sealed');
  expect([segment?.level, others]).toEqual([1, []]);
  expect((await warehouse.query('SELECT free_blocks, used_blocks > 20 FROM pragma_database_size() WHERE database_name = $1', [segment?.alias])).rows).toEqual([[0n, true]]);
  expect((await warehouse.query('SELECT count(*), count(DISTINCT end_ns) FROM spans')).rows).toEqual([[450_000n, 450_000n]]);
  await warehouse.close();
});

test('no seal and no removal of files while the correlator works', async () => {
  const warehouse = await open(temporaryFolder(), schema(FIRST), { retire_after_ms: 1 });
  await warehouse.apply(makeBatch({ sequence: 1n }, { clocks: [{ mono_ns: 1, utc_ns: 1, error_ns: 1 }] }));
  await emit(warehouse, 100n, [50]);
  await warehouse.withDerived(async (alias, connection) => {
    await connection.run('BEGIN');
    expect((await (await connection.run('SELECT count(*) FROM stored.clocks')).getRows())[0]).toEqual([1n]);
    const sealing = warehouse.seal();
    await delay(80); // raw has been sealed meanwhile: its old file must still be there for this transaction
    expect((await (await connection.run('SELECT count(*) FROM stored.clocks, stored.spans')).getRows())[0]).toEqual([1n]);
    await connection.run(`INSERT INTO ${alias}.spans VALUES (1, 1, 60)`);
    await connection.run('COMMIT');
    void sealing;
  });
  await warehouse.seal();
  expect(await spans(warehouse)).toEqual([50, 60]);
  await warehouse.close();
});

test('a swap becomes visible between two cycles, not within one', async () => {
  const warehouse = await open(temporaryFolder(), schema(FIRST));
  await emit(warehouse, 100n, [50]);
  await warehouse.seal();
  const ids = warehouse.derivedSegments(0n, 100n).map(({ id }) => id);
  let swapping: Promise<void> | undefined;
  await warehouse.withDerived(async () => {
    swapping = warehouse.replaceDerived(ids, async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans VALUES (1, 1, 60)`)));
    await delay(60);
    expect(await spans(warehouse)).toEqual([50]);
  });
  await swapping;
  expect(await spans(warehouse)).toEqual([60]);
  await warehouse.close();
});

test('what a failing cycle began is rolled back', async () => {
  const warehouse = await open(temporaryFolder(), schema(FIRST));
  const cycle = warehouse.withDerived(async (alias, connection) => {
    await connection.run(`BEGIN; INSERT INTO ${alias}.spans VALUES (1, 1, 1)`);
    throw new Error('no');
  });
  await expect(cycle).rejects.toThrow('no');
  await emit(warehouse, 10n, [5]);
  expect(await spans(warehouse)).toEqual([5]);
  await warehouse.close();
});

test('segments of an older schema: new columns are null, new tables empty, also after compaction', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder, schema(FIRST));
  for (let i = 1; i <= 2; i++) {
    await emit(warehouse, BigInt(i * 100), [i * 100]);
    await warehouse.seal();
  }
  await warehouse.close();
  warehouse = await open(folder, schema(FIRST, 'ALTER TABLE spans ADD COLUMN status VARCHAR; CREATE TABLE notes (ts_ns BIGINT, text VARCHAR);'));
  await warehouse.withDerived(async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans VALUES (3, 1, 300, 'ok')`)));
  warehouse.noteCut(300n);
  await warehouse.seal();
  const expected = [[100n, null], [200n, null], [300n, 'ok']];
  expect((await warehouse.query('SELECT end_ns, status FROM spans ORDER BY 1')).rows).toEqual(expected);
  expect((await warehouse.query('SELECT count(*) FROM stored.notes')).rows).toEqual([[0n]]);
  await warehouse.compact();
  expect(warehouse.segments.filter((segment) => segment.kind === 'derived' && segment.state === 'sealed').map((segment) => segment.level)).toEqual([1]);
  expect((await warehouse.query('SELECT end_ns, status FROM spans ORDER BY 1')).rows).toEqual(expected);
  await warehouse.close();
});

test('a view that does not fit its tables is named', async () => {
  const tables = schema(FIRST);
  writeFileSync(join(tables, 'views', '03-wrong.sql'), 'CREATE VIEW wrong AS SELECT nothing FROM spans');
  await expect(open(temporaryFolder(), tables)).rejects.toMatchObject({ code: 'views-failed', message: expect.stringContaining('03-wrong.sql') });
});
