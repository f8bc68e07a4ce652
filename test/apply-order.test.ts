import { expect, test } from 'vitest';
import { ApplyOrder } from '../ingest/apply-order.ts';
import { makeBatch } from './support/make-batch.ts';

const batch = (sequence: bigint, run_id = 7n): ReturnType<typeof makeBatch> => makeBatch({ sequence, run_id });
const later = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a batch commits after the one before it', async () => {
  const order = new ApplyOrder();
  const [first, second] = [order.enter(batch(2n), 4n), order.enter(batch(3n), 4n)];
  expect([first.apply_no, second.apply_no]).toEqual([5n, 6n]);
  const seen: string[] = [];
  const turn = second.come().then(() => seen.push('second'));
  await first.come();
  await later();
  seen.push('first');
  first.landed();
  first.end();
  await turn;
  expect(seen).toEqual(['first', 'second']);
});

test('what follows a failed batch fails with it, and nothing new enters before both are over', async () => {
  const order = new ApplyOrder();
  const [first, second] = [order.enter(batch(2n), 0n), order.enter(batch(3n), 0n)];
  const alone: string[] = [];
  const one = first.failed(new Error('disk full')).then(() => alone.push('first'));
  await later();
  expect(alone).toEqual([]); // the second still writes
  await expect(second.come()).rejects.toThrow('disk full');
  const other = second.failed(new Error('disk full')).then(() => alone.push('second'));
  await one;
  await later();
  expect(alone).toEqual(['first']); // one after the other
  expect(order.decider(batch(9n))).toBeDefined();
  first.end();
  await other;
  expect(order.decider(batch(9n))).toBeDefined();
  second.end();
  expect(order.decider(batch(9n))).toBeUndefined();
  expect(order.enter(batch(2n), 0n).apply_no).toBe(3n); // a number is never given twice
});

test('the same batch, and the first of a run, wait for what is under way; others do not', () => {
  const order = new ApplyOrder();
  const turn = order.enter(batch(5n), 0n);
  expect(order.decider(batch(5n))).toBeDefined();
  expect(order.decider(batch(1n, 8n))).toBeDefined();
  expect(order.decider(batch(6n))).toBeUndefined();
  expect(order.decider(batch(5n, 8n))).toBeUndefined();
  turn.landed();
  turn.end();
  expect(order.decider(batch(5n))).toBeUndefined();
});
