// One derived segment that is larger than what is worked on at a time: compaction makes an hour of one, however many spans that are.
import { expect, onTestFinished, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { recorrelate } from '../queries/recorrelate.ts';
import { simulate } from './queries/simulated-services.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const FOREVER = { from_ns: 0n, to_ns: 1n << 62n };

async function open(): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  return warehouse;
}

async function oneSegment(warehouse: Warehouse): Promise<void> {
  await warehouse.seal();
  await warehouse.withSealed((sealed, gather) => gather(sealed.filter(({ kind }) => kind === 'derived').toSorted((a, b) => (a.to_ns < b.to_ns ? -1 : 1))));
  expect(warehouse.segments.filter(({ kind, state }) => kind === 'derived' && state === 'sealed').length).toBe(1);
}

async function derived(warehouse: Warehouse): Promise<string[]> {
  const rows: string[] = [];
  for (const table of ['spans', 'exchanges', 'span_links']) rows.push(...(await warehouse.query(`SELECT * FROM stored.${table} ORDER BY ALL`)).rows.map((row) => `${table} ${row.join(' ')}`));
  return rows;
}

test('a part of it at a time: the same as before', async () => {
  const simulation = simulate({ requests: 400, in_flight: 6, fresh_share: 0.3, seed: 9 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse);
  for (const [at, batch] of simulation.batches.entries()) {
    await warehouse.apply(batch);
    await correlator.cycle();
    if (at % 6 === 5) await warehouse.seal();
  }
  await correlator.finish();
  const before = await derived(warehouse);
  const spans = simulation.truth.size;
  const unchanged = { spans, kept: 0, unchanged: spans, links_gained: 0, links_lost: 0, links_moved: 0 };
  await oneSegment(warehouse);
  const seen: [number, number][] = [];
  expect(await recorrelate(warehouse, { ...FOREVER, most_spans: spans / 4, progress: (...now) => seen.push(now) })).toEqual(unchanged);
  expect(seen.length).toBeGreaterThan(3);
  expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).toSorted((a, b) => a - b));
  expect(seen.at(-1)).toEqual([spans, spans]);
  expect(await derived(warehouse)).toEqual(before);
  expect((await warehouse.query('SELECT count(*) FROM stored.progress')).rows).toEqual([[1n]]);
});

test('where not even a part fits, it is done in smaller ones; what has been written by then counts once', async () => {
  const simulation = simulate({ requests: 3000, in_flight: 30, seed: 10 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse);
  for (const batch of simulation.batches) await warehouse.apply(batch);
  await correlator.finish();
  const before = await derived(warehouse);
  const spans = simulation.truth.size;
  expect(spans).toBeGreaterThan(20_000);
  await oneSegment(warehouse);
  let begun = 0;
  let failed = false;
  const observe = ({ name }: { name: string }): void => {
    if (name !== 'exchanges') return;
    begun += 1;
    if (begun === 2 && !failed) {
      failed = true;
      throw new Error('Out of Memory Error: could not allocate block');
    }
  };
  expect(await recorrelate(warehouse, { ...FOREVER, most_spans: Math.ceil(spans / 2) + 500, observe })).toMatchObject({ spans, unchanged: spans });
  expect([failed, begun >= 2 + 4]).toEqual([true, true]);
  expect(await derived(warehouse)).toEqual(before);
});

test('ids that traces had before still lead to them', async () => {
  const simulation = simulate({ requests: 40, in_flight: 4, seed: 13 });
  const warehouse = await open();
  const correlator = new Correlator(warehouse, { late_pause_ms: 0 });
  const of = (node: string): typeof simulation.batches => simulation.batches.filter((batch) => batch.node === node);
  const feed = async (node: string): Promise<void> => {
    for (const batch of of(node)) {
      await warehouse.apply(batch);
      await correlator.cycle();
    }
  };
  await feed('node-1');
  const roots = (await warehouse.query('SELECT DISTINCT trace_id FROM spans')).rows.map(([id]) => String(id));
  await feed('node-0');
  await correlator.finish();
  await oneSegment(warehouse);
  const led = async (): Promise<unknown> => (await warehouse.query('SELECT count(DISTINCT a.old_trace_id) FROM trace_aliases a JOIN traces t ON t.trace_id = a.trace_id WHERE list_contains($1, a.old_trace_id)', [roots])).rows[0]?.[0];
  expect(await led()).toBe(80n);
  let pieces = 0;
  await recorrelate(warehouse, { ...FOREVER, most_spans: 60, progress: () => (pieces += 1) });
  expect(pieces).toBeGreaterThan(2);
  expect(await led()).toBe(80n);
});
