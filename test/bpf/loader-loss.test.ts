// Nothing is lost without being counted: what was seen and what was lost is what the caller itself counted.
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../schema/package-root.ts';
import { LoadProgram } from './load-program.ts';
import { hasFlag } from './frame-log.ts';
import { LoaderRun } from './loader-run.ts';
import { LOAD, build } from './built.ts';
import { makeNetwork, type Network } from './network.ts';

const root = packageRoot();

async function flood(network: string, count: number, ...args: string[]): Promise<{ run: LoaderRun; calls: number }> {
  const load = new LoadProgram(network, 'flood', String(count));
  const [, pid] = (await load.line('ready')).split(' ');
  const run = await LoaderRun.start('--scope', `pid:${pid}`, '--no-wakes', ...args);
  load.go();
  const [, calls] = (await load.line('calls')).split(' ');
  await run.settled();
  await run.stop();
  await load.end();
  return { run, calls: Number(calls) };
}

describe('losses', () => {
  let network: Network;
  beforeAll(() => {
    build();
    network = makeNetwork();
  });
  afterAll(() => network.remove());

  test('a tiny ring overruns, and every call is either seen or counted', async () => {
    const { run, calls } = await flood(network.name, 50_000, '--ring-bytes', '16384');
    const seen = run.of('read').length + run.of('write').length;
    const lost = run.lost('ring_full', 'connection_shed', 'hook_missed');
    expect(lost).toBeGreaterThan(calls / 10);
    expect(seen + lost).toBe(calls);
    expect(run.bye?.events_lost).toBe(BigInt(lost));
    expect(run.bye?.events_seen).toBe(BigInt(run.events.length + run.threads.length));
    const started = run.hello?.started_mono_ns ?? 0n;
    expect(run.losses.filter((loss) => loss.to_mono_ns < loss.from_mono_ns || loss.from_mono_ns < started || loss.cpu < 0)).toEqual([]);
  });

  test('payload goes first, marked on the events and counted', async () => {
    const { run, calls } = await flood(network.name, 10_000, '--ring-bytes', '65536');
    const shed = run.events.filter((event) => hasFlag(event, 'payload_shed'));
    expect(shed.length).toBeGreaterThan(0);
    expect(shed.filter((event) => event.payload.length > 0)).toEqual([]);
    expect(run.lost('payload_shed')).toBeGreaterThanOrEqual(shed.length);
    expect(run.of('read').length + run.of('write').length + run.lost('ring_full', 'connection_shed', 'hook_missed')).toBe(calls);
  });

  test('a ring of the usual size loses nothing at this rate', async () => {
    const { run, calls } = await flood(network.name, 2_000);
    expect(run.losses).toEqual([]);
    expect(run.of('read').length + run.of('write').length).toBe(calls);
    const gaps = ['read', 'write'].flatMap((op) => {
      const at = new Map<bigint, bigint>();
      return run.of(op as 'read').filter((event) => {
        const expected = at.get(event.socket_id) ?? 0n;
        at.set(event.socket_id, event.stream_offset + BigInt(event.bytes));
        return event.stream_offset !== expected;
      });
    });
    expect(gaps).toEqual([]);
  });

  test('what return probes missed is told when they are gone as well, and once', () => {
    const check = join(dirname(LOAD), 'tracehouse-return-probe-check');
    execFileSync('gcc', ['-O1', '-g', '-Wall', '-D_GNU_SOURCE', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-I', join(root, 'bpf'),
      join(root, 'test/bpf/return-probe-check.c'), join(root, 'bpf/return-probe.c'), join(root, 'bpf/losses.c'), '-o', check], { stdio: 'pipe' });
    expect(execFileSync(check, { encoding: 'utf8' })).toBe('lost 3\nlost 2\ntold 5\n');
  });

  test('a reader that stops reading makes the kernel drop and count, and loses nothing that was handed over', async () => {
    const load = new LoadProgram(network.name, 'flood', '30000');
    const [, pid] = (await load.line('ready')).split(' ');
    const run = await LoaderRun.start('--scope', `pid:${pid}`, '--no-wakes', '--ring-bytes', '262144');
    run.child.stdout.pause();
    load.go();
    const [, calls] = (await load.line('calls')).split(' ');
    run.child.stdout.resume();
    await run.settled();
    await run.stop();
    await load.end();
    const lost = run.lost('ring_full', 'connection_shed', 'hook_missed');
    expect(lost).toBeGreaterThan(0);
    expect(run.of('read').length + run.of('write').length + lost).toBe(Number(calls));
  });
});
