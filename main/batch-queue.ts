// Batches wait here while the warehouse commits: few, so that memory is bounded; beyond that the source is paused.
import type { Batch } from '../ingest/batch.ts';
import { sleep } from './signals.ts';

export interface BatchQueueOptions {
  /** Applies one batch; called one at a time, in order. */
  apply(batch: Batch): Promise<void>;
  /** Called with true when `limit` batches wait, with false when the queue is short again. */
  on_pressure(full: boolean): void;
  /** A batch that could not be applied; the queue tries it again unless this throws. */
  on_error(error: unknown, batch: Batch): Promise<void>;
  readonly limit?: number;
}

export class BatchQueue {
  readonly #options: BatchQueueOptions;
  readonly #waiting: Batch[] = [];
  readonly #limit: number;
  #full = false;
  #running: Promise<void> | undefined;
  #failed: unknown;

  constructor(options: BatchQueueOptions) {
    this.#options = options;
    this.#limit = options.limit ?? 8;
  }

  get length(): number {
    return this.#waiting.length;
  }

  push(batch: Batch): void {
    this.#waiting.push(batch);
    if (!this.#full && this.#waiting.length >= this.#limit) {
      this.#full = true;
      this.#options.on_pressure(true);
    }
    this.#running ??= this.#run();
  }

  /** Resolves when few batches wait, or after so many milliseconds. */
  async calm(most_ms: number): Promise<void> {
    const until = Date.now() + most_ms;
    while (this.#waiting.length > 3 && Date.now() < until) await sleep(10);
  }

  /** Resolves when everything pushed so far is applied; rejects when applying has failed for good. */
  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    if (this.#failed !== undefined) throw this.#failed;
  }

  async #run(): Promise<void> {
    try {
      for (let batch = this.#waiting[0]; batch !== undefined && this.#failed === undefined; batch = this.#waiting[0]) {
        try {
          await this.#options.apply(batch);
          this.#waiting.shift();
        } catch (error) {
          await this.#options.on_error(error, batch);
        }
        if (this.#full && this.#waiting.length <= this.#limit / 2) {
          this.#full = false;
          this.#options.on_pressure(false);
        }
      }
    } catch (error) {
      this.#failed = error;
    } finally {
      this.#running = undefined;
    }
  }
}
