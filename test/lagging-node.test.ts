// A node that was away sends hours of what it has kept, faster than they passed, while the others go on.
import { expect, onTestFinished, test } from 'vitest';
import type { Batch } from '../ingest/batch.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const MINUTE = 60_000_000_000n;
const REQUEST = { process_id: 9, role: 'server', kind: 'request', direction: 'in', protocol: 'http', exchange_no: 0, stream_offset: 0, end_offset: 10, complete: true, partial: false, end_reason: 'no_body', method: 'GET', path: '/' };

/** Of a node: a request that is answered, and one that is answered in the next minute. */
function minute(node: number, n: number): Batch {
  const [from, id] = [MINUTE * BigInt(n), (no: number, kind: number): number => node * 100_000 + no * 10 + kind];
  const who = { first_thread_id: node, last_thread_id: node };
  const asked = (no: number, kind: number, at: bigint) => ({ ...REQUEST, ...who, socket_id: id(no, kind), conn_id: id(no, kind), ts_ns: at, end_ts_ns: at });
  const answered = (no: number, kind: number, at: bigint) => ({ ...asked(no, kind, at), kind: 'response', direction: 'out', end_reason: 'length', status: 200 });
  return makeBatch({ node: `node-${node}`, boot_id: `node-${node}`, run_id: BigInt(node), sequence: BigInt(n), watermark_ns: from + MINUTE }, {
    messages: [
      asked(n, 1, from + MINUTE / 4n), answered(n, 1, from + MINUTE / 4n + 5_000_000n), asked(n, 2, from + MINUTE / 2n),
      ...(n > 1 ? [answered(n - 1, 2, from + MINUTE / 8n)] : []),
    ],
  });
}

test('the others are not held back by it, and in the end everything it has told is there, once, with its answer', async () => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  const correlator = new Correlator(warehouse, { late_pause_ms: 0, silent_ms: 1e9 });
  const newest = async (node: number): Promise<bigint> => ((await warehouse.query(`SELECT coalesce(max(end_ns), 0) FROM stored.spans WHERE node = 'node-${node}'`)).rows[0]?.[0] as bigint) / MINUTE;
  for (let n = 1; n <= 12; n += 1) {
    await warehouse.apply(minute(1, n));
    await correlator.cycle();
    if (n % 4 === 0) await warehouse.seal();
  }
  const [seen, late]: [bigint[], bigint[]] = [[], []];
  for (let n = 1; n <= 16; n += 1) {
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
  expect(rows).toEqual([['node-1', 32n, 32n, 31n], ['node-2', 32n, 32n, 31n]]);
}, 60_000);
