// Loader and assembler together: from a scope to batches.
import { BatchAssembler } from '../ingest/batch-assembler.ts';
import type { Batch } from '../ingest/batch.ts';
import { encodeControl } from '../ingest/control-frames.ts';
import { LoaderProcess, type LoaderHandlers, type LoaderOptions } from '../ingest/loader-process.ts';
import { TracehouseError } from '../schema/errors.ts';
import { stepBack, stepBackChild } from './priority.ts';

export interface CaptureOptions {
  readonly node: string;
  readonly scope?: readonly string[];
  readonly payload: number;
  readonly keepPayload?: boolean;
  readonly keepQuery?: boolean;
  readonly redactHeader?: readonly string[];
  readonly redactPath?: readonly RegExp[];
  readonly ring: number;
  /** Of this process and the loader; 0 unless given. */
  readonly nice?: number;
  readonly wakes?: boolean;
  readonly turns?: boolean;
  readonly stacks?: boolean;
  readonly taskIdentity?: 'on' | 'off';
  readonly hooks?: string;
  /** Disk for what cannot be taken in at once, bytes; 0 = none, BURST_BYTES unless given. */
  readonly burst?: number;
  /** Folder of that file. */
  readonly burst_folder?: string;
  /** Take nothing in while others need the processors, as long as that file has room. */
  readonly give_way?: boolean;
}

export interface CollectorHandlers {
  on_batch(batch: Batch): void;
  log(line: string): void;
  /** Batches wait already: the next one may become larger meanwhile. */
  busy?(): boolean;
}

const BURST_BYTES = 2 ** 30;

/** Ticks more often than batches are cut, so that a quiet stream still yields one in time. */
const TICK_MS = 50;

function loaderOptions(options: CaptureOptions, exclude_pids: readonly number[]): LoaderOptions {
  return {
    node: options.node,
    scopes: options.scope ?? [],
    exclude_pids,
    ring_bytes: options.ring,
    payload_bytes: options.payload,
    wakes: options.wakes !== false,
    turns: options.turns !== false,
    stacks: options.stacks === true,
    task_identity: options.taskIdentity !== 'off',
    ...(options.hooks === undefined ? {} : { hooks: options.hooks }),
    ...(options.burst_folder === undefined || options.burst === 0 ? {} : { spill: { folder: options.burst_folder, bytes: options.burst ?? BURST_BYTES }, give_way: options.give_way === true }),
  };
}

export class Collector {
  /** Resolves when every hook is attached; rejects when the loader gives up before that. */
  readonly ready: Promise<void>;
  /** Resolves with an error when the loader ended on its own, with undefined after stop(). */
  readonly ended: Promise<TracehouseError | undefined>;
  readonly assembler: BatchAssembler;
  readonly #for_loader: LoaderHandlers;
  #loader!: LoaderProcess;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  private constructor(options: CaptureOptions, handlers: CollectorHandlers) {
    let is_ready: () => void = () => undefined;
    let not_ready: (error: Error) => void = () => undefined;
    let has_ended: (error: TracehouseError | undefined) => void = () => undefined;
    this.ready = new Promise((resolve, reject) => {
      is_ready = resolve;
      not_ready = reject;
    });
    this.ready.catch(() => undefined);
    this.ended = new Promise((resolve) => (has_ended = resolve));
    const lines: string[] = [];
    let broken: TracehouseError | undefined;
    this.assembler = new BatchAssembler({
      node: options.node,
      whole_batches: true,
      keep_payload: options.keepPayload === true,
      keep_query: options.keepQuery === true,
      redact_headers: options.redactHeader ?? [],
      redact_paths: options.redactPath ?? [],
      on_batch: (batch) => handlers.on_batch(batch),
      on_follow: (socket_id, on) => this.#loader.send(encodeControl('control_follow', { socket_id, on: on ? 1n : 0n })),
    });
    this.#for_loader = {
      on_chunk: (chunk) => {
        if (broken !== undefined) return;
        try {
          this.assembler.push(chunk);
          is_ready();
        } catch (error) {
          broken = error instanceof TracehouseError ? error : new TracehouseError('loader-stream', (error as Error).message, { cause: error });
          void this.#loader.stop(1000);
        }
      },
      on_line: (line) => {
        lines.push(line);
        handlers.log(line);
      },
      on_exit: ({ code, signal }) => {
        clearInterval(this.#timer);
        this.assembler.end();
        const failure =
          broken ??
          (this.#stopping && code === 0
            ? undefined
            : new TracehouseError('collector', lines.at(-1) ?? `the eBPF loader ended unexpectedly (${signal ?? `exit code ${code}`})`, { mend: 'run `tracehouse doctor` to see what this machine lacks' }));
        if (failure !== undefined) not_ready(failure);
        has_ended(failure);
      },
    };
  }

  static async start(options: CaptureOptions, handlers: CollectorHandlers, exclude_pids: readonly number[] = [process.pid]): Promise<Collector> {
    if (process.getuid?.() !== 0) {
      throw new TracehouseError('not-root', 'tracing the kernel needs root', { mend: 'run it with sudo; `tracehouse serve`, `replay` and `sql` work without' });
    }
    const collector = new Collector(options, handlers);
    const { nice = 0 } = options;
    stepBack(nice);
    collector.#loader = await LoaderProcess.start(loaderOptions(options, exclude_pids), collector.#for_loader);
    if (collector.#loader.pid !== undefined) stepBackChild(collector.#loader.pid, nice);
    collector.#timer = setInterval(() => {
      // Batches that would wait anyway had better be few and large.
      if (handlers.busy?.() !== true) collector.assembler.tick(Date.now());
    }, TICK_MS);
    return collector;
  }

  pause(): void {
    if (!this.#stopping) this.#loader.pause(); // its end is read to the last byte
  }

  resume(): void {
    this.#loader.resume();
  }

  /** Drains what the kernel has, hands over the final batch. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#loader.stop();
    await this.ended;
  }
}
