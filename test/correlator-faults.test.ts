// What live correlation does when a statement of it fails.
import type { DuckDBConnection } from '@duckdb/node-api';
import { expect, onTestFinished, test } from 'vitest';
import { generate } from '../bench/generate/generate.ts';
import { TruthList } from '../bench/generate/truth.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { score } from './queries/score.ts';
import { simulate } from './queries/simulated-services.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

async function open(folder = temporaryFolder()): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  return warehouse;
}

test('a late part of history that cannot be done again is tried after the pause, not in every cycle; at the end what is open is stored all the same', async () => {
  const simulation = simulate({ requests: 60, in_flight: 4, seed: 11 });
  const warehouse = await open();
  let now_ms = Date.now();
  const correlator = new Correlator(warehouse, { late_pause_ms: 5000, silent_ms: 1e9, now_ms: () => now_ms });
  const nodeOf = (name: string) => simulation.batches.filter(({ node }) => node === name);
  for (const batch of nodeOf('node-0')) await warehouse.apply(batch);
  await correlator.cycle();
  const replace = warehouse.replaceDerived.bind(warehouse);
  let tried = 0;
  warehouse.replaceDerived = () => {
    tried += 1;
    return Promise.reject(new Error('no room'));
  };
  for (const batch of nodeOf('node-1')) await warehouse.apply(batch);
  await expect(correlator.cycle()).rejects.toThrow('no room');
  for (let n = 0; n < 5; n += 1) await correlator.cycle();
  expect(tried).toBe(1);
  now_ms += 5001;
  await expect(correlator.cycle()).rejects.toThrow('no room');
  expect(tried).toBe(2);
  await expect(correlator.finish()).rejects.toThrow('no room');
  warehouse.replaceDerived = replace;
  await correlator.finish();
  expect(await score(warehouse, simulation)).toEqual({ exact: 60, orphaned: 0, wrong: 0 });
});

/** One of two nodes has told everything and was correlated; the other's part of history is late, and a process that does it again is killed. */
async function untilLate() {
  const simulation = simulate({ requests: 60, in_flight: 4, seed: 11 });
  const folder = temporaryFolder();
  const warehouse = await open(folder);
  const correlator = new Correlator(warehouse, { late_pause_ms: 0 });
  const tell = async (name: string): Promise<void> => {
    for (const batch of simulation.batches.filter(({ node }) => node === name)) await warehouse.apply(batch);
  };
  await tell('node-0');
  await correlator.cycle();
  warehouse.replaceDerived = () => Promise.reject(new Error('killed'));
  const nextStart = async () => {
    await warehouse.close();
    const next = await open(folder);
    await new Correlator(next, { late_pause_ms: 0 }).finish();
    return { next, verdict: await score(next, simulation) };
  };
  return { warehouse, correlator, tellLate: () => tell('node-1'), nextStart };
}

test('a late part of history that was not done before the process was killed is done after the next start', async () => {
  const { correlator, tellLate, nextStart } = await untilLate();
  await tellLate();
  await expect(correlator.cycle()).rejects.toThrow('killed');
  const { next, verdict } = await nextStart();
  expect(verdict).toEqual({ exact: 60, orphaned: 0, wrong: 0 });
  expect(await next.late()).toBeNull();
});

test('a late part that could not be noted at first outlives the process all the same', async () => {
  const { warehouse, correlator, tellLate, nextStart } = await untilLate();
  const note = warehouse.noteLate.bind(warehouse);
  warehouse.noteLate = () => Promise.reject(new Error('no room'));
  await tellLate();
  await expect(correlator.cycle()).rejects.toThrow('no room');
  warehouse.noteLate = note;
  await expect(correlator.cycle()).rejects.toThrow('killed');
  const { verdict } = await nextStart();
  expect(verdict).toEqual({ exact: 60, orphaned: 0, wrong: 0 });
});

test.each(['before the batch', 'after the batch'])('a request that is open at an orderly restart gets its answer, with the first cycle %s that brings it', async (first_cycle) => {
  const MINUTE = 60_000_000_000n;
  const at = (ns: bigint) => ({ ts_ns: ns, end_ts_ns: ns });
  const request = { process_id: 9, role: 'server', kind: 'request', direction: 'in', protocol: 'http', exchange_no: 0, stream_offset: 0, end_offset: 10, complete: true, partial: false, end_reason: 'no_body', method: 'GET', path: '/', first_thread_id: 1, last_thread_id: 1, socket_id: 5, conn_id: 5 };
  const folder = temporaryFolder();
  const options = { late_pause_ms: 0, silent_ms: 1e15 };
  let warehouse = await open(folder);
  let correlator = new Correlator(warehouse, options);
  await warehouse.apply(makeBatch({ sequence: 1n, watermark_ns: 2n * MINUTE }, { messages: [{ ...request, ...at(MINUTE) }] }));
  await correlator.cycle();
  await correlator.finish();
  expect((await warehouse.query('SELECT answered, end_reason FROM stored.spans')).rows).toEqual([[false, 'stop']]);
  await warehouse.close();
  warehouse = await open(folder);
  correlator = new Correlator(warehouse, options);
  if (first_cycle === 'before the batch') await correlator.cycle();
  await warehouse.apply(makeBatch({ sequence: 2n, watermark_ns: 3n * MINUTE }, { messages: [{ ...request, ...at(2n * MINUTE + 1000n), kind: 'response', direction: 'out', end_reason: 'length', status: 200 }] }));
  await correlator.cycle();
  await correlator.finish();
  expect((await warehouse.query('SELECT answered, end_reason FROM stored.spans')).rows).toEqual([[true, 'length']]);
});

test('history that is correlated again between live cycles has each span once', async () => {
  const warehouse = await open();
  const correlator = new Correlator(warehouse, { late_pause_ms: 0, silent_ms: 1e9 });
  const batches = generate({ events: 9000, seed: 3, shapes: ['worker-pool', 'timers', 'asyncio'], applications: 3, nodes: 1, loss_share: 0, truth: new TruthList() });
  let applied = 0;
  for (const batch of batches) {
    await warehouse.apply(batch);
    await correlator.cycle();
    // What waits to be decided then is decided by it, and is not to be decided again by what follows.
    if (applied < 4500 && applied + batch.tables.socket_events.rows >= 4500) await correlator.again({ from_ns: 0n, to_ns: 1n << 62n });
    applied += batch.tables.socket_events.rows;
  }
  await correlator.finish();
  const [[spans, distinct]] = (await warehouse.query('SELECT count(*), count(DISTINCT span_id) FROM stored.spans')).rows as [[bigint, bigint]];
  expect(spans).toBeGreaterThan(1500n);
  expect(spans).toBe(distinct);
});

test('after a cycle that memory did not suffice for, the next ones read less', async () => {
  const warehouse = await open();
  const correlator = new Correlator(warehouse, { silent_ms: 1e9 });
  const losses = Array.from({ length: 9000 }, (_, at) => ({ from_ns: BigInt(at + 1), to_ns: BigInt(at + 2), cause: 'payload_shed', events_lost: 1n }));
  for (const sequence of [1n, 2n, 3n]) await warehouse.apply(makeBatch({ sequence, watermark_ns: 1_000_000_000n * sequence }, { losses }));
  const derive = warehouse.withDerived.bind(warehouse);
  warehouse.withDerived = (work) => derive((alias, connection) => work(alias, new Proxy(connection, {
    get(target, name) {
      if (name === 'run') throw new Error('Out of Memory Error: failed to allocate data of size 256.0 KiB');
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  }) as DuckDBConnection));
  for (let n = 0; n < 4; n += 1) await expect(correlator.cycle()).rejects.toThrow('Out of Memory');
  warehouse.withDerived = derive;
  const behind: boolean[] = [];
  do behind.push((await correlator.cycle()).behind);
  while (behind.at(-1) === true);
  expect(behind).toEqual([true, true, false]);
});
