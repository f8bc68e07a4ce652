// How a worker is started: with as little power as this machine lets us take away.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { packageRoot } from '../../schema/package-root.ts';
import type { WorkerSettings } from './worker.ts';

export type WorkerProcess = ChildProcessByStdio<Writable, Readable, Readable>;

/** Address space beyond what DuckDB may use: Node.js, its code and its reserved heap. */
const NODE_KIB = 2 * 1024 * 1024;
const MOST_FILES = 4096;
/** The unit of ulimit -f in a POSIX shell. */
const BLOCK_BYTES = 512;

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

export function startWorker(settings: WorkerSettings): WorkerProcess {
  // What runs is always the compiled one: Node.js 20 cannot run the other.
  const program = join(packageRoot(), 'dist', 'api', 'sql-worker', 'worker.js');
  const address_kib = NODE_KIB + Math.ceil((2 * settings.memory_bytes) / 1024);
  const file_blocks = Math.ceil(settings.temp_bytes / BLOCK_BYTES);
  const limits = `ulimit -c 0; ulimit -n ${MOST_FILES}; ulimit -f ${file_blocks}; ulimit -v ${address_kib}; exec "$@"`;
  const command = [...findConfinement(), process.execPath, '--max-old-space-size=256', program, JSON.stringify(settings)];
  // Its environment says nothing of ours.
  return spawn('/bin/sh', ['-c', limits, 'sh', ...command], { cwd: settings.folder, env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', UV_THREADPOOL_SIZE: '4' }, stdio: ['pipe', 'pipe', 'pipe'] });
}
