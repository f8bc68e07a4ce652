// What these tests run: the loader as `make` leaves it, and the load program.
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../schema/package-root.ts';

const root = packageRoot();
export const LOADER = join(root, '.output', 'tracehouse-loader');
export const OBJECT = join(root, '.output', 'tracehouse.bpf.o');
export const LOAD = join(root, '.output', 'tracehouse-load');

/** Builds both when their sources are newer. */
export function build(): void {
  mkdirSync(join(root, '.output'), { recursive: true });
  execFileSync('make', ['-C', join(root, 'bpf')], { stdio: 'pipe' });
  const source = join(root, 'test/bpf/load.c');
  const built = statSync(LOAD, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built < statSync(source).mtimeMs) execFileSync('gcc', ['-O1', '-Wall', '-static', '-pthread', source, '-o', LOAD], { stdio: 'pipe' });
}
