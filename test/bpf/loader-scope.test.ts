// What is in scope is traced, and nothing else: least of all the loader and whoever it was told to leave out.
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { frame } from '../frames.ts';
import { LoadProgram } from './load-program.ts';
import { LoaderRun } from './loader-run.ts';
import { LOAD, LOADER, build } from './built.ts';
import { makeNetwork, type Network } from './network.ts';
import { execFileSync, spawn } from 'node:child_process';

/** Where cgroup v2 is mounted, perhaps beside v1. */
function cgroupMount(): string | undefined {
  return readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')).find((words) => words[2] === 'cgroup2')?.[1];
}

async function talkToMyself(): Promise<number> {
  const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connect(port, '127.0.0.1');
  client.write('hello');
  await once(client, 'data');
  client.end();
  await once(client, 'close');
  server.close();
  return port;
}

describe('scope', () => {
  let inside: Network;
  let outside: Network;
  beforeAll(() => {
    build();
    inside = makeNetwork();
    outside = makeNetwork();
  });
  afterAll(() => {
    inside.remove();
    outside.remove();
  });

  test('netns: by name and by path; a second namespace stays unseen until it is added', async () => {
    const run = await LoaderRun.start('--scope', `netns:/run/netns/${inside.name}`);
    await new LoadProgram(outside.name, 'reset').end();
    await new LoadProgram(inside.name, 'reset').end();
    await run.settled();
    const seen = run.events.length;
    expect(seen).toBeGreaterThan(0);
    expect(new Set(run.events.map((event) => event.netns)).size).toBe(1);
    run.child.stdin.write(frame('control_scope', { spec: `netns:${outside.name}` }));
    const ready = new LoadProgram(outside.name, 'hold');
    await ready.line('half');
    // The control frame is obeyed at the latest when what follows it has been told.
    await run.until(() => run.events.length > seen, 'events of the second namespace');
    ready.go();
    await ready.line('done');
    await run.settled();
    await run.stop();
    await ready.end();
    expect(new Set(run.events.map((event) => event.netns)).size).toBe(2);
  });

  test('pid: the process and those that descend from it, before and after the start', async () => {
    const load = new LoadProgram(undefined, 'flood', '3');
    const [, pid] = (await load.line('ready')).split(' ');
    const other = new LoadProgram(undefined, 'flood', '3');
    await other.line('ready');
    const run = await LoaderRun.start('--scope', `pid:${pid}`);
    other.go();
    await other.line('calls');
    load.go();
    await load.line('calls');
    await run.settled();
    await run.stop();
    expect(new Set(run.events.map((event) => event.pid))).toEqual(new Set([Number(pid)]));
    expect(run.of('read').length + run.of('write').length).toBe(12);
    load.go();
    other.go();
    await load.end();
    await other.end();

    // A shell that starts its child after the collector did.
    const shell = spawn('bash', ['-c', 'read; ip netns exec "$0" "$1" reset; true', outside.name, LOAD], { stdio: ['pipe', 'ignore', 'ignore'] });
    const followed = await LoaderRun.start('--scope', `pid:${shell.pid}`);
    shell.stdin.end('\n');
    await once(shell, 'exit');
    await followed.settled();
    await followed.stop();
    expect(followed.of('connect').length).toBeGreaterThanOrEqual(2);
    expect(followed.events.every((event) => event.pid !== shell.pid || event.family === 1)).toBe(true);
    const forks = followed.threads.filter((event) => event.op === 1);
    expect(forks.some((event) => event.pid === shell.pid && event.target_pid !== shell.pid)).toBe(true);
  });

  test('cgroup: the group and those below it', async () => {
    const mount = cgroupMount();
    if (mount === undefined) throw new Error('no cgroup v2 is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified');
    const name = `th-bpf-${process.pid}`;
    mkdirSync(`${mount}/${name}/below`, { recursive: true });
    try {
      const run = await LoaderRun.start('--scope', `cgroup:${name}`);
      const member = spawn('bash', ['-c', `echo $$ > ${mount}/${name}/below/cgroup.procs && ip netns exec ${outside.name} ${LOAD} reset; read`], { stdio: ['pipe', 'ignore', 'inherit'] });
      await run.until(() => run.of('close').length >= 3, 'the end of the connections');
      await new LoadProgram(outside.name, 'reset').end();
      await run.settled();
      member.stdin.end();
      await once(member, 'exit');
      await run.stop();
      const groups = new Set(run.events.map((event) => event.cgroup_id).filter((id) => id !== 0n));
      expect(groups.size).toBe(1);
      expect(run.of('connect').length).toBe(2);
      expect(run.processes.some((one) => one.cgroup_path === `/${name}/below`)).toBe(true);
    } finally {
      rmdirSync(`${mount}/${name}/below`);
      rmdirSync(`${mount}/${name}`);
    }
  });

  test('all leaves out the loader and the processes that it is told to', async () => {
    const run = await LoaderRun.start('--exclude-pid', String(process.pid));
    const port = await talkToMyself();
    const server = new LoadProgram(inside.name, 'serve', '7701');
    await server.line('ready');
    await new LoadProgram(inside.name, 'ask', '127.0.0.1', '7701', '1').end();
    await run.settled();
    await run.stop();
    server.kill();
    expect(run.events.filter((event) => event.local_port === 7701 || event.remote_port === 7701).length).toBeGreaterThan(0);
    expect(run.events.filter((event) => event.local_port === port || event.remote_port === port)).toEqual([]);
    expect(run.events.filter((event) => event.pid === process.pid || event.pid === run.child.pid)).toEqual([]);
    expect(run.threads.filter((event) => event.pid === process.pid || event.pid === run.child.pid)).toEqual([]);
  });

  test('a followed socket has its place until it ends: where there is no more room the log says so, once', async () => {
    const run = await LoaderRun.start('--scope', `netns:${inside.name}`);
    const held = new LoadProgram(inside.name, 'hold');
    await held.line('half');
    await run.settled();
    const sockets = [...new Set(run.events.map((event) => event.socket_id))];
    expect(sockets.length).toBe(8);
    const follow = (ids: readonly bigint[], on = 1n): void => void run.child.stdin.write(Buffer.concat(ids.map((socket_id) => frame('control_follow', { socket_id, on }))));
    /** What the log says up to here: a scope that does not exist is told in turn. */
    let turn = 0;
    const said = async (): Promise<number> => {
      turn += 1;
      run.child.stdin.write(frame('control_scope', { spec: `turn-${turn}` }));
      await run.until(() => run.errors.includes(`turn-${turn}'`), 'its turn');
      return run.errors.split('no more sockets can be followed').length - 1;
    };
    const others = Array.from({ length: 4096 }, (_value, i) => BigInt(i + 1));
    follow([...sockets, ...sockets, ...others.slice(0, 4088)]);
    expect(await said()).toBe(0);
    held.go();
    await held.line('done');
    await held.end();
    await run.settled();
    follow(others.slice(4088));
    expect(await said()).toBe(0);
    follow(others.slice(0, 1), 0n);
    follow([9000n]);
    expect(await said()).toBe(0);
    follow([9001n, 9002n]);
    expect(await said()).toBe(1);
    await run.stop();
  });

  test('a scope that does not exist is one clear line', () => {
    for (const [spec, says] of [
      ['netns:no-such-thing', /netns:no-such-thing.*No such file/],
      ['pid:999999999', /no such process/],
      ['cgroup:/no/such/group', /cgroup:/],
      ['everything', /none of: all, netns/],
    ] as const) {
      const failed = (() => {
        try {
          execFileSync(LOADER, ['--scope', spec], { input: '', stdio: ['pipe', 'ignore', 'pipe'] });
        } catch (error) {
          return error as { status: number; stderr: Buffer };
        }
        return undefined;
      })();
      expect(failed?.status).toBe(1);
      const lines = String(failed?.stderr).trim().split('\n');
      expect(lines.length).toBe(1);
      expect(lines[0]).toMatch(says);
    }
  });
});
