// How a worker is started: with as little power as this machine lets us take away.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { PipeReader } from '../../queries/pipe-reader.ts';
import { packageRoot } from '../../schema/package-root.ts';
import type { WorkerSettings, WorkerStart } from './worker.ts';

export interface WorkerProcess {
  readonly child: ChildProcess;
  /** What it is told; what it answers. */
  readonly input: Socket;
  readonly output: PipeReader;
  /** File with what it wrote to its standard error. */
  readonly complaints: string;
}

/** Address space beyond what DuckDB may use: Node.js, its code and its reserved heap. */
const NODE_KIB = 2 * 1024 * 1024;
const MOST_FILES = 4096;
/** The unit of ulimit -f in a POSIX shell. */
const BLOCK_BYTES = 512;

/** Behind all others for CPU and disk; no network, no capabilities, no way to get any; killed with whoever started it. Of these, what is permitted here. */
const CONFINEMENTS = [
  ['chrt', '--idle', '0'],
  ['ionice', '-c', '3'],
  ['unshare', '--net', '--'],
  ['setpriv', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--'],
  ['setpriv', '--pdeathsig', 'KILL', '--'],
] as const;

const works = ([program = '', ...args]: readonly string[]): boolean => spawnSync(program, args, { stdio: 'ignore' }).status === 0;

let confinement: readonly string[] | undefined;

/** Tried once: the words that go before a command. */
function findConfinement(): readonly string[] {
  confinement ??= CONFINEMENTS.reduce<readonly string[]>((words, next) => (works([...words, ...next, 'true']) ? [...words, ...next] : words), []);
  return confinement;
}

const LANDLOCK = (): string => join(packageRoot(), '.output', 'tracehouse-confine');
/** What Node.js and DuckDB read of a machine. The folder of the process itself, not those of others. */
const MACHINE = ['/usr', '/lib', '/lib64', '/bin', '/etc/ld.so.cache', '/etc/ssl/openssl.cnf', '/etc/localtime', '/proc/self', '/proc/meminfo', '/proc/cpuinfo', '/proc/stat', '/proc/sys', '/sys/fs/cgroup', '/dev/urandom'];

let has_landlock: boolean | undefined;

/** The words that go before a worker's command. */
export const confinementOf = (settings: Pick<WorkerSettings, 'data_folders' | 'folder'>): string[] => [...findConfinement(), ...landlockWords(settings)];

/** It sees the machine's programs, its own, the data and its own folder, which alone it can change. None where the kernel cannot. */
function landlockWords({ data_folders, folder }: Pick<WorkerSettings, 'data_folders' | 'folder'>): string[] {
  has_landlock ??= works([LANDLOCK(), '--read', '/', '--', 'true']);
  if (!has_landlock) return [];
  // Installed as a package, what it depends on lies beside it.
  const modules = /^.*?\/node_modules(?=\/)/.exec(packageRoot())?.[0] ?? join(packageRoot(), 'node_modules');
  const own = ['dist', 'schema', 'queries', 'package.json'].map((name) => join(packageRoot(), name));
  const read = [...MACHINE, dirname(process.execPath), modules, ...own, ...data_folders];
  return [LANDLOCK(), '--pipe', textPipe(folder), ...read.flatMap((path) => ['--read', path]), ...[folder, '/proc/self', '/dev/null'].flatMap((path) => ['--write', path]), '--'];
}

/** Through which DuckDB hands text to its own process. */
const textPipe = (folder: string): string => join(folder, 'text');

/**
 * Named pipes: Node.js would give it sockets, and the sockets of our own processes must not show in traces. Ours are open
 * before its are, and none of these four waits for the other side: a reader may come first, and a writer that also reads.
 */
function makePipes(folder: string): { input: Socket; output: PipeReader; redirects: string; text_pipe: string } {
  const [told, said, text_pipe] = [join(folder, 'in'), join(folder, 'out'), textPipe(folder)];
  const made = spawnSync('mkfifo', ['-m', '600', told, said, text_pipe], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`mkfifo: ${made.stderr ?? String(made.error)}`);
  const output = new PipeReader(said);
  const input = new Socket({ fd: openSync(told, constants.O_RDWR | constants.O_NONBLOCK), readable: false, writable: true });
  return { input, output, redirects: '< in > out 2> err', text_pipe };
}

export function startWorker(settings: WorkerSettings): WorkerProcess {
  // What runs is always the compiled one: Node.js 20 cannot run the other.
  const program = join(packageRoot(), 'dist', 'api', 'sql-worker', 'worker.js');
  const address_kib = NODE_KIB + Math.ceil((2 * settings.memory_bytes) / 1024);
  const file_blocks = Math.ceil(settings.temp_bytes / BLOCK_BYTES);
  const { input, output, redirects, text_pipe } = makePipes(settings.folder);
  const limits = `ulimit -c 0; ulimit -n ${MOST_FILES}; ulimit -f ${file_blocks}; ulimit -v ${address_kib}; exec "$@" ${redirects}`;
  const command = [...confinementOf(settings), process.execPath, '--max-old-space-size=256', '--expose-gc', program, JSON.stringify({ ...settings, text_pipe } satisfies WorkerStart)];
  // Its environment says nothing of ours, but for how DuckDB's allocator gives back what is free.
  const { DUCKDB_JE_MALLOC_CONF: allocator } = process.env;
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', UV_THREADPOOL_SIZE: '4', ...(allocator === undefined ? {} : { DUCKDB_JE_MALLOC_CONF: allocator }) };
  const child = spawn('/bin/sh', ['-c', limits, 'sh', ...command], { cwd: settings.folder, env, stdio: 'ignore' });
  return { child, input, output, complaints: join(settings.folder, 'err') };
}
