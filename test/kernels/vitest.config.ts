import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { include: ['test/kernels/*.check.ts'], pool: 'forks' } });
