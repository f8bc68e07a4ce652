// Exported files that cannot be looked at: what is here is stored, sealed and answered all the same.
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

/** Files of which nothing can be told, once. */
const faults = vi.hoisted(() => ({ shape: null as RegExp | null }));
vi.mock('../ingest/parquet-columns.ts', async (original) => {
  const real = await original<typeof import('../ingest/parquet-columns.ts')>();
  return {
    ...real,
    readColumns: (...asked: Parameters<typeof real.readColumns>): string => {
      if (faults.shape?.test(asked[0]) !== true) return real.readColumns(...asked);
      faults.shape = null;
      throw new Error('EIO: i/o error');
    },
  };
});

const event = { ts_ns: 1_000_000_000n, socket_id: 1n, op: 'read', bytes: 1n, layer: 'socket' };
const loss = { from_ns: 1_000_000_000n, to_ns: 1_000_000_001n, cause: 'ring_full', events_lost: 1n };

async function open(folder: string, lines: string[] = []): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder: join(folder, 'data'), seal_every_ms: 0, retire_after_ms: 1, log: (line) => lines.push(line) });
  onTestFinished(() => warehouse.close());
  return warehouse;
}

async function exported(folder: string): Promise<{ warehouse: Warehouse; to: string }> {
  const warehouse = await open(folder);
  await warehouse.apply(makeBatch({ watermark_ns: 2_000_000_000n }, { socket_events: [event], losses: [loss] }));
  const to = join(folder, 'parquet');
  const scheduler = new ExportScheduler(warehouse);
  await scheduler.run((await scheduler.add({ destination: to, relations: ['losses', 'socket_events'] })).export_id);
  return { warehouse, to };
}

const counts = async (warehouse: Warehouse): Promise<unknown> => (await warehouse.query('SELECT (SELECT count(*) FROM losses), (SELECT count(*) FROM socket_events)')).rows[0];

test.each(['a file', 'a link to itself'])('in the place of their folder is %s: the warehouse starts without them, and says so', async (what) => {
  const folder = temporaryFolder();
  const { warehouse, to } = await exported(folder);
  await warehouse.drop((sealed) => sealed, () => 'age');
  await warehouse.close();
  rmSync(to, { recursive: true });
  if (what === 'a file') writeFileSync(to, '');
  else symlinkSync(to, to);
  const lines: string[] = [];
  expect(await counts(await open(folder, lines))).toEqual([0n, 0n]);
  expect(lines.filter((line) => line.includes('are left out of answers')).length).toBe(2);
});

test('in the place of their folder comes a link to itself while it runs: sealing goes on', async () => {
  const { warehouse, to } = await exported(temporaryFolder());
  await warehouse.drop((sealed) => sealed, () => 'age');
  rmSync(to, { recursive: true });
  symlinkSync(to, to);
  await warehouse.archive.places.lookAgain();
  await warehouse.apply(makeBatch({ sequence: 2n, watermark_ns: 3_000_000_000n }, { socket_events: [event] }));
  await warehouse.seal();
  expect(warehouse.segments.filter(({ kind, state }) => kind === 'raw' && state === 'sealed').length).toBe(1);
});

test('an error while the views are made anew leaves none of them behind', async () => {
  const { warehouse } = await exported(temporaryFolder());
  faults.shape = /socket_events/;
  await warehouse.drop((sealed) => sealed, () => 'age');
  expect(faults.shape).toBeNull();
  expect(await counts(warehouse)).toEqual([1n, 1n]);
});

test('two exports to one folder: the files are taken to be as the later one wrote them', async () => {
  const folder = temporaryFolder();
  const lines: string[] = [];
  const warehouse = await open(folder, lines);
  await warehouse.apply(makeBatch({ watermark_ns: 2_000_000_000n }, { socket_events: [event] }));
  const scheduler = new ExportScheduler(warehouse);
  const ids: string[] = [];
  for (const cron of [null, '0 3 * * *', '0 4 * * *', '0 5 * * *']) {
    const { export_id } = await scheduler.add({ destination: join(folder, 'parquet'), relations: ['socket_events'], cron });
    await scheduler.run(export_id);
    ids.push(export_id);
  }
  // As if those before had been made by a version that packs otherwise.
  const connection = await warehouse.connect();
  await connection.run(`UPDATE ledger.export_files SET bytes = bytes + 7 WHERE export_id <> '${ids.at(-1)}'`);
  connection.closeSync();
  await warehouse.drop((sealed) => sealed, () => 'age');
  expect({ rows: (await warehouse.query('SELECT count(*) FROM socket_events')).rows, lines }).toEqual({ rows: [[1n]], lines: [] });
});
