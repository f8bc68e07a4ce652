import { expect, test } from 'vitest';
import { pauseAfter } from '../queries/cycle-pace.ts';

test('a quiet node is correlated less often the more a cycle costs, and a busy one as often as holds the delay', () => {
  expect([0, 100, 250, 300, 400, 500, 600, 800, 2000].map(pauseAfter)).toEqual([400, 400, 500, 600, 400, 200, 20, 20, 200]);
});
