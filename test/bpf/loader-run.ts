// A run of the real loader.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { LOADER } from './built.ts';
import { FrameLog } from './frame-log.ts';

export class LoaderRun extends FrameLog {
  errors = '';
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly exit: Promise<{ code: number | null; signal: string | null }>;
  #waiting: (() => void)[] = [];
  #ended = false;

  constructor(...args: string[]) {
    super();
    this.child = spawn(LOADER, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdout.on('data', (chunk: Buffer) => {
      this.push(chunk);
      this.#wake();
    });
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => (this.errors += text));
    this.child.stdin.on('error', () => undefined);
    this.exit = new Promise((resolve) =>
      this.child.on('close', (code, signal) => {
        this.#ended = true;
        resolve({ code, signal });
        this.#wake();
      }),
    );
  }

  /** Runs once hooks are attached and what was there before has been told. */
  static async start(...args: string[]): Promise<LoaderRun> {
    const run = new LoaderRun(...args);
    await run.until(() => run.watermarks.length > 0, 'a watermark');
    return run;
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async until(done: () => boolean, what: string): Promise<void> {
    while (!done()) {
      if (this.#ended) throw new Error(`the loader ended without ${what}: ${this.errors}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Until all that has happened so far has arrived. */
  async settled(): Promise<void> {
    const now = process.hrtime.bigint();
    await this.until(() => (this.watermarks.at(-1) ?? 0n) > now, 'a later watermark');
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    this.child.stdin.end();
    const { code } = await this.exit;
    if (code !== 0) throw new Error(`the loader exited ${code}: ${this.errors}`);
  }
}
