// Services as processes of our own: each in its own process group, ended with us even when we are killed.
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TracehouseError } from '../schema/errors.ts';
import { listeningPorts, type NetworkNamespace } from './network-namespace.ts';

export interface ServiceSpec {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** It is ready when all of these are listened on, */
  readonly ports?: readonly number[];
  /** and these Unix sockets exist. */
  readonly sockets?: readonly string[];
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class ServiceGroup {
  readonly #netns: NetworkNamespace;
  readonly #folder: string;
  readonly #running: { spec: ServiceSpec; child: ChildProcess; log: string }[] = [];

  /** folder: where the services' output goes, one file each. */
  constructor(netns: NetworkNamespace, folder: string) {
    this.#netns = netns;
    this.#folder = folder;
  }

  get pids(): number[] {
    return this.#running.flatMap(({ child }) => (child.pid === undefined ? [] : [child.pid]));
  }

  get names(): string[] {
    return this.#running.map(({ spec }) => spec.name);
  }

  start(spec: ServiceSpec): void {
    const log = join(this.#folder, `${spec.name}.log`);
    const output = openSync(log, 'a');
    const [program = '', ...args] = this.#netns.inside(['setpriv', '--pdeathsig', 'TERM', '--', ...spec.command]);
    const child = spawn(program, args, { stdio: ['ignore', output, output], detached: true, env: { ...process.env, ...spec.env } });
    closeSync(output);
    child.on('error', () => {}); // ready() reports it
    this.#running.push({ spec, child, log });
  }

  /** Resolves when every service listens. */
  async ready(timeout_ms = 15_000): Promise<void> {
    const deadline = Date.now() + timeout_ms;
    for (const { spec, child, log } of this.#running) {
      for (;;) {
        const open = child.pid === undefined ? new Set<number>() : listeningPorts(child.pid);
        if ((spec.ports ?? []).every((port) => open.has(port)) && (spec.sockets ?? []).every((path) => existsSync(path))) break;
        const ended = child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
        if (ended || Date.now() > deadline) {
          const tail = readFileSync(log, 'utf8').trim().split('\n').slice(-4).join(' | ');
          throw new TracehouseError('service', `${spec.name} ${ended ? 'ended before it listened' : 'does not listen'}${tail === '' ? '' : `: ${tail}`}`);
        }
        await pause(20);
      }
    }
  }

  /** Ends all of them; those that do not end in time are killed. */
  async stop(grace_ms = 3000): Promise<void> {
    await Promise.all(this.#running.splice(0).map(({ child }) => endGroup(child, grace_ms)));
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false; // no process of the group is left
  }
}

export async function endGroup(child: ChildProcess, grace_ms: number): Promise<void> {
  const pid = child.pid;
  if (pid === undefined) return;
  const deadline = Date.now() + grace_ms;
  let alive = signalGroup(pid, 'SIGTERM');
  while (alive && Date.now() < deadline) {
    await pause(20);
    try {
      process.kill(-pid, 0);
    } catch {
      alive = false;
    }
  }
  if (alive) signalGroup(pid, 'SIGKILL');
}
