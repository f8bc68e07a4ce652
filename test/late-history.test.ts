// History in which a node's batches came hours late.
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Batch } from '../ingest/batch.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { recorrelate } from '../queries/recorrelate.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

/** As versions did that stored late rows with what was stored when they came. */
const former = vi.hoisted(() => ({ stores_late: false }));
vi.mock('../queries/carry-over.ts', async (original) => {
  const real = await original<typeof import('../queries/carry-over.ts')>();
  return { ...real, leaveToRewrite: (...given: Parameters<typeof real.leaveToRewrite>) => (former.stores_late ? Promise.resolve() : real.leaveToRewrite(...given)) };
});

const PIECES = 8; // an even number: half of the requests are answered
const at = (ms: number): bigint => BigInt(ms) * 1_000_000n;

/** One request: answered, or its connection is closed. */
function minute(node: number, n: number): Batch {
  const from = 60_000 * n + 30_000;
  const own = {
    socket_id: node * 1000 + n, conn_id: node * 1000 + n, process_id: node, role: 'server', kind: 'request', direction: 'in', protocol: 'http', exchange_no: 0, stream_offset: 0, end_offset: 10,
    first_thread_id: node, last_thread_id: node, complete: true, partial: false, end_reason: 'no_body', method: 'GET', path: '/',
  };
  const answer = { ...own, kind: 'response', direction: 'out', ts_ns: at(from + 5), end_ts_ns: at(from + 6), end_reason: 'length', status: 200 };
  return makeBatch({ node: `node-${node}`, run_id: BigInt(node), sequence: BigInt(n), watermark_ns: at(60_000 * (n + 1)) }, {
    messages: [{ ...own, ts_ns: at(from), end_ts_ns: at(from) }, ...(n % 2 === 0 ? [answer] : [])],
    socket_events: n % 2 === 0 ? [] : [{ ts_ns: at(from + 7), socket_id: own.socket_id, op: 'close', layer: 'socket' }],
  });
}

const answered = async (warehouse: Warehouse): Promise<unknown[][]> => (await warehouse.query("SELECT node, span_id, start_ns, end_ns, end_reason FROM stored.spans WHERE end_reason = 'length' ORDER BY ALL")).rows;

/** Node 1 in time, minute by minute, each in a segment of its own; all of node 2's late. */
async function withLateNode(): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  // What comes late is not done again meanwhile.
  const correlator = new Correlator(warehouse, { late_pause_ms: 1e9, silent_ms: 1e9 });
  for (let n = 1; n <= PIECES; n += 1) {
    await warehouse.apply(minute(1, n));
    await correlator.cycle();
    await warehouse.seal();
  }
  for (let n = 1; n <= PIECES; n += 1) {
    await warehouse.apply(minute(2, n));
    await correlator.cycle();
  }
  for (const node of [1, 2]) await warehouse.apply(minute(node, PIECES + 1));
  await correlator.cycle();
  return warehouse;
}

test.each(['former versions have stored it among later rows, where it stays', 'it was left to a rewrite, and is found'])('in pieces, which do not carry all of it along: %s', async (what) => {
  former.stores_late = what.startsWith('former');
  const warehouse = await withLateNode();
  const before = await answered(warehouse);
  if (former.stores_late) expect(before.length).toBe(PIECES);
  else expect(before.length).toBeLessThan(PIECES);
  const worked_on: number[] = [];
  const replace = warehouse.replaceDerived.bind(warehouse);
  warehouse.replaceDerived = (ids, fill, range) => replace(ids, async (alias, connection) => {
    await fill(alias, connection);
    // The last piece leaves nothing behind.
    if ((await connection.runAndReadAll("SELECT 1 FROM duckdb_tables() WHERE database_name = 'temp'")).currentRowCount > 0) worked_on.push(Number((await connection.runAndReadAll('SELECT count(*) FROM temp.exchanges')).getRows()[0]?.[0]));
  }, range);
  await recorrelate(warehouse, { from_ns: 0n, to_ns: 1n << 62n, most_spans: 1 });
  expect(worked_on.length).toBe(PIECES - 1);
  expect(Math.max(...worked_on)).toBeLessThanOrEqual(4);
  // Where a close was not seen when it landed so late, the request had been taken for open. Nothing is there twice, nothing has gone.
  const after = await answered(warehouse);
  expect(after.length).toBe(PIECES);
  if (former.stores_late) expect(after).toEqual(before);
  expect((await warehouse.query('SELECT count(*), count(DISTINCT span_id) FROM stored.spans')).rows).toEqual([[2n * BigInt(PIECES) + 2n, 2n * BigInt(PIECES) + 2n]]);
}, 120_000);

test('in parts of one large segment, of the newest ones, in which former versions have stored what came late', async () => {
  former.stores_late = true;
  const warehouse = await withLateNode();
  const before = await answered(warehouse);
  expect(before.length).toBe(PIECES);
  await warehouse.seal();
  await warehouse.withSealed((sealed, gather) => gather(sealed.filter(({ kind }) => kind === 'derived').toSorted((a, b) => (a.to_ns < b.to_ns ? -1 : 1)).slice(3 - PIECES)));
  for (let round = 0; round < 2; round += 1) {
    await recorrelate(warehouse, { from_ns: 0n, to_ns: 1n << 62n, most_spans: 1 });
    expect(await answered(warehouse)).toEqual(before);
    expect((await warehouse.query('SELECT count(*), count(DISTINCT span_id) FROM stored.spans')).rows).toEqual([[2n * BigInt(PIECES) + 2n, 2n * BigInt(PIECES) + 2n]]);
  }
}, 120_000);
