import { expect, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const losses = async (warehouse: Warehouse): Promise<unknown[][]> =>
  (await warehouse.query("SELECT node, run_id, from_ns, to_ns FROM stored.losses WHERE cause = 'not_running' ORDER BY run_id")).rows;

test('the time between two runs of a node is a loss, over a restart of the warehouse too, and once', async () => {
  const folder = temporaryFolder();
  const first = await Warehouse.open({ folder });
  await first.apply(makeBatch({ node: 'a', run_id: 1000n, sequence: 1n, watermark_ns: 1500n }));
  await first.apply(makeBatch({ node: 'a', run_id: 1000n, sequence: 2n, watermark_ns: 2000n }));
  await first.apply(makeBatch({ node: 'b', run_id: 2500n, sequence: 1n, watermark_ns: 2600n }));
  expect(await losses(first)).toEqual([]);
  await first.close();

  const second = await Warehouse.open({ folder });
  const again = makeBatch({ node: 'a', run_id: 3000n, sequence: 1n, watermark_ns: 3100n });
  await second.apply(again);
  await second.apply(again);
  await second.apply(makeBatch({ node: 'a', run_id: 3000n, sequence: 2n, watermark_ns: 3200n }));
  expect(await losses(second)).toEqual([['a', 3000n, 2000n, 3000n]]);
  await second.close();
});
