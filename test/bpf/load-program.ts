// The load program with pipes for input and output: Node.js gives its children Unix sockets, and those would be traced too.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { LOAD } from './built.ts';

export class LoadProgram {
  readonly lines: string[] = [];
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #closed: Promise<number | null>;
  #waiting: (() => void)[] = [];
  #errors = '';

  constructor(where: string | undefined | { readonly network: string; readonly program: string }, ...args: string[]) {
    const { network, program } = typeof where === 'object' ? where : { network: where, program: LOAD };
    const command = [...(network === undefined ? [] : ['ip', 'netns', 'exec', network]), program, ...args].join(' ');
    this.#child = spawn('bash', ['-o', 'pipefail', '-c', `cat | ${command} | cat`], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    let rest = '';
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      this.lines.push(...lines);
      this.#wake();
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
    this.#closed = new Promise((resolve) => this.#child.on('close', (code) => (resolve(code), this.#wake())));
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** The first line that begins so. */
  async line(start: string): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => line.startsWith(start));
      if (found !== undefined) return found;
      if (this.#child.exitCode !== null) throw new Error(`the load program ended without '${start}': ${this.#errors}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  go(): void {
    this.#child.stdin.write('go\n');
  }

  /** Its exit code; throws when it failed. */
  async end(): Promise<void> {
    this.#child.stdin.end();
    const code = await this.#closed;
    if (code !== 0) throw new Error(`the load program exited ${code}: ${this.#errors}`);
  }

  kill(): void {
    // The shell's whole group: what it started would outlive it.
    if (this.#child.pid !== undefined && this.#child.exitCode === null) process.kill(-this.#child.pid, 'SIGKILL');
    this.#child.stdin.end();
  }
}
