// The one privileged process: started here, spoken to over stdin, read over stdout.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { TracehouseError } from '../schema/errors.ts';
import { packageRoot } from '../schema/package-root.ts';
import { OutputReader } from './output-reader.ts';

export interface LoaderOptions {
  readonly node: string;
  /** Scope specs as on the command line; empty = all. */
  readonly scopes: readonly string[];
  /** Processes that are never traced, besides the loader itself. */
  readonly exclude_pids: readonly number[];
  readonly ring_bytes?: number;
  /** Payload bytes a phase, 0..4096. */
  readonly payload_bytes?: number;
  readonly wakes?: boolean;
  readonly turns?: boolean;
  readonly stacks?: boolean;
  readonly task_identity?: boolean;
  readonly hooks?: string;
  /** What the reader cannot take at once waits in a nameless file in this folder. */
  readonly spill?: { readonly folder: string; readonly bytes: number };
  /** While the machine is busy the reader is given nothing, as long as that file is not half full. */
  readonly give_way?: boolean;
  readonly path?: string;
}

export interface LoaderHandlers {
  /** The chunk is valid during the call only. */
  on_chunk(chunk: Uint8Array): void;
  /** A line that the loader wrote for people. */
  on_line(line: string): void;
  /** After the last chunk. */
  on_exit(exit: { code: number | null; signal: NodeJS.Signals | null }): void;
}

/** Where the loader lies in a checkout and in the published package alike. */
export function loaderPath(): string {
  return join(packageRoot(), '.output', 'tracehouse-loader');
}

export function loaderArguments(options: LoaderOptions): string[] {
  const list = ['--node', options.node];
  if (options.ring_bytes !== undefined) list.push('--ring-bytes', String(options.ring_bytes));
  if (options.payload_bytes !== undefined) list.push('--payload', String(options.payload_bytes));
  for (const scope of options.scopes) list.push('--scope', scope);
  for (const pid of options.exclude_pids) list.push('--exclude-pid', String(pid));
  if (options.wakes === false) list.push('--no-wakes');
  if (options.turns === false) list.push('--no-turns');
  if (options.stacks === true) list.push('--stacks');
  if (options.task_identity === false) list.push('--task-identity', 'off');
  if (options.hooks !== undefined) list.push('--hooks', options.hooks);
  if (options.spill !== undefined) list.push('--spill', options.spill.folder, '--spill-bytes', String(options.spill.bytes));
  if (options.give_way === true) list.push('--give-way');
  return list;
}

/** What waits for it to give up refreshes with everything that comes. */
interface Activity {
  timer: NodeJS.Timeout | undefined;
}

export class LoaderProcess {
  readonly #child: ChildProcess & { readonly stdin: Writable };
  readonly #output: OutputReader;
  readonly #exited: Promise<void>;
  readonly #activity: Activity;
  #ended = false;

  private constructor(child: ChildProcess & { readonly stdin: Writable }, output: OutputReader, exited: Promise<void>, activity: Activity) {
    this.#child = child;
    this.#output = output;
    this.#exited = exited;
    this.#activity = activity;
  }

  static async start(options: LoaderOptions, handlers: LoaderHandlers): Promise<LoaderProcess> {
    const path = options.path ?? loaderPath();
    if (!existsSync(path)) {
      throw new TracehouseError('loader-missing', `the eBPF loader is not built (${path})`, { mend: 'run `npm run setup` in the checkout, or `tracehouse doctor` to see what this machine lacks' });
    }
    const activity: Activity = { timer: undefined };
    const output = await OutputReader.open((chunk) => {
      activity.timer?.refresh();
      handlers.on_chunk(chunk);
    });
    // detached: a Ctrl-C in the terminal is ours to handle; the loader must live to drain.
    const child = spawn(path, loaderArguments(options), { stdio: ['pipe', output.theirs, 'pipe'], detached: true }) as ChildProcess & { stdin: Writable; stderr: Readable };
    output.theirs.destroy();
    child.stdin.on('error', () => undefined); // its exit tells more than EPIPE does
    let rest = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') handlers.on_line(line);
    });
    let done: () => void = () => undefined;
    const exited = new Promise<void>((resolve) => (done = resolve));
    const process_ = new LoaderProcess(child, output, exited, activity);
    child.on('error', (error) => {
      handlers.on_line(`cannot start ${path}: ${error.message}`);
      process_.#ended = true;
      handlers.on_exit({ code: 1, signal: null });
      done();
    });
    child.on('close', (code, signal) => {
      void output.ended.then(() => {
        if (process_.#ended) return;
        process_.#ended = true;
        if (rest !== '') handlers.on_line(rest);
        handlers.on_exit({ code, signal });
        done();
      });
    });
    return process_;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  send(frame: Uint8Array): void {
    if (!this.#ended && this.#child.stdin.writable) this.#child.stdin.write(frame);
  }

  /** While paused the pipe fills, the loader blocks, and the kernel's ring drops and counts: memory here stays bounded. */
  pause(): void {
    this.#output.pause();
  }

  resume(): void {
    this.#output.resume();
  }

  /** Closes stdin, which asks for a drain and an orderly end; ends it by force when nothing has come for so long. */
  async stop(deadline_ms = 5000): Promise<void> {
    if (!this.#ended) {
      this.resume();
      this.#child.stdin.end();
      this.#activity.timer = setTimeout(() => this.#child.kill('SIGKILL'), deadline_ms);
      await this.#exited;
      clearTimeout(this.#activity.timer);
    }
  }
}
