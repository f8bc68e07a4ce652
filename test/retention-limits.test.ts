import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import type { KeepLimits } from '../queries/export/scheduler.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const HOUR_NS = 3_600_000_000_000n;
const EVENTS = 500;
const NOW_NS = 480_000n * HOUR_NS;

/** A segment an hour, 1 to `hours` hours before NOW_NS, the oldest first. */
async function hoursOfEvents(folder: string, hours: number): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 1, now: () => Number(NOW_NS / 1_000_000n) });
  for (let hour = hours; hour >= 1; hour--) {
    const rows = Array.from({ length: EVENTS }, (_, i) => ({ ts_ns: NOW_NS - BigInt(hour) * HOUR_NS + BigInt(i), mono_ns: i, socket_id: i, op: 'read', bytes: 1, stream_offset: i, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false }));
    await warehouse.apply(makeBatch({ sequence: BigInt(hours - hour + 1), watermark_ns: 1n }, { socket_events: rows }));
    await warehouse.seal();
  }
  return warehouse;
}

const schedulerOf = (warehouse: Warehouse, keep?: KeepLimits): ExportScheduler => new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n), ...(keep === undefined ? {} : { keep }) });
const events = async (warehouse: Warehouse): Promise<number> => Number((await warehouse.query('SELECT count(*) FROM stored.socket_events')).rows[0]?.[0]);
const bytesOf = (folder: string): number => readdirSync(join(folder, 'raw')).reduce((sum, name) => sum + statSync(join(folder, 'raw', name)).size, 0);

test('by age: what is older goes, the disk shrinks, and what went can be queried', async () => {
  const folder = temporaryFolder();
  const warehouse = await hoursOfEvents(folder, 6);
  const before = bytesOf(folder);
  const dropped = await schedulerOf(warehouse, { max_age_ns: 3n * HOUR_NS + HOUR_NS / 2n }).keep();
  expect(dropped).toMatchObject({ files: 3, held: 0 });
  expect(before - bytesOf(folder)).toBe(dropped.bytes);
  expect(await events(warehouse)).toBe(3 * EVENTS);
  expect((await warehouse.query("SELECT reason, count(*), sum(rows)::BIGINT, min(from_ts) = make_timestamp_ns($1) FROM dropped_segments WHERE relation = 'socket_events' GROUP BY reason", [NOW_NS - 6n * HOUR_NS])).rows)
    .toEqual([['age', 3n, BigInt(3 * EVENTS), true]]);
  await warehouse.close();
});

test('by bytes: the oldest go until the rest fits, what correlation still needs does not', async () => {
  const folder = temporaryFolder();
  const warehouse = await hoursOfEvents(folder, 5);
  const { bytes } = warehouse.stats();
  const dropped = await schedulerOf(warehouse, { max_bytes: BigInt(bytes) - 1n }).keep();
  expect(dropped.files).toBe(1);
  expect((await warehouse.query("SELECT min(ts) = make_timestamp_ns($1) FROM socket_events", [NOW_NS - 4n * HOUR_NS])).rows).toEqual([[true]]);
  const careful = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n), keep: { max_bytes: 0n }, cut_ns: () => NOW_NS - 2n * HOUR_NS });
  await careful.keep();
  expect(await events(warehouse)).toBe(2 * EVENTS);
  expect((await warehouse.query("SELECT DISTINCT reason FROM dropped_segments")).rows).toEqual([['bytes']]);
  await warehouse.close();
});

test('exported before dropped: what no export has written stays, and an export drops only what it has written itself', async () => {
  const folder = temporaryFolder();
  const warehouse = await hoursOfEvents(folder, 4);
  const lines: string[] = [];
  const keeping = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n), keep: { max_age_ns: HOUR_NS / 2n, exported_only: true }, log: (line) => lines.push(line) });
  expect(await keeping.keep()).toEqual({ files: 0, bytes: 0, held: 4 });
  expect(lines).toEqual(['retention: 4 files are due but not exported yet, they stay']);

  const to = join(folder, 'parquet');
  const spans_only = await keeping.add({ destination: to, relations: ['spans'], max_age_ns: 0n });
  expect((await keeping.run(spans_only.export_id)).dropped).toEqual({ files: 0, bytes: 0, held: 4 });
  const raw = await keeping.add({ destination: to, relations: ['socket_events'], cron: '5 * * * *', max_age_ns: 2n * HOUR_NS });
  const report = await keeping.run(raw.export_id);
  expect([report.rows, report.dropped.files]).toEqual([BigInt(4 * EVENTS), 2]);
  const late = await keeping.add({ destination: join(folder, 'elsewhere'), relations: ['socket_events'], cron: '6 * * * *' });
  expect((await keeping.keep()).files).toBe(0); // the second schedule has not had them yet
  await keeping.run(late.export_id);
  expect((await keeping.keep()).files).toBe(2);
  const gone = (await warehouse.query("SELECT exported_by, count(*) FROM dropped_segments WHERE relation = 'socket_events' GROUP BY exported_by")).rows;
  expect(new Map(gone as [string, bigint][])).toEqual(new Map([[raw.export_id, 2n], [[raw.export_id, late.export_id].toSorted().join(','), 2n]]));
  expect((await warehouse.query(`SELECT count(*) FROM read_parquet('${to}/**/*.parquet')`)).rows).toEqual([[BigInt(4 * EVENTS)]]);
  await warehouse.close();
});

test('after retention and a restart, batches stay known and exports go on', async () => {
  const folder = temporaryFolder();
  let warehouse = await hoursOfEvents(folder, 3);
  const { export_id } = await schedulerOf(warehouse).add({ destination: join(folder, 'parquet'), relations: ['socket_events'], max_age_ns: 0n });
  await schedulerOf(warehouse).run(export_id);
  expect(await events(warehouse)).toBe(0);
  await warehouse.close();
  warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  expect((await warehouse.apply(makeBatch({ sequence: 3n }))).status).toBe('duplicate');
  expect((await schedulerOf(warehouse).run(export_id)).rows).toBe(0n);
  await warehouse.close();
});

test('what is known of processes that still run outlives its segment, those that ended go', async () => {
  const folder = temporaryFolder();
  let warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 1 });
  const named = async (): Promise<unknown[][]> => (await warehouse.query('SELECT process_id, service_name FROM processes ORDER BY 1')).rows;
  await warehouse.apply(makeBatch({ sequence: 1n }, { processes: [
    { ts_ns: 1n, process_id: 1n, service_name: 'shop' },
    { ts_ns: 1n, process_id: 2n, service_name: 'short' },
    { ts_ns: 2n, process_id: 2n, ended_ns: 2n },
    { ts_ns: 1n, process_id: 3n, service_name: 'ends later' },
  ] }));
  await warehouse.seal();
  await warehouse.drop((sealed) => sealed, () => 'age');
  expect(await named()).toEqual([[1n, 'shop'], [3n, 'ends later']]);
  await warehouse.apply(makeBatch({ sequence: 2n }, { processes: [{ ts_ns: 5n, process_id: 3n, ended_ns: 5n }] }));
  await warehouse.seal();
  expect((await named()).at(-1)).toEqual([3n, 'ends later']);
  await warehouse.drop((sealed) => sealed, () => 'age');
  expect(await named()).toEqual([[1n, 'shop']]);
  await warehouse.close();
  warehouse = await Warehouse.open({ folder, read_only: true });
  expect(await named()).toEqual([[1n, 'shop']]);
  await warehouse.close();
});
