// A node that was away sends hours of what it has kept, faster than they passed, while the others go on.
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { Batch } from '../ingest/batch.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator, type CorrelatorOptions } from '../queries/correlator.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const MINUTE = 60_000_000_000n;
const REQUEST = { process_id: 9, role: 'server', kind: 'request', direction: 'in', protocol: 'http', exchange_no: 0, stream_offset: 0, end_offset: 10, complete: true, partial: false, end_reason: 'no_body', method: 'GET', path: '/' };

/** Of a node: a request that is answered, and one that is answered so many minutes later. */
function minute(node: number, n: number, later = 1): Batch {
  const [from, id] = [MINUTE * BigInt(n), (no: number, kind: number): number => node * 100_000 + no * 10 + kind];
  const who = { first_thread_id: node, last_thread_id: node };
  const asked = (no: number, kind: number, at: bigint) => ({ ...REQUEST, ...who, socket_id: id(no, kind), conn_id: id(no, kind), ts_ns: at, end_ts_ns: at });
  const answered = (no: number, kind: number, at: bigint) => ({ ...asked(no, kind, at), kind: 'response', direction: 'out', end_reason: 'length', status: 200 });
  return makeBatch({ node: `node-${node}`, boot_id: `node-${node}`, run_id: BigInt(node), sequence: BigInt(n), watermark_ns: from + MINUTE }, {
    messages: [
      asked(n, 1, from + MINUTE / 4n), answered(n, 1, from + MINUTE / 4n + 5_000_000n), asked(n, 2, from + MINUTE / 2n),
      ...(n > later ? [answered(n - later, 2, from + MINUTE / 8n)] : []),
    ],
  });
}

test('the others are not held back by it, and in the end everything it has told is there, once, with its answer', async () => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  const now_ms = Date.now(); // it stands: what is late is done again in every cycle, however long that takes
  const correlator = new Correlator(warehouse, { late_pause_ms: 0, silent_ms: 1e9, now_ms: () => now_ms });
  const newest = async (node: number): Promise<bigint> => ((await warehouse.query(`SELECT coalesce(max(end_ns), 0) FROM stored.spans WHERE node = 'node-${node}'`)).rows[0]?.[0] as bigint) / MINUTE;
  for (let n = 1; n <= 12; n += 1) {
    await warehouse.apply(minute(1, n));
    if (n % 4 !== 0) continue;
    await correlator.cycle();
    await warehouse.seal();
  }
  const [seen, late]: [bigint[], bigint[]] = [[], []];
  for (let n = 1; n <= 9; n += 1) {
    // Four minutes of what it has kept in each of the others'.
    await warehouse.apply(minute(2, n));
    if (n % 4 === 0) await warehouse.apply(minute(1, 12 + n / 4));
    await correlator.cycle();
    seen.push(await newest(1));
    late.push(await newest(2));
  }
  // While it lags by more than five minutes.
  expect(seen.slice(0, 8)).toEqual([12n, 12n, 12n, 13n, 13n, 13n, 13n, 14n]);
  expect(late.slice(0, 8)).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n].map((n) => expect.toSatisfy((found: bigint) => found >= n && found <= n + 1n)));
  await correlator.finish();
  const { rows } = await warehouse.query("SELECT node, count(*), count(DISTINCT span_id), count(*) FILTER (end_reason = 'length' AND answered) FROM stored.spans GROUP BY node ORDER BY node");
  // The last one's answer never comes.
  expect(rows).toEqual([['node-1', 28n, 28n, 27n], ['node-2', 18n, 18n, 17n]]);
}, 120_000);

test('a process that is killed between the storing of what it tells and the cycle that reads it', async () => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  const now_ms = Date.now();
  const options = { late_pause_ms: 0, silent_ms: 1e9, now_ms: () => now_ms };
  let correlator = new Correlator(warehouse, options);
  for (let n = 1; n <= 12; n += 1) {
    await warehouse.apply(minute(1, n));
    if (n % 4 !== 0) continue;
    await correlator.cycle();
    await warehouse.seal();
  }
  for (let n = 1; n <= 5; n += 1) {
    await warehouse.apply(minute(2, n));
    if (n === 4) correlator = new Correlator(warehouse, options);
    await correlator.cycle();
  }
  await correlator.finish();
  const { rows } = await warehouse.query("SELECT node, count(*), count(DISTINCT span_id), count(*) FILTER (end_reason = 'length' AND answered) FROM stored.spans GROUP BY node ORDER BY node");
  expect(rows).toEqual([['node-1', 24n, 24n, 23n], ['node-2', 10n, 10n, 9n]]);
}, 120_000);

/** A node that has told all of its minutes, four to a cycle; the clock of what is late is the test's. */
async function oneUpToDate(minutes: number, options: CorrelatorOptions = {}): Promise<{ warehouse: Warehouse; correlator: Correlator; clock: { ms: number }; said: string[] }> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  const clock = { ms: Date.now() };
  const said: string[] = [];
  const correlator = new Correlator(warehouse, { late_pause_ms: 5000, silent_ms: 1e9, now_ms: () => clock.ms, log: (line) => said.push(line), ...options });
  for (let n = 1; n <= minutes; n += 1) {
    await warehouse.apply(minute(1, n));
    if (n % 4 !== 0) continue;
    await correlator.cycle();
    await warehouse.seal();
  }
  return { warehouse, correlator, clock, said };
}

const toldOf = async (warehouse: Warehouse): Promise<unknown> => (await warehouse.query("SELECT count(*), count(DISTINCT span_id), count(DISTINCT span_id) FILTER (answered) FROM stored.spans WHERE node = 'node-2'")).rows[0];

const BETWEEN_AND_BESIDE = [['between two cycles', undefined], ['beside them', 0]] as const;

test.each(BETWEEN_AND_BESIDE)('an answer that comes two batches after its request is there in the end, although late parts have to wait for their turn, which is %s', async (_when, beside_spans) => {
  const { warehouse, correlator, clock } = await oneUpToDate(12, { beside_spans });
  for (let n = 1; n <= 8; n += 1) {
    await warehouse.apply(minute(2, n, 2));
    clock.ms += 2000;
    await correlator.cycle();
  }
  await correlator.finish();
  expect(await toldOf(warehouse)).toEqual([16n, 16n, 14n]);
}, 120_000);

test.each(BETWEEN_AND_BESIDE)('each span is there once, when a batch of it lands while a late part is done again %s', async (_when, beside_spans) => {
  const { warehouse, correlator, clock } = await oneUpToDate(8, { beside_spans });
  const replace = warehouse.replaceDerived.bind(warehouse);
  let redone = 0;
  warehouse.replaceDerived = async (...args) => {
    if (redone++ === 0) await warehouse.apply(minute(2, 2));
    return replace(...args);
  };
  await warehouse.apply(minute(2, 1));
  for (let cycle = 1; cycle <= 6; cycle += 1) {
    if (cycle === 3) await warehouse.apply(minute(1, 9));
    if (cycle === 4) await warehouse.seal();
    if (cycle === 5) clock.ms += 10_000;
    if (cycle === 5) await warehouse.apply(minute(2, 3));
    if (cycle === 6) await correlator.finish();
    await correlator.cycle();
    clock.ms += 1000;
  }
  expect(redone).toBeGreaterThan(1);
  expect(await toldOf(warehouse)).toEqual([6n, 6n, 5n]);
}, 120_000);

/** A late part that is done beside the cycles, and has come to where its segments give way. */
async function oneBeside(): Promise<{ warehouse: Warehouse; correlator: Correlator; clock: { ms: number }; said: string[]; goOn: (failure?: Error) => void }> {
  const found = await oneUpToDate(12, { beside_spans: 0 });
  const { warehouse, correlator } = found;
  const replace = warehouse.replaceDerived.bind(warehouse);
  let goOn: (failure?: Error) => void = () => undefined;
  const held = new Promise<Error | undefined>((resolve) => (goOn = resolve));
  const begun = new Promise<void>((resolve) => {
    warehouse.replaceDerived = (ids, fill, range) => replace(ids, async (alias, connection) => {
      resolve();
      const failure = await held;
      if (failure !== undefined) throw failure;
      await fill(alias, connection);
    }, range);
  });
  await warehouse.apply(minute(2, 1));
  await warehouse.apply(minute(2, 2));
  await correlator.cycle();
  await begun;
  return { ...found, goOn };
}

test('while a late part is done beside the cycles, these go on, and what else comes late is done afterwards', async () => {
  const { warehouse, correlator, clock, goOn } = await oneBeside();
  await warehouse.apply(minute(1, 13));
  await warehouse.apply(minute(1, 14));
  await warehouse.apply(minute(2, 3));
  clock.ms += 60_000;
  await correlator.cycle();
  const { rows } = await warehouse.query("SELECT max(end_ns) // 60000000000 FROM stored.spans WHERE node = 'node-1'");
  expect(rows).toEqual([[14n]]);
  expect(await toldOf(warehouse)).toEqual([0n, 0n, 0n]);
  goOn();
  await correlator.finish();
  expect(await toldOf(warehouse)).toEqual([6n, 6n, 5n]);
  expect(await warehouse.late()).toBeNull();
}, 120_000);

test('a late part that fails beside the cycles is said, and done after the pause', async () => {
  const { warehouse, correlator, clock, said, goOn } = await oneBeside();
  const replace = warehouse.replaceDerived;
  goOn(new Error('no room'));
  await expect.poll(() => said).toEqual(['late events: no room; trying again']);
  expect(await warehouse.late()).not.toBeNull();
  warehouse.replaceDerived = Object.getPrototypeOf(warehouse).replaceDerived as typeof replace;
  await correlator.cycle();
  expect(await toldOf(warehouse)).toEqual([0n, 0n, 0n]);
  clock.ms += 60_000;
  await correlator.cycle();
  await expect.poll(() => toldOf(warehouse), { timeout: 20_000 }).toEqual([4n, 4n, 3n]);
}, 120_000);

test('a process that ends stops it, and leaves it to the next one', async () => {
  const { warehouse, correlator, said, goOn } = await oneBeside();
  correlator.leaveLate();
  const ending = correlator.finish();
  goOn();
  await ending;
  expect(said).toEqual(['late events: what they change is correlated again after the next start']);
  expect(await toldOf(warehouse)).toEqual([0n, 0n, 0n]);
  await new Correlator(warehouse, { silent_ms: 1e9 }).finish();
  expect(await toldOf(warehouse)).toEqual([4n, 4n, 3n]);
  expect(await warehouse.late()).toBeNull();
}, 120_000);

/** Node 2 has told a minute, node 1 four; what node 2 has left open was taken for ended. Each file is a part of its own, done beside the cycles. */
async function oneFallenSilent(): Promise<{ warehouse: Warehouse; correlator: Correlator }> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  const clock = { ms: Date.now() };
  const correlator = new Correlator(warehouse, { late_pause_ms: 5000, silent_ms: 10_000, beside_spans: 0, part_spans: 0, now_ms: () => clock.ms });
  await warehouse.apply(minute(2, 1));
  const told_ms = Date.now();
  await delay(200);
  for (let n = 1; n <= 4; n += 1) await warehouse.apply(minute(1, n));
  clock.ms = told_ms + 10_000; // node 2 has been silent for so long, and node 1 has not
  await correlator.cycle();
  return { warehouse, correlator };
}

test('what was taken for ended, and is open after all, is waited for by the cycles when its part of history was done beside them', async () => {
  const { warehouse, correlator } = await oneFallenSilent();
  const asked = async (): Promise<unknown[][]> => (await warehouse.query(`SELECT answered, end_reason FROM stored.spans WHERE node = 'node-2' AND start_ns = ${MINUTE + MINUTE / 2n}`)).rows;
  expect(await asked()).toEqual([[false, 'stop']]);
  await warehouse.seal();
  const replace = warehouse.replaceDerived.bind(warehouse);
  const redone = new Promise<void>((resolve) => {
    warehouse.replaceDerived = (...args) => replace(...args).finally(resolve);
  });
  for (let n = 2; n <= 6; n += 1) await warehouse.apply(minute(2, n, 6));
  for (let n = 5; n <= 6; n += 1) await warehouse.apply(minute(1, n));
  await correlator.cycle();
  await redone;
  expect(await asked()).toEqual([]);
  for (const node of [1, 2]) await warehouse.apply(minute(node, 7, 6));
  await expect.poll(async () => (await correlator.cycle(), asked()), { timeout: 10_000 }).toEqual([[true, 'length']]);
}, 120_000);

test('an answer that lands while the part of its time is done beside the cycles is stored by that part alone', async () => {
  const { warehouse, correlator } = await oneFallenSilent();
  await warehouse.seal();
  for (let n = 5; n <= 7; n += 1) await warehouse.apply(minute(1, n));
  await correlator.cycle();
  await warehouse.seal();
  const replace = warehouse.replaceDerived.bind(warehouse);
  let goOn: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (goOn = resolve));
  let redone: Promise<void> | undefined;
  const filled = new Promise<void>((resolve) => {
    warehouse.replaceDerived = (ids, fill, range) => {
      redone = replace(ids, async (alias, connection) => {
        await warehouse.apply(minute(2, 4)); // with the answer to what was asked in the batch before
        await fill(alias, connection);
        resolve();
        await held;
      }, range);
      return redone;
    };
  });
  for (let n = 2; n <= 3; n += 1) await warehouse.apply(minute(2, n));
  await correlator.cycle();
  await filled;
  await correlator.cycle();
  goOn();
  await redone;
  const { rows } = await warehouse.query(`SELECT count(*), max(end_reason) FROM stored.spans WHERE node = 'node-2' AND start_ns = ${3n * MINUTE + MINUTE / 2n}`);
  expect(rows).toEqual([[1n, 'length']]);
}, 120_000);
