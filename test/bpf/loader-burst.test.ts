// What the reader cannot take waits on disk: whole, in order, within its bound; and what does not fit is counted.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { cpus } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { LoadProgram } from './load-program.ts';
import { LoaderRun } from './loader-run.ts';
import { build } from './built.ts';
import { makeNetwork, type Network } from './network.ts';

const COUNT = 10_000;
/** Nothing is shed while the loader waits for its turn on a busy machine. */
const WIDE = ['--ring-bytes', '8388608'];
const NARROW = ['--ring-bytes', '1048576'];
const LOST = ['ring_full', 'connection_shed', 'hook_missed'] as const;

/** Calls while nobody reads, then the rest of the run. */
async function unread(network: string, args: readonly string[], end: (run: LoaderRun) => Promise<void>): Promise<{ run: LoaderRun; calls: number }> {
  const load = new LoadProgram(network, 'flood', String(COUNT));
  const [, pid] = (await load.line('ready')).split(' ');
  const run = await LoaderRun.start('--scope', `pid:${pid}`, '--no-wakes', ...args);
  run.child.stdout.pause();
  load.go();
  const [, calls] = (await load.line('calls')).split(' ');
  await end(run);
  await load.end();
  return { run, calls: Number(calls) };
}

async function readOn(run: LoaderRun): Promise<void> {
  run.child.stdout.resume();
  await run.settled();
  await run.stop();
}

function gaps(run: LoaderRun): number {
  const at = new Map<string, bigint>();
  let found = 0;
  for (const event of [...run.of('read'), ...run.of('write')]) {
    const key = `${event.socket_id} ${event.op}`;
    if (event.stream_offset !== (at.get(key) ?? 0n)) found += 1;
    at.set(key, event.stream_offset + BigInt(event.bytes));
  }
  return found;
}

describe('a reader that does not keep up', () => {
  let network: Network;
  beforeAll(() => {
    build();
    network = makeNetwork();
  });
  afterAll(() => network.remove());

  test('what it misses waits on disk, nothing is lost and all is in order', async () => {
    const { run, calls } = await unread(network.name, [...WIDE, '--spill', temporaryFolder()], readOn);
    expect(run.bye?.waited_bytes).toBeGreaterThan(2n ** 21n);
    expect(run.losses).toEqual([]);
    expect(run.of('read').length + run.of('write').length).toBe(calls);
    expect(gaps(run)).toBe(0);
    expect(run.watermarks.every((mark, i) => i === 0 || mark >= (run.watermarks[i - 1] ?? 0n))).toBe(true);
  });

  test('more than the file is allowed is counted as lost, though its place is used again and again', async () => {
    const { run, calls } = await unread(network.name, [...NARROW, '--spill', temporaryFolder(), '--spill-bytes', String(1 << 20)], readOn);
    expect(run.bye?.waited_bytes).toBeLessThanOrEqual(1n << 20n);
    expect(run.lost(...LOST)).toBeGreaterThan(0);
    expect(run.of('read').length + run.of('write').length + run.lost(...LOST)).toBe(calls);
    expect(run.bye?.events_lost).toBe(BigInt(run.lost(...LOST)));
  });

  test('a full disk is as good as a full file', async () => {
    const folder = temporaryFolder();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', folder]);
    try {
      const { run, calls } = await unread(network.name, [...NARROW, '--spill', folder], readOn);
      expect(run.bye?.waited_bytes).toBeGreaterThan(0n);
      expect(run.bye?.waited_bytes).toBeLessThanOrEqual(1n << 20n);
      expect(run.lost(...LOST)).toBeGreaterThan(0);
      expect(run.of('read').length + run.of('write').length + run.lost(...LOST)).toBe(calls);
    } finally {
      execFileSync('umount', ['--lazy', folder]);
    }
  });

  test.each(['SIGTERM', 'end of input'])('an end (%s) waits until all of it has been read', async (how) => {
    const { run, calls } = await unread(network.name, [...WIDE, '--spill', temporaryFolder()], async (run) => {
      if (how === 'SIGTERM') run.child.kill('SIGTERM');
      else run.child.stdin.end();
      run.child.stdout.resume();
      expect((await run.exit).code).toBe(0);
    });
    expect(run.order.at(-1)).toBe('bye');
    expect(run.losses).toEqual([]);
    expect(run.of('read').length + run.of('write').length).toBe(calls);
  });

  test('a folder that is none is one line, and the run goes on without', async () => {
    const { run, calls } = await unread(network.name, [...NARROW, '--spill', '/nowhere/at/all'], readOn);
    expect(run.errors.trim().split('\n')).toEqual([expect.stringMatching(/is dropped, because there can be no file in \/nowhere\/at\/all: No such file/)]);
    expect(run.bye?.waited_bytes).toBe(0n);
    expect(run.of('read').length + run.of('write').length + run.lost(...LOST)).toBe(calls);
  });

  test('--give-way: nothing comes while others need the processors, all of it does afterwards', async () => {
    const load = new LoadProgram(network.name, 'flood', '2000');
    const [, pid] = (await load.line('ready')).split(' ');
    const run = await LoaderRun.start('--scope', `pid:${pid}`, '--no-wakes', '--spill', temporaryFolder(), '--give-way');
    const others: ChildProcess[] = cpus().map(() => spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }));
    try {
      let heard = Date.now();
      run.child.stdout.on('data', () => (heard = Date.now()));
      const started = Date.now();
      while (Date.now() - heard < 1500 && Date.now() - started < 30_000) await new Promise((resolve) => setTimeout(resolve, 50));
      expect(Date.now() - heard).toBeGreaterThanOrEqual(1500);
      load.go();
      await load.line('calls');
    } finally {
      for (const other of others) other.kill('SIGKILL');
    }
    await run.settled();
    await run.stop();
    await load.end();
    expect(run.losses).toEqual([]);
    expect(run.of('read').length + run.of('write').length).toBe(8000);
  });
});

test('what a socket and its thread always say is told again as long as they are used', async () => {
  build();
  const network = makeNetwork();
  try {
    const run = await LoaderRun.start('--scope', `netns:${network.name}`, '--no-wakes');
    const load = new LoadProgram(network.name, 'many', '400');
    await load.line('round 0');
    // Longer than an epoch and the one after it.
    const quiet_until = process.hrtime.bigint() + 3_500_000_000n;
    await run.until(() => (run.watermarks.at(-1) ?? 0n) > quiet_until, 'a watermark of later');
    load.go();
    await load.line('round 1');
    await load.end();
    await run.settled();
    await run.stop();
    const told = (event: (typeof run.events)[number]): unknown[] => [event.conn_id, event.local_port, event.remote_port, event.role, event.pid, event.thread_id, Buffer.from(event.comm).toString()];
    for (const op of ['read', 'write'] as const) {
      const events = run.of(op).filter((event) => event.family === 2);
      expect(events.length).toBe(800);
      const first = new Map(events.slice(0, 400).map((event) => [event.socket_id, told(event)]));
      expect(first.size).toBe(400);
      expect(events.slice(400).map(told)).toEqual(events.slice(400).map((event) => first.get(event.socket_id)));
    }
    expect(run.losses).toEqual([]);
  } finally {
    network.remove();
  }
});
