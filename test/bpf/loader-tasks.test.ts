// Goroutines: which one read, wrote, or asked for a request. The programs are built here, whole and stripped.
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { packageRoot } from '../../schema/package-root.ts';
import { build } from './built.ts';
import { hasFlag, type SocketEvent } from './frame-log.ts';
import { LoaderRun } from './loader-run.ts';
import { makeNetwork, type Network } from './network.ts';

const OUTPUT = join(packageRoot(), '.output');
const run = promisify(execFile);
const has_go = spawnSync('go', ['version']).status === 0;

function buildGo(name: string, ...flags: string[]): string {
  const program = join(OUTPUT, name);
  execFileSync('go', ['build', ...flags, '-o', program, '.'], { cwd: join(packageRoot(), 'test/bpf/go'), stdio: 'pipe' });
  return program;
}

/** The events of one request to /all, and of what it called. */
async function request(network: Network, loader: LoaderRun, port: string, name: string): Promise<void> {
  await run('ip', ['netns', 'exec', network.name, 'curl', '-s', `http://127.0.0.1:${port}/all?${name}`]);
  await loader.settled();
}

const text = (event: SocketEvent): string => event.payload.toString('latin1');

describe.skipIf(!has_go)('goroutines (needs go)', () => {
  let network: Network;
  let programs: Record<string, string>;
  beforeAll(() => {
    build();
    network = makeNetwork();
    programs = { whole: buildGo('go-calls'), stripped: buildGo('go-calls-stripped', '-ldflags=-s -w', '-trimpath') };
  }, 180_000);
  afterAll(() => network.remove());

  async function start(program: string): Promise<string> {
    const child = spawn('ip', ['netns', 'exec', network.name, 'setpriv', '--pdeathsig', 'KILL', '--', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    return new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
  }

  test.each(['whole', 'stripped'])('%s: calls carry the goroutine that asked for them, or its child', async (kind) => {
    const loader = await LoaderRun.start('--scope', `netns:${network.name}`);
    onTestFinished(() => void loader.child.kill());
    const port = await start(programs[kind] as string);
    await loader.settled();
    for (const name of ['one', 'two']) await request(network, loader, port, name);
    await loader.stop();
    expect(loader.errors).toBe('');
    const goroutines = new Set<bigint>();
    for (const name of ['one', 'two']) {
      const served = loader.of('read').find((event) => text(event).includes(`/all?${name}`)) as SocketEvent;
      const answer = loader.of('write').find((event) => event.socket_id === served.socket_id && text(event).startsWith('HTTP/1.1 200') && event.mono_ns > served.mono_ns) as SocketEvent;
      expect(served.task_id).not.toBe(0n);
      expect(answer.task_id).toBe(served.task_id);
      expect(hasFlag(answer, 'task_of_caller')).toBe(false);
      goroutines.add(served.task_id);
      const calls = loader.of('write').filter((event) => text(event).startsWith('GET /leaf') && text(event).includes(`-${name} `));
      expect(calls.length).toBe(4);
      for (const call of calls) {
        expect(hasFlag(call, 'task_of_caller')).toBe(true);
        expect(text(call).includes('first-') ? call.task_id : call.parent_task_id).toBe(served.task_id);
      }
      expect(new Set(calls.map((call) => call.task_id)).size).toBe(4);
    }
    expect(goroutines.size).toBe(2);
  });

  test('a program that runs already is known too', async () => {
    const port = await start(programs['whole'] as string);
    const loader = await LoaderRun.start('--scope', `netns:${network.name}`);
    onTestFinished(() => void loader.child.kill());
    await request(network, loader, port, 'old');
    await loader.stop();
    expect(loader.of('write').filter((event) => text(event).startsWith('GET /leaf') && hasFlag(event, 'task_of_caller')).length).toBe(4);
  });

  test('--no-tasks: no goroutine is read, no probe attached', async () => {
    const loader = await LoaderRun.start('--scope', `netns:${network.name}`, '--no-tasks');
    onTestFinished(() => void loader.child.kill());
    const port = await start(programs['whole'] as string);
    await loader.settled();
    await request(network, loader, port, 'off');
    await loader.stop();
    expect(loader.events.length).toBeGreaterThan(10);
    expect(loader.events.every((event) => event.task_id === 0n && event.parent_task_id === 0n && !hasFlag(event, 'task_of_caller'))).toBe(true);
    expect(loader.capabilities.map((one) => JSON.stringify(one, (_key, value: unknown) => (typeof value === 'bigint' ? Number(value) : value))).some((line) => line.includes('left out by --no-tasks'))).toBe(true);
  });

  test('programs that are broken, or of another language, harm nobody', () => {
    const check = join(OUTPUT, 'go-binary-check');
    execFileSync('gcc', ['-std=gnu11', '-O1', '-g', '-fsanitize=address,undefined', '-D_GNU_SOURCE', join(packageRoot(), 'test/bpf/go-binary-check.c'), join(packageRoot(), 'bpf/go-binary.c'), '-o', check], { stdio: 'pipe' });
    for (const program of Object.values(programs)) {
      const lines = execFileSync(check, [program, join(OUTPUT, 'go-binary-copy')], { encoding: 'utf8' }).trim().split('\n');
      expect(lines[0]).toMatch(/^1 1 go1\.\d+\S* \d{3} \d+ [1-9]\d+$/);
      expect(lines[1]).toBe('unharmed');
    }
    expect(execFileSync(check, [process.execPath, join(OUTPUT, 'go-binary-copy')], { encoding: 'utf8' })).toMatch(/^1 0 +0 0 0\nunharmed/);
  }, 60_000);
});
