// Which goroutine reads, writes and calls, as Go's own runtime names them in its answers.
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../schema/package-root.ts';
import { LOADER, build } from './built.ts';
import { hasFlag, type SocketEvent } from './frame-log.ts';
import { askGo, buildGo, goLacks, tellsParents } from './go-program.ts';
import { LoadProgram } from './load-program.ts';
import { LoaderRun } from './loader-run.ts';
import { makeNetwork, type Network } from './network.ts';

const root = packageRoot();
const lacks = goLacks();
if (lacks !== undefined) console.log(`loader-tasks: skipped, ${lacks}`);

describe.skipIf(lacks !== undefined)('task identity', () => {
  let network: Network;
  let program: string;
  let stripped: string;
  const running: LoadProgram[] = [];
  beforeAll(() => {
    build();
    program = buildGo('tracehouse-tasks');
    stripped = buildGo('tracehouse-tasks-stripped', '-ldflags=-s -w');
    network = makeNetwork();
  }, 300_000);
  afterEach(() => {
    for (const one of running.splice(0)) one.kill();
  });
  afterAll(() => network.remove());

  /** Probes of the loader on anything but the kernel's own tracepoints are among these. */
  function probes(run: LoaderRun): number {
    const folder = `/proc/${run.child.pid}/fd`;
    return readdirSync(folder).filter((fd) => readlinkSync(`${folder}/${fd}`).includes('perf_event')).length;
  }

  async function serve(path: string): Promise<string> {
    const server = new LoadProgram({ network: network.name, program: path }, 'serve');
    running.push(server);
    return (await server.line('port ')).slice(5);
  }

  /** The service's events, once all that was asked has arrived. */
  class Seen {
    readonly run: LoaderRun;
    readonly port: number;
    readonly program: string;
    constructor(run: LoaderRun, program: string, port: string) {
      this.run = run;
      this.program = program;
      this.port = Number(port);
    }
    /** Reads of a request that begins so, and writes of the answer on the same connection. */
    handled(path: string): { request: SocketEvent; answer: SocketEvent | undefined }[] {
      return this.run.of('read').filter((event) => event.local_port === this.port && head(event) === `GET ${path} HTTP/1.1`)
        .map((request) => ({ request, answer: this.run.of('write').find((event) => event.socket_id === request.socket_id && event.bytes > 0) }));
    }
    /** Writes of requests that the service makes itself. */
    calls(path: string): SocketEvent[] {
      const pid = this.run.of('read').find((event) => event.local_port === this.port)?.pid;
      return this.run.of('write').filter((event) => event.pid === pid && event.role === 1 && head(event).startsWith(`GET ${path}`));
    }
  }
  function head(event: SocketEvent): string {
    return event.payload.toString('latin1').split('\r\n')[0] ?? '';
  }

  async function ask(seen: Seen, path: string, count = 1): Promise<{ handler: bigint; callers: bigint[]; port: number }[]> {
    const answers = askGo(network.name, seen.program, String(seen.port), path, count);
    await seen.run.settled();
    return answers.map((one) => ({ handler: BigInt(one['handler'] ?? 0), callers: (one['callers'] ?? '').split(',').filter(Boolean).map(BigInt), port: Number(one['port'] ?? 0) }));
  }

  async function check(seen: Seen): Promise<void> {
    const [sequential] = await ask(seen, '/sequential');
    const [handled] = seen.handled('/sequential');
    expect(handled?.request.task_id).toBe(sequential?.handler);
    expect(handled?.answer?.task_id).toBe(sequential?.handler);
    expect(hasFlag(handled?.answer as SocketEvent, 'task_of_caller')).toBe(false);
    for (const path of ['/one', '/two']) {
      const calls = seen.calls(path);
      expect(calls.map((call) => [call.task_id, hasFlag(call, 'task_of_caller')])).toEqual([[sequential?.handler, true]]);
      // The back's side of it: a goroutine of its own, which writes for nobody else.
      const back = seen.run.of('read').find((event) => event.conn_id === calls[0]?.conn_id && event.role === 2 && event.stream_offset === calls[0]?.stream_offset);
      expect(back !== undefined && back.task_id !== 0n && back.task_id !== sequential?.handler).toBe(true);
    }

    const [parallel] = await ask(seen, '/parallel');
    const calls = [0, 1, 2].map((i) => seen.calls(`/parallel${i}`)[0]);
    expect(calls.map((call) => call?.task_id)).toEqual(parallel?.callers);
    expect(calls.every((call) => call !== undefined && hasFlag(call, 'task_of_caller') && call.parent_task_id === (tellsParents() ? parallel?.handler : 0n))).toBe(true);

    const pair = await ask(seen, '/pair', 2);
    const handlers = seen.handled('/pair').map((one) => one.request.task_id);
    expect(new Set(handlers)).toEqual(new Set(pair.map((one) => one.handler)));
    expect(handlers.length).toBe(2);
    expect(handlers[0]).not.toBe(handlers[1]);
    expect(new Set(seen.calls('/of-pair').map((call) => call.task_id))).toEqual(new Set(handlers));
    const [wrapped] = await ask(seen, '/wrapped');
    expect(seen.calls('/by-wrapped').map((call) => call.task_id)).toEqual([wrapped?.handler]);
    // The handshake is nobody's call; what follows is, until its answer.
    const [tls] = await ask(seen, '/tls');
    const encrypted = seen.run.of('write').filter((event) => event.remote_port === tls?.port);
    const called = encrypted.filter((event) => hasFlag(event, 'task_of_caller'));
    expect(called.length).toBeGreaterThanOrEqual(2);
    expect(new Set(called.map((event) => event.task_id))).toEqual(new Set([tls?.handler]));
    expect(encrypted.length).toBeGreaterThan(called.length);

    // An answer's reader is the connection's own goroutine, and says so.
    expect(seen.run.of('read').some((event) => hasFlag(event, 'task_of_caller'))).toBe(false);
  }

  test('of a program that runs already', async () => {
    const port = await serve(program);
    const run = await LoaderRun.start('--scope', `netns:${network.name}`, '--no-wakes');
    await check(new Seen(run, program, port));
    await run.stop();
    expect(run.errors).toBe('');
  });

  test('of a stripped program that starts later', async () => {
    const run = await LoaderRun.start('--scope', `netns:${network.name}`, '--no-wakes');
    const before = probes(run);
    const port = await serve(stripped);
    const seen = new Seen(run, stripped, port);
    await ask(seen, '/nothing');
    await check(seen);
    expect(probes(run)).toBe(before + 1);
    await Promise.all(running.splice(0).map((one) => one.end()));
    await run.until(() => probes(run) === before, 'the end of its probe');
    await run.stop();
    expect(run.errors).toBe('');
  });

  test('switched off: no ids, and no probe in the program', async () => {
    const port = await serve(program);
    const run = await LoaderRun.start('--scope', `netns:${network.name}`, '--no-wakes', '--task-identity', 'off');
    const before = probes(run);
    const seen = new Seen(run, program, port);
    await ask(seen, '/sequential');
    expect(probes(run)).toBe(before);
    expect(seen.handled('/sequential').length).toBe(1);
    expect(run.events.every((event) => event.task_id === 0n && event.parent_task_id === 0n && !hasFlag(event, 'task_of_caller'))).toBe(true);
    await run.stop();
  });

  test('a binary cut short, or with any part of it overwritten, is read without harm', () => {
    const check = join(dirname(program), 'tracehouse-go-binary-check');
    execFileSync('gcc', ['-O1', '-g', '-Wall', '-D_GNU_SOURCE', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-I', join(root, 'bpf'),
      join(root, 'test/bpf/go-binary-check.c'), join(root, 'bpf/go-binary.c'), '-o', check], { stdio: 'pipe' });
    const told = execFileSync(check, [stripped], { encoding: 'utf8' });
    expect(told).toMatch(/^whole: usable, go1\.\d+.*, calls found$/m);
    expect(told).toMatch(/^go1\.17\.0.*: it is built with Go 1\.17 or older$/m);
    expect(told).toMatch(/^go1\.99\.0.*: as the newest$/m);
    expect(told).toMatch(/^devel \+0.*: its version of Go is not known$/m);
    expect(told).toMatch(/^cut 200, overwritten \d+ times$/m);
  });

  test('takes on or off', () => {
    const done = spawnSync(LOADER, ['--task-identity', 'maybe'], { encoding: 'utf8' });
    expect(done.status).toBe(2);
    expect(done.stderr).toContain('--task-identity takes on or off');
  });
});
