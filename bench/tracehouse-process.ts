// A program on Node.js as a process of its own: a verb of tracehouse as a user starts it, or what stands for a machine elsewhere.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { endGroup } from '../demo/service-group.ts';
import { packageRoot } from '../schema/package-root.ts';

const READY_MS = 60_000;

export interface TracehouseProcess {
  readonly pid: number;
  /** What followed the words that it was waited for with. */
  readonly said: string;
  /** Standard error so far. */
  readonly lines: readonly string[];
  stop(): Promise<void>;
}

export const startTracehouse = (args: readonly string[], ready: RegExp): Promise<TracehouseProcess> => startChild(['bin/tracehouse', ...args], ready);

/** args: a script of ours for Node.js, and its arguments. */
export const startProgram = (args: readonly string[], ready: RegExp): Promise<TracehouseProcess> => startChild([process.execPath, ...args], ready);

/** Resolves when it prints a line that matches; group 1 is what it said. */
function startChild(args: readonly string[], ready: RegExp): Promise<TracehouseProcess> {
  const child: ChildProcess = spawn('setpriv', ['--pdeathsig', 'TERM', '--', ...args], { cwd: packageRoot(), stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const lines: string[] = [];
  if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const stop = (): Promise<void> => endGroup(child, 10_000);
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(timer);
      void stop();
      reject(new Error(`${args.slice(0, 2).join(' ')} ${why}: ${lines.slice(-5).join(' | ')}`));
    };
    const timer = setTimeout(() => fail(`was not ready after ${READY_MS / 1000} s`), READY_MS);
    child.on('error', (error) => fail(error.message));
    child.on('exit', (code, signal) => fail(`ended (${code ?? signal})`));
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = ready.exec(line);
      if (found === null) return;
      clearTimeout(timer);
      resolve({ pid: child.pid ?? 0, said: found[1] ?? '', lines, stop });
    });
  });
}
