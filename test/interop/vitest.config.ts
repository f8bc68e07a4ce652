import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { include: ['test/interop/*.check.ts'], pool: 'forks', testTimeout: 300_000, hookTimeout: 900_000 } });
