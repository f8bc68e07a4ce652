import { defineConfig } from 'vitest/config';

/** They trace, kill, load or time: beside others on two cores they would measure those. */
const ALONE = ['test/bpf/**', 'test/accuracy/**', 'test/demo.test.ts', 'test/sql-worker.test.ts', 'test/api-fuzz.test.ts', 'test/api-sql*.test.ts', 'test/warehouse-kill.test.ts', 'test/warehouse-storage.test.ts', 'test/failing-disks.test.ts', 'test/retention-limits.test.ts'];
const ALL = 'test/**/*.test.ts';

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    projects: [
      { extends: true, test: { name: 'alone', include: ALONE.map((glob) => (glob.endsWith('**') ? `${glob}/*.test.ts` : glob)), maxWorkers: 1, sequence: { groupOrder: 0 } } },
      { extends: true, test: { name: 'together', include: [ALL], exclude: ALONE, maxWorkers: 2, sequence: { groupOrder: 1 } } },
    ],
  },
});
