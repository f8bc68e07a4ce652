// A network namespace of the test's own, so that nothing else on the machine is traced.
import { execFileSync } from 'node:child_process';

export interface Network {
  readonly name: string;
  remove(): void;
}

let count = 0;

export function makeNetwork(): Network {
  const name = `th-bpf-${process.pid}-${(count += 1)}`;
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return { name, remove: () => void execFileSync('ip', ['netns', 'delete', name]) };
}
