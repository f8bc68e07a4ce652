// The Go program of test/bpf/go, built and run.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../schema/package-root.ts';

const root = packageRoot();
const SOURCE = join(root, 'test/bpf/go');

/** Why it can't be built here, or undefined. */
export function goLacks(): string | undefined {
  if (process.arch !== 'x64') return 'goroutines are read on amd64 only';
  return spawnSync('go', ['version'], { env: goEnvironment() }).status === 0 ? undefined : 'no Go toolchain is installed';
}

function goEnvironment(): NodeJS.ProcessEnv {
  return { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', ...process.env, GOWORK: 'off' };
}

/** Go tells who started a goroutine since 1.21. */
export function tellsParents(): boolean {
  const version = execFileSync('go', ['env', 'GOVERSION'], { env: goEnvironment(), encoding: 'utf8' });
  return Number(/go1\.(\d+)/.exec(version)?.[1]) >= 21;
}

export function buildGo(name: string, ...flags: string[]): string {
  const path = join(root, '.output', name);
  mkdirSync(join(root, '.output'), { recursive: true });
  execFileSync('go', ['build', ...flags, '-o', path, '.'], { cwd: SOURCE, env: goEnvironment(), stdio: 'pipe' });
  return path;
}

/** Asks from within the network, as often at once; what each answer said, by name. */
export function askGo(network: string, program: string, port: string, path: string, count = 1): Record<string, string>[] {
  const text = execFileSync('ip', ['netns', 'exec', network, program, 'ask', port, path, String(count)], { encoding: 'utf8', timeout: 10_000 });
  return text.trim().split('\n').map((line) => Object.fromEntries(line.split(' ').map((word) => word.split('=') as [string, string])));
}
