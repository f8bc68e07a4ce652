// `up` while its warehouse opens: what the collector brings meanwhile.
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { CollectorHandlers } from '../main/collector.ts';
import { startUp } from '../main/up.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

/** In place of the loader's: brings batches on end, unless it is paused, until it has brought all. */
const source = vi.hoisted(() => ({ batches: 200, brought: 0, waiting: 0, paused: false, held_back: 0, while_opening: 0 }));

vi.mock('../main/collector.ts', () => ({
  Collector: {
    start: async (_options: unknown, handlers: CollectorHandlers) => {
      const timer = setInterval(() => {
        if (source.paused) source.held_back += 1;
        if (source.paused || source.brought === source.batches) return;
        source.brought += 1;
        source.waiting += 1;
        handlers.on_batch(makeBatch({ sequence: BigInt(source.brought) }));
      }, 1);
      return {
        ready: Promise.resolve(),
        ended: new Promise(() => undefined),
        assembler: { giveBack: () => (source.waiting -= 1) },
        pause: () => (source.paused = true),
        resume: () => (source.paused = false),
        stop: async () => clearInterval(timer),
      };
    },
  },
}));

vi.mock('../main/server.ts', async (original) => {
  const real = await original<typeof import('../main/server.ts')>();
  const open: typeof real.Server.open = async (options) => {
    await vi.waitUntil(() => source.held_back > 10 || source.brought === source.batches, { timeout: 10_000 });
    source.while_opening = source.brought;
    return real.Server.open(options);
  };
  return { ...real, Server: { open } };
});

test('so many batches wait at most, and all are stored once it is open', async () => {
  const running = await startUp({ data: join(temporaryFolder(), 'data'), listen: '127.0.0.1:0', memoryLimit: '256MB', node: 'n', payload: 0, ring: 0 });
  onTestFinished(() => running.stop());
  expect(source.while_opening).toBe(8);
  await expect.poll(() => running.server.warehouse.last_apply_no, { timeout: 20_000 }).toBe(BigInt(source.batches));
  await expect.poll(() => source.waiting).toBe(0);
});
