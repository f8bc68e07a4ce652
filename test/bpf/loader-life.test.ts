// How the loader begins and ends, what it says of the machine, and threads, turns and processes on the way.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCapabilities } from '../../ingest/capabilities.ts';
import { frame } from '../frames.ts';
import { LoadProgram } from './load-program.ts';
import { LoaderRun } from './loader-run.ts';
import { LOADER, build } from './built.ts';
import { makeNetwork, type Network } from './network.ts';

describe('the loader', () => {
  let network: Network;
  let scope: string[];
  beforeAll(() => {
    build();
    network = makeNetwork();
    scope = ['--scope', `netns:${network.name}`];
  });
  afterAll(() => network.remove());

  test('says hello first and bye last, with watermarks, clocks and capabilities between', async () => {
    const before = process.hrtime.bigint();
    const run = await LoaderRun.start(...scope, '--node', 'here', '--ring-bytes', '100000');
    await run.until(() => run.watermarks.length > 3, 'watermarks');
    await run.stop();
    expect(run.order[0]).toBe('hello');
    expect(run.order.at(-1)).toBe('bye');
    expect(run.hello?.boot_id).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
    expect(run.hello?.ring_bytes).toBe(131072n);
    expect((run.hello?.started_mono_ns ?? 0n) > before).toBe(true);
    expect(run.capabilities.every((one) => one.ok === 1 || one.required === 0)).toBe(true);
    expect(run.watermarks.every((mark, i) => i === 0 || mark >= (run.watermarks[i - 1] ?? 0n))).toBe(true);
    for (const clock of run.clocks) {
      expect(clock.error_ns < 1_000_000n).toBe(true);
      const utc_now = BigInt(Date.now()) * 1_000_000n + (clock.mono_ns - process.hrtime.bigint());
      expect(Number(clock.utc_ns - utc_now)).toBeLessThan(5e6);
      expect(Number(clock.utc_ns - utc_now)).toBeGreaterThan(-5e6);
    }
  });

  test.each(['stop frame', 'SIGTERM', 'SIGINT'])('ends in order on %s', async (how) => {
    const run = await LoaderRun.start(...scope);
    if (how === 'stop frame') run.child.stdin.write(frame('control_stop'));
    else run.child.kill(how as 'SIGTERM');
    expect(await run.exit).toEqual({ code: 0, signal: null });
    expect(run.order.at(-1)).toBe('bye');
    expect(run.errors).toBe('');
  });

  test.each([
    ['text', Buffer.from('hello\n')],
    ['a frame of a type that is none', frame('bye')],
    ['a wrong length', Buffer.concat([frame('control_stop').subarray(0, 8), Buffer.from([255, 255, 255, 255, 0, 0, 0, 0])])],
  ])('ends with one clear line on %s from its standard input', async (_what, bytes) => {
    const run = await LoaderRun.start(...scope);
    run.child.stdin.write(bytes);
    expect((await run.exit).code).toBe(1);
    expect(run.errors.trim().split('\n').length).toBe(1);
    expect(run.errors).toMatch(/no control frame/);
  });

  test('ends when nobody reads it any more', async () => {
    const run = await LoaderRun.start(...scope);
    run.child.stdout.destroy();
    const { code } = await run.exit;
    expect(code).toBe(1);
    expect(run.errors).toMatch(/nobody reads standard output/);
  });

  test('wrong arguments are a matter of usage', () => {
    for (const args of [['--ring-bytes', 'many'], ['--payload', '5000'], ['--hooks', 'other'], ['--scope'], ['--what']]) {
      const done = spawnSync(LOADER, args, { encoding: 'utf8' });
      expect(done.status).toBe(2);
      expect(done.stderr).toMatch(/usage: tracehouse-loader/);
    }
  });

  test('without root it says so, in one line and in its capabilities', () => {
    const done = spawnSync('setpriv', ['--reuid', '65534', '--clear-groups', '--', LOADER, '--probe']);
    expect(done.status).toBe(1);
    expect(String(done.stderr).trim().split('\n')).toEqual([expect.stringMatching(/needs root: run it with sudo/)]);
    expect(readCapabilities(done.stdout).find((one) => one.name === 'root')).toMatchObject({ ok: false, required: true, mend: expect.stringMatching(/root/) });
  });

  test('--probe tells each capability with the hook chosen and traces nothing', () => {
    const done = spawnSync(LOADER, ['--probe']);
    expect([done.status, String(done.stderr)]).toEqual([0, '']);
    const found = readCapabilities(done.stdout);
    expect(found.length).toBeGreaterThan(10);
    for (const one of found) expect([one.name, one.hook !== '', one.ok || one.mend !== '']).toEqual([one.name, true, true]);
  });

  test('a kind of hooks that this kernel refuses ends in one clear line', () => {
    for (const kind of ['fexit', 'kprobe']) {
      const done = spawnSync(LOADER, ['--probe', '--hooks', kind], { encoding: 'utf8' });
      if (done.status === 0) continue; // a kernel that has them
      expect(done.status).toBe(1);
      expect(done.stderr.trim().split('\n').length).toBe(1);
      expect(done.stderr).toMatch(/no way to see socket I\/O/);
    }
  });

  test('threads: fork, exec, exit and wakes; turns count what an event loop does', async () => {
    const run = await LoaderRun.start(...scope);
    const load = new LoadProgram(network.name, 'threads');
    await load.end();
    await run.settled();
    await run.stop();
    const child = Number((await load.line('child')).split(' ')[1]);
    const writes = run.of('write').filter((event) => event.family === 2);
    const [first, last] = [writes[0], writes.at(-1)];
    expect(Number((last?.turn ?? 0n) - (first?.turn ?? 0n))).toBe(3);
    const process_id = first?.process_id;
    const of = (op: number) => run.threads.filter((event) => event.op === op && event.process_id === process_id);
    const fork = run.threads.find((event) => event.op === 1 && event.target_pid === child);
    expect(fork?.process_id).toBe(process_id);
    expect(run.threads.find((event) => event.op === 3 && event.pid === child)).toMatchObject({ exit_process: 1, process_id: fork?.target_process_id });
    const thread = of(1).find((event) => event.target_process_id === process_id);
    expect(thread?.target_thread_id).not.toBe(first?.thread_id);
    const wakes = of(4).filter((event) => event.target_thread_id === thread?.target_thread_id && event.thread_id === first?.thread_id && event.in_irq === 0);
    expect(wakes.length).toBeGreaterThanOrEqual(3);
    // The pipe that the thread waited on.
    expect(wakes.map((event) => event.key).filter((key) => key !== 0n && key === wakes[0]?.key).length).toBeGreaterThanOrEqual(3);
    expect(of(3).find((event) => event.thread_id === thread?.target_thread_id)?.exit_process).toBe(0);
    const ended = run.processes.filter((one) => one.process_id === process_id);
    expect(ended.at(-1)?.ended_mono_ns).not.toBe(0n);
    expect(ended.at(-1)?.exe).toMatch(/tracehouse-load$/);
    expect(ended.at(-1)?.cmdline).toMatch(/tracehouse-load threads$/);
  });

  test('processes: what /proc says of them, whether they began before or after', async () => {
    const sleeper = spawn('ip', ['netns', 'exec', network.name, 'sleep', '60'], { env: { ...process.env, OTEL_SERVICE_NAME: 'sleepy-service' }, cwd: '/tmp' });
    await once(sleeper, 'spawn');
    const load = new LoadProgram(network.name, 'hold');
    await load.line('half');
    const run = await LoaderRun.start(...scope);
    const sleeping = run.processes.find((one) => one.pid === sleeper.pid);
    expect(sleeping).toMatchObject({ exe: expect.stringMatching(/sleep$/), cmdline: 'sleep 60', cwd: '/tmp', otel_service_name: 'sleepy-service', ended_mono_ns: 0n, ppid: process.pid, ns_pid: sleeper.pid });
    expect(Number(process.hrtime.bigint() - (sleeping?.started_mono_ns ?? 0n))).toBeLessThan(30e9);
    sleeper.kill();
    await once(sleeper, 'exit');
    await run.until(() => run.processes.some((one) => one.pid === sleeper.pid && one.ended_mono_ns > 0n), 'the end of the sleeper');
    expect(new Set(run.processes.filter((one) => one.pid === sleeper.pid).map((one) => one.process_id)).size).toBe(1);
    // The record comes before the first event that needs it.
    const of_events = new Set(run.events.map((event) => event.process_id).filter((id) => id !== 0n));
    expect(of_events.size).toBeGreaterThan(0);
    for (const id of of_events) expect(run.processes.some((one) => one.process_id === id)).toBe(true);
    expect(run.order.indexOf('process')).toBeLessThan(run.order.indexOf('socket_event'));
    await run.stop();
    await load.end();
  });

  test('a process that ends soon is read of while it lives, however long the loader sleeps', async () => {
    const run = await LoaderRun.start(...scope);
    const pids: (number | undefined)[] = [];
    for (let i = 0; i < 20; i++) {
      const brief = spawn('ip', ['netns', 'exec', network.name, 'sleep', '0.012']);
      pids.push(brief.pid);
      await once(brief, 'exit');
    }
    await run.settled();
    await run.stop();
    const read = pids.filter((pid) => run.processes.some((one) => one.pid === pid && one.cmdline === 'sleep 0.012'));
    // Of what lives 12 ms, waking every 50 would find a quarter.
    expect(read.length).toBeGreaterThanOrEqual(15);
  });

  test('follow: a socket that is asked for is captured whole', async () => {
    const load = new LoadProgram(network.name, 'flood', '10');
    const [, pid] = (await load.line('ready')).split(' ');
    const run = await LoaderRun.start('--scope', `pid:${pid}`, '--payload', '64', '--no-wakes');
    const sockets = run.of('exist').filter((event) => event.family === 2);
    expect(sockets.length).toBe(2);
    const client = sockets.find((event) => event.role === 1);
    run.child.stdin.write(frame('control_follow', { socket_id: client?.socket_id, on: 1n }));
    // A scope that is there already changes nothing, but what it tells again shows that the frame before it was obeyed.
    run.child.stdin.write(frame('control_scope', { spec: `pid:${pid}` }));
    await run.until(() => run.of('exist').length > sockets.length, 'the answer to the second frame');
    load.go();
    await load.line('calls');
    await run.settled();
    await run.stop();
    await load.end();
    expect(run.of('write').map((event) => event.payload.length)).toEqual(Array.from({ length: 20 }, () => 64));
  });

  test('--stacks: where a client began to write, each stack told once', async () => {
    const run = await LoaderRun.start(...scope, '--stacks');
    const server = new LoadProgram(network.name, 'serve', '7702');
    await server.line('ready');
    await new LoadProgram(network.name, 'ask', '127.0.0.1', '7702', '5').end();
    await run.settled();
    await run.stop();
    server.kill();
    const writes = run.of('write').filter((event) => event.family === 2);
    expect(writes.map((event) => event.stack_id !== 0n)).toEqual(writes.map((event) => event.role === 1));
    const ids = new Set(writes.filter((event) => event.role === 1).map((event) => event.stack_id));
    expect(ids.size).toBe(1);
    expect(run.stacks.map((stack) => stack.stack_id)).toEqual([...ids]);
    expect(run.stacks[0]?.frame_count).toBeGreaterThan(0);
  });
});
