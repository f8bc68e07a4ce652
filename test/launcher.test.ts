// bin/tracehouse decides what has to be decided before Node.js begins: threads, and who hands out memory; and only for itself.
import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { packageRoot } from '../schema/package-root.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const JEMALLOC = `/usr/lib/${execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim()}-linux-gnu/libjemalloc.so.2`;
/** In the place of the program: what the process and its children have. */
const MAIN = `
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { stat } from 'node:fs/promises';
await stat('.'); // by a thread of the pool, which is there now if it was not before
const child = execFileSync('env', { encoding: 'utf8' }).split('\\n').filter((line) => /^(LD_PRELOAD|MALLOC_|TRACEHOUSE_)/.test(line));
const began = readFileSync('/proc/self/environ', 'utf8').split('\\0').filter((line) => /^(LD_PRELOAD|MALLOC_)/.test(line));
console.log(JSON.stringify({ args: process.argv.slice(2), jemalloc: readFileSync('/proc/self/maps', 'utf8').includes('libjemalloc'), began, child, duckdb: process.env.DUCKDB_JE_MALLOC_CONF, threads: readdirSync('/proc/self/task').length }));
`;

interface Seen {
  readonly args: readonly string[];
  readonly jemalloc: boolean;
  /** Of the environment that it began with. */
  readonly began: readonly string[];
  readonly child: readonly string[];
  /** What DuckDB's allocator reads once DuckDB is loaded. */
  readonly duckdb: string;
  readonly threads: number;
}

async function started(env: NodeJS.ProcessEnv = {}): Promise<Seen> {
  const folder = temporaryFolder();
  for (const name of ['bin', 'dist', 'node_modules/.bin']) mkdirSync(join(folder, name), { recursive: true });
  for (const name of ['tracehouse', 'environment.sh', 'tracehouse.js']) copyFileSync(join(packageRoot(), 'bin', name), join(folder, 'bin', name));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'dist', 'main.js'), MAIN);
  symlinkSync('../../bin/tracehouse', join(folder, 'node_modules/.bin/tracehouse')); // as npm installs it
  const { LD_PRELOAD: _preload, MALLOC_CONF: _conf, MALLOC_ARENA_MAX: _arenas, GLIBC_TUNABLES: _tunables, DUCKDB_JE_MALLOC_CONF: _duckdb, UV_THREADPOOL_SIZE: _threads, ...inherited } = process.env;
  const done = await promisify(execFile)(join(folder, 'node_modules/.bin/tracehouse'), ['a b', '*'], { env: { ...inherited, ...env } });
  return JSON.parse(done.stdout) as Seen;
}

test('arguments arrive as they are, and programs that it starts have their own allocator', async () => {
  const seen = await started();
  expect([seen.args, seen.child]).toEqual([['a b', '*'], []]);
});

test('Node.js has sixteen threads for queries, or as many as are given', async () => {
  const by_default = await started({ MALLOC_ARENA_MAX: '1' });
  const given = await started({ MALLOC_ARENA_MAX: '1', UV_THREADPOOL_SIZE: '6' });
  expect(by_default.threads - given.threads).toBe(10);
});

test.runIf(existsSync(JEMALLOC))('jemalloc hands out memory where it is installed', async () => {
  const seen = await started();
  expect(seen.jemalloc).toBe(true);
  expect(seen.began.toSorted()).toEqual([`LD_PRELOAD=${JEMALLOC}`, expect.stringMatching(/^MALLOC_CONF=narenas:2,/)]);
  const configured = await started({ MALLOC_CONF: 'narenas:1' });
  expect([configured.jemalloc, configured.child]).toEqual([true, ['MALLOC_CONF=narenas:1']]);
});

test('an allocator that is given, or settings of one, stay', async () => {
  const arenas = await started({ MALLOC_ARENA_MAX: '3' });
  expect([arenas.jemalloc, arenas.began, arenas.child]).toEqual([false, ['MALLOC_ARENA_MAX=3'], ['MALLOC_ARENA_MAX=3']]);
  const none = await started({ LD_PRELOAD: '' });
  expect([none.jemalloc, none.child]).toEqual([false, ['LD_PRELOAD=']]);
  const preloaded = await started({ LD_PRELOAD: 'libm.so.6' });
  expect([preloaded.jemalloc, preloaded.began, preloaded.child]).toEqual([false, ['LD_PRELOAD=libm.so.6'], ['LD_PRELOAD=libm.so.6']]);
});

test("DuckDB's own allocator gives back what is free, and is told otherwise by who starts it", async () => {
  expect([(await started()).duckdb, (await started({ MALLOC_ARENA_MAX: '1' })).duckdb]).toEqual(Array(2).fill(expect.stringMatching(/^narenas:1,dirty_decay_ms:\d+,/)));
  expect((await started({ DUCKDB_JE_MALLOC_CONF: 'narenas:2' })).duckdb).toBe('narenas:2');
});
