import { expect, test, vi } from 'vitest';
import { weighApart } from '../queries/timing/weighing.ts';
import type { Problem } from '../queries/timing/problem.ts';

const root = vi.hoisted(() => ({ there: false }));
vi.mock('../schema/package-root.ts', async (original) => {
  const real = await original<typeof import('../schema/package-root.ts')>();
  return { ...real, packageRoot: () => (root.there ? real.packageRoot() : '/nowhere') };
});

/** One request, one call within it. */
const PROBLEM: Problem = {
  operations: 1, callees: 1, request_start: Float64Array.of(0), request_end: Float64Array.of(10), request_operation: Int32Array.of(0), call_start: Float64Array.of(3), call_end: Float64Array.of(5),
  call_callee: Int32Array.of(0), offsets: Int32Array.of(0, 1), candidates: Int32Array.of(0), evidence: Float64Array.of(0), request_group: Int32Array.of(-1), group_start: Float64Array.of(0),
};
const TASK = { problem: PROBLEM, callee_names: ['b:80'], tick_ns: 1, options: {}, begin_before_ms: Infinity };

test('a thread that cannot start fails its task, and the next one has another; a task that comes too late is not begun', async () => {
  await expect(weighApart(TASK)).rejects.toThrow('Terminating');
  root.there = true;
  expect((await weighApart(TASK))?.probabilities).toEqual(Float64Array.of(1));
  expect(await weighApart({ ...TASK, begin_before_ms: Date.now() - 1 })).toBeNull();
});
