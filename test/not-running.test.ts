import { expect, onTestFinished, test } from 'vitest';
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

test('batches that never came are a loss, from what was told last to the next one; of a run that nothing is known of, from its start', async () => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder() });
  onTestFinished(() => warehouse.close());
  const told = async (): Promise<unknown[][]> => (await warehouse.query('SELECT node, run_id, from_ns, to_ns, events_lost, cause FROM stored.losses ORDER BY to_ns')).rows;
  // A warehouse may be new to a node.
  await warehouse.apply(makeBatch({ node: 'a', run_id: 1000n, sequence: 7n, watermark_ns: 1500n }));
  await Promise.all([8n, 9n, 10n].map((sequence) => warehouse.apply(makeBatch({ node: 'a', run_id: 1000n, sequence, watermark_ns: 1500n + sequence }))));
  expect(await told()).toEqual([]);
  await warehouse.apply(makeBatch({ node: 'a', run_id: 1000n, sequence: 14n, watermark_ns: 9000n }));
  await warehouse.apply(makeBatch({ node: 'a', run_id: 1000n, sequence: 14n, watermark_ns: 9000n }));
  await warehouse.apply(makeBatch({ node: 'a', run_id: 1000n, sequence: 15n, watermark_ns: 9100n }));
  await warehouse.apply(makeBatch({ node: 'a', run_id: 20_000n, sequence: 2n, watermark_ns: 20_200n }));
  await warehouse.apply(makeBatch({ node: 'a', run_id: 20_000n, sequence: 3n, watermark_ns: 20_300n }));
  expect(await told()).toEqual([
    ['a', 1000n, 1510n, 9000n, null, 'not_received'],
    ['a', 20_000n, 9100n, 20_000n, null, 'not_running'],
    ['a', 20_000n, 20_000n, 20_200n, null, 'not_received'],
  ]);
});
