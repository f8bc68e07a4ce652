// Batches wait here while they are stored: few, so that memory is bounded; beyond that the source is paused.
import { sleep } from './signals.ts';

export interface BatchQueueOptions<B> {
  /** Applies one batch; called one at a time, in order. */
  apply(batch: B): Promise<void>;
  /** It is applied, and used no longer. */
  on_applied?(batch: B): void;
  /** Called with true when `limit` batches wait, with false when the queue is short again. */
  on_pressure(full: boolean): void;
  /** A batch that could not be applied; the queue tries it again unless this throws. */
  on_error(error: unknown, batch: B): Promise<void>;
  readonly limit?: number;
}

export class BatchQueue<B> {
  readonly #options: BatchQueueOptions<B>;
  readonly #waiting: B[] = [];
  readonly #limit: number;
  #full = false;
  #running: Promise<void> | undefined;
  #failed: unknown;

  constructor(options: BatchQueueOptions<B>) {
    this.#options = options;
    this.#limit = options.limit ?? 8;
  }

  get length(): number {
    return this.#waiting.length;
  }

  push(batch: B): void {
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
          this.#options.on_applied?.(batch);
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
