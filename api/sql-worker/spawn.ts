// How a worker is started: with as little power as this machine lets us take away.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Readable, Writable } from 'node:stream';
import type { WorkerSettings } from './worker.ts';

export type WorkerProcess = ChildProcessByStdio<Writable, Readable, Readable>;

/** Address space beyond what DuckDB may use: Node.js, its code and its reserved heap. */
const NODE_KIB = 2 * 1024 * 1024;
const MOST_FILES = 1024;

/** No network, no capabilities, no way to get any; of these, what is permitted here. */
const CONFINEMENTS = [
  ['unshare', '--net', '--'],
  ['setpriv', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--'],
] as const;

let confinement: readonly string[] | undefined;

/** Tried once: the words that go before a command. */
export function findConfinement(): readonly string[] {
  confinement ??= CONFINEMENTS.reduce<readonly string[]>((words, next) => {
    const longer = [...words, ...next];
    const [program = '', ...args] = [...longer, 'true'];
    return spawnSync(program, args, { stdio: 'ignore' }).status === 0 ? longer : words;
  }, []);
  return confinement;
}

/** DuckDB's way of writing sizes, as KiB. */
export function sizeKib(text: string): number {
  const match = /^(\d+)(MB|GB)$/.exec(text);
  if (match === null) throw new Error(`${text} is no size in MB or GB`);
  return Math.ceil((Number(match[1]) * (match[2] === 'GB' ? 1e9 : 1e6)) / 1024);
}

export function startWorker(settings: WorkerSettings): WorkerProcess {
  const program = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url));
  const limits = `ulimit -c 0; ulimit -n ${MOST_FILES}; ulimit -v ${NODE_KIB + 2 * sizeKib(settings.memory_limit)}; exec "$@"`;
  const command = [...findConfinement(), process.execPath, '--max-old-space-size=256', program, JSON.stringify(settings)];
  return spawn('/bin/sh', ['-c', limits, 'sh', ...command], { cwd: settings.folder, env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', UV_THREADPOOL_SIZE: '4' }, stdio: ['pipe', 'pipe', 'pipe'] });
}
