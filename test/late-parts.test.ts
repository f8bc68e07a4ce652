// What is left to the rewrite of its part of history, and when that ends.
import { expect, onTestFinished, test } from 'vitest';
import type { Batch } from '../ingest/batch.ts';
import type { Segment } from '../ingest/segment-catalog.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const SECOND = 1_000_000_000n;
const MINUTE = 60n * SECOND;
const REQUEST = { process_id: 9, role: 'server', kind: 'request', direction: 'in', protocol: 'http', exchange_no: 0, stream_offset: 0, end_offset: 10, complete: true, partial: false, end_reason: 'no_body', method: 'GET', path: '/', first_thread_id: 1, last_thread_id: 1 };

/** An answered request in a piece of time, as one collector tells of it. */
function piece(node: string, run: number, n: number, length: bigint, sequence = n): Batch {
  const [from, socket] = [length * BigInt(n), (node === 'node-2' ? 500_000 : 0) + n];
  const asked = { ...REQUEST, socket_id: socket, conn_id: socket, ts_ns: from + length / 4n, end_ts_ns: from + length / 4n };
  return makeBatch({ node, boot_id: node, run_id: BigInt(run), sequence: BigInt(sequence), watermark_ns: from + length }, {
    messages: [asked, { ...asked, kind: 'response', direction: 'out', end_reason: 'length', status: 200, ts_ns: asked.ts_ns + 5_000_000n, end_ts_ns: asked.ts_ns + 5_000_000n }],
  });
}

async function open(): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  return warehouse;
}

/** From when to when segments that were done again are of, call by call. */
function redone(warehouse: Warehouse): { from_ns: bigint; to_ns: bigint }[][] {
  const calls: { from_ns: bigint; to_ns: bigint }[][] = [];
  const replace = warehouse.replaceDerived.bind(warehouse);
  warehouse.replaceDerived = (ids, ...more) => {
    calls.push(warehouse.segments.filter(({ uid }) => ids.includes(uid)).map(({ from_ns, to_ns }) => ({ from_ns, to_ns })));
    return replace(ids, ...more);
  };
  return calls;
}

const now_ms = Date.now();
const OPTIONS = { late_pause_ms: 0, silent_ms: 1e9, now_ms: () => now_ms };

test.each([1, 2])('after a restart nothing is late where nothing came late: %i collectors on the node', async (runs) => {
  const warehouse = await open();
  const tell = async (n: number): Promise<void> => {
    for (let run = 1; run <= runs; run += 1) await warehouse.apply(piece('node-1', run, n, 10n * SECOND));
  };
  for (let n = 1; n <= 12; n += 1) await tell(n);
  await new Correlator(warehouse, OPTIONS).cycle();
  await warehouse.seal();
  const calls = redone(warehouse);
  const correlator = new Correlator(warehouse, OPTIONS);
  const late: number[] = [];
  for (let n = 13; n <= 16; n += 1) {
    await tell(n);
    late.push((await correlator.cycle()).late);
  }
  const { rows } = await warehouse.query('SELECT count(*), count(DISTINCT span_id) FROM stored.spans');
  expect({ late, redone: calls.length, rows }).toEqual({ late: [0, 0, 0, 0], redone: 0, rows: [[16n, 16n]] });
}, 30_000);

test('what is done again after a node was away ends where it was back, however much comes meanwhile', async () => {
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  await warehouse.apply(piece('node-2', 2, 1, MINUTE));
  for (let n = 1; n <= 12; n += 1) {
    await warehouse.apply(piece('node-1', 1, n, MINUTE));
    if (n !== 8 && n !== 12) continue;
    await correlator.cycle();
    await warehouse.seal();
  }
  // Each minute has 210,000 spans: 3,500 a second. A part is then one segment, and took() lets about one go in a minute.
  const real = Object.getOwnPropertyDescriptor(Warehouse.prototype, 'segments')?.get as (this: Warehouse) => readonly Segment[];
  Object.defineProperty(warehouse, 'segments', { get: () => real.call(warehouse).map((segment) => (segment.kind === 'derived' && segment.state === 'sealed' ? { ...segment, rows: new Map([...(segment.rows ?? []), ['spans', 210_000]]) } : segment)) });
  const calls = redone(warehouse);
  for (let n = 13; n <= 18; n += 1) {
    await warehouse.apply(piece('node-2', 2, n, MINUTE, n - 11));
    await warehouse.apply(piece('node-1', 1, n, MINUTE));
    await correlator.cycle();
    await warehouse.seal();
  }
  // It was back with minute 13, and late with nothing since.
  expect(calls.map((segments) => segments.map(({ from_ns, to_ns }) => `${from_ns / SECOND} to ${to_ns / SECOND}`).join(', ')).filter((text) => Number(text.split(' ')[0]) >= 839)).toEqual([]);
}, 30_000);

test('what a node tells of a time whose segments have gone is found as long as its raw rows are', async () => {
  const warehouse = await open();
  const correlator = new Correlator(warehouse, OPTIONS);
  for (let n = 1; n <= 12; n += 1) {
    await warehouse.apply(piece('node-1', 1, n, MINUTE));
    if (n % 6 !== 0) continue;
    await correlator.cycle();
    await warehouse.seal();
  }
  await warehouse.dropBefore(8n * MINUTE); // room was short
  for (let n = 1; n <= 2; n += 1) {
    await warehouse.apply(piece('node-2', 2, n, MINUTE));
    await correlator.cycle();
  }
  await correlator.finish();
  const { rows } = await warehouse.query("SELECT (SELECT count(*) FROM stored.messages WHERE node = 'node-2' AND kind = 'request'), (SELECT count(*) FROM stored.spans WHERE node = 'node-2')");
  expect(rows).toEqual([[2n, 2n]]);
}, 30_000);
