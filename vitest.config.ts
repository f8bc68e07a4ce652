import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores: eBPF tests and real servers share the machine, so files run one after the other.
    fileParallelism: false,
    pool: 'forks',
  },
});
