// `record` leaves a busy machine to the traced programs, and still has everything in its file at the end.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { readRecording } from '../../ingest/recording.ts';
import { packageRoot } from '../../schema/package-root.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { build } from './built.ts';
import { LoadProgram } from './load-program.ts';
import { makeNetwork, type Network } from './network.ts';

let network: Network;
beforeAll(() => {
  build();
  network = makeNetwork();
});
afterAll(() => network.remove());

/** Calls in a file, by op, and losses. */
async function calls(path: string): Promise<{ moved: number; losses: number }> {
  let [moved, losses] = [0, 0];
  for await (const { tables } of readRecording(path)) {
    const { op } = tables.socket_events.columns;
    if (op?.type !== 'dict') throw new Error('op is no dictionary');
    for (let row = 0; row < tables.socket_events.rows; row++) if (/^(read|write)$/.test(op.dictionary[op.indices[row] as number] as string)) moved += 1;
    losses += tables.losses.rows;
  }
  return { moved, losses };
}

/** The loader tells the time ten times a second unless it gives way: then its reader is given nothing. */
async function givenNothing(pid: number): Promise<void> {
  const given = () => /^rchar: \d+/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[0];
  await vi.waitFor(async () => {
    const before = given();
    await pause(500);
    expect(given()).toBe(before);
  }, { timeout: 60_000 });
}

test.each([
  ['what waits is written at the end', [], /^\s*\S+: \d+ socket events in \d+ batches; up to \d+ MiB waited on disk, written in [\d.]+ s after the end$/],
  ['--burst 0: nothing waits', ['--burst', '0'], /^\s*\S+: \d+ socket events in \d+ batches$/],
])('on a busy machine: %s', async (_what, args, said) => {
  const others: ChildProcess[] = cpus().map(() => spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }));
  onTestFinished(() => others.forEach((other) => void other.kill('SIGKILL')));
  const load = new LoadProgram(network.name, 'flood', '8000');
  const [, pid] = (await load.line('ready')).split(' ');
  const out = join(temporaryFolder(), 'raw.arrow');
  const child = spawn(join(packageRoot(), 'bin', 'tracehouse'), ['record', '--out', out, '--scope', `pid:${pid}`, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines: string[] = [];
  const recording = new Promise<void>((resolve) => createInterface({ input: child.stderr }).on('line', (line) => (lines.push(line), line.startsWith('recording to') && resolve())));
  await recording;
  if (args.length === 0) await givenNothing(child.pid as number);
  load.go();
  const [, made] = (await load.line('calls')).split(' ');
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  child.kill('SIGINT');
  expect(await exit).toBe(0);
  await load.end();
  expect(lines.at(-1)).toMatch(said);
  expect(await calls(out)).toEqual({ moved: Number(made), losses: 0 });
}, 120_000);

/** Nice values of a process's threads. Source: /proc/PID/task/TID/stat, field 19. */
const niceOf = (pid: number): Set<number> => new Set(readdirSync(`/proc/${pid}/task`).map((thread) => Number((readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ').at(-1) ?? '').split(' ')[16])));

test.each([['by default', [], 10], ['--nice 3', ['--nice', '3'], 3]])('every thread and the loader come after what is traced: %s', async (_what, args, nice) => {
  const out = join(temporaryFolder(), 'raw.arrow');
  const child = spawn(join(packageRoot(), 'bin', 'tracehouse'), ['record', '--out', out, '--scope', `netns:${network.name}`, ...args], { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  await new Promise<void>((resolve) => createInterface({ input: child.stderr }).on('line', (line) => line.startsWith('recording to') && resolve()));
  const pid = child.pid as number;
  const [loader] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  expect(niceOf(pid)).toEqual(new Set([nice]));
  expect(niceOf(loader as number)).toEqual(new Set([nice]));
  // Not every kernel weighs sessions.
  for (const one of [pid, loader]) if (existsSync(`/proc/${one}/autogroup`)) expect(readFileSync(`/proc/${one}/autogroup`, 'utf8')).toMatch(new RegExp(` nice ${nice}$`, 'm'));
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  child.kill('SIGINT');
  expect(await exit).toBe(0);
});
