import { expect, test } from 'vitest';
import { CycleLoad, pauseAfter } from '../queries/cycle-pace.ts';

test('a quiet node is correlated less often the more a cycle costs, and a busy one as often as holds the delay', () => {
  expect([0, 100, 250, 300, 400, 500, 600, 800, 2000].map(pauseAfter)).toEqual([400, 400, 500, 400, 200, 20, 20, 20, 200]);
});

test('correlation lacks processors when rows wait, or when its cycles take too long for the delay; one that is long by chance says nothing', () => {
  const load = new CycleLoad();
  expect(load.note(100, true)).toBe(true);
  expect([2000, 100, 100].map((ms) => load.note(ms, false))).toEqual([false, false, false]);
  const rising = Array.from({ length: 20 }, () => load.note(900, false));
  expect([rising[0], rising.at(-1)]).toEqual([false, true]);
  expect(Array.from({ length: 20 }, () => load.note(300, false)).at(-1)).toBe(false);
});
