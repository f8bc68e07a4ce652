import { expect, test } from 'vitest';
import type { Batch } from '../ingest/batch.ts';
import { BatchQueue } from '../main/batch-queue.ts';

const numbered = (sequence: number): Batch => ({ sequence: BigInt(sequence) }) as Batch;

test('applies in order, one at a time, and pauses the source while too many wait', async () => {
  const applied: bigint[] = [];
  const pressure: boolean[] = [];
  let at_once = 0;
  const queue = new BatchQueue({
    limit: 4,
    async apply(batch) {
      at_once += 1;
      expect(at_once).toBe(1);
      await Promise.resolve();
      at_once -= 1;
      applied.push(batch.sequence);
    },
    on_pressure: (full) => pressure.push(full),
    on_error: async (error) => {
      throw error;
    },
  });
  for (let i = 1; i <= 10; i += 1) queue.push(numbered(i));
  await queue.drain();
  expect(applied).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n, 10n]);
  // Told with each that comes too early: a source that has to end goes on by itself.
  expect(pressure).toEqual([true, true, true, true, true, true, true, false]);
});

test('tries a batch again until it is applied, and gives up when the handler throws', async () => {
  let left = 2;
  const applied: bigint[] = [];
  const queue = new BatchQueue({
    async apply(batch) {
      if (batch.sequence === 2n && left > 0) throw new Error('disk full');
      applied.push(batch.sequence);
    },
    on_pressure: () => undefined,
    async on_error(error, batch) {
      left -= 1;
      if (batch.sequence === 3n) throw error;
    },
  });
  queue.push(numbered(1));
  queue.push(numbered(2));
  await queue.drain();
  expect(applied).toEqual([1n, 2n]);

  const failing = new BatchQueue({
    apply: async () => {
      throw new Error('gone');
    },
    on_pressure: () => undefined,
    on_error: async (error) => {
      throw error;
    },
  });
  failing.push(numbered(1));
  await expect(failing.drain()).rejects.toThrow('gone');
});

test('two at a time: what failed and what was under way with it come again, in order', async () => {
  const begun: bigint[] = [];
  const errors: bigint[] = [];
  let at_once = 0;
  let most = 0;
  const queue = new BatchQueue({
    at_once: 2,
    async apply(batch) {
      begun.push(batch.sequence);
      at_once += 1;
      most = Math.max(most, at_once);
      await new Promise((resolve) => setImmediate(resolve));
      at_once -= 1;
      if (errors.length === 0 && batch.sequence >= 3n) throw new Error('disk full');
    },
    on_pressure: () => undefined,
    async on_error(_error, batch) {
      expect(at_once).toBe(0);
      errors.push(batch.sequence);
    },
  });
  for (let i = 1; i <= 6; i += 1) queue.push(numbered(i));
  await queue.drain();
  expect(queue.length).toBe(0);
  expect(most).toBe(2);
  expect(errors).toEqual([3n]);
  expect(begun).toEqual([1n, 2n, 3n, 4n, 3n, 4n, 5n, 6n]);
});
