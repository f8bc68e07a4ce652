// Batches wait here while they are stored: few, so that memory is bounded; beyond that the source is paused.
import { sleep } from './signals.ts';

export interface BatchQueueOptions<B> {
  /** Applies one batch; called in order, for at_once (1) at a time. */
  apply(batch: B): Promise<void>;
  /** It is applied, and used no longer. */
  on_applied?(batch: B): void;
  /** Called with true for each batch that comes while `limit` wait, with false when the queue is short again. */
  on_pressure(full: boolean): void;
  /** A batch that could not be applied; the queue tries it again unless this throws. */
  on_error(error: unknown, batch: B): Promise<void>;
  readonly limit?: number;
  readonly at_once?: number;
}

export class BatchQueue<B> {
  readonly #options: BatchQueueOptions<B>;
  readonly #waiting: B[] = [];
  readonly #limit: number;
  readonly #at_once: number;
  readonly #under_way = new Set<B>();
  readonly #draining: (() => void)[] = [];
  #full = false;
  #wrong: { error: unknown; batch: B } | undefined;
  #failed: { error: unknown } | undefined;

  constructor(options: BatchQueueOptions<B>) {
    this.#options = options;
    this.#limit = options.limit ?? 8;
    this.#at_once = options.at_once ?? 1;
  }

  get length(): number {
    return this.#waiting.length;
  }

  push(batch: B): void {
    this.#waiting.push(batch);
    if (this.#waiting.length >= this.#limit) {
      this.#full = true;
      this.#options.on_pressure(true); // each time: a source that is told to end may have gone on
    }
    this.#begin();
  }

  /** Resolves when few batches wait, or after so many milliseconds. */
  async calm(most_ms: number): Promise<void> {
    const until = Date.now() + most_ms;
    while (this.#waiting.length > 3 && Date.now() < until) await sleep(10);
  }

  /** Resolves when everything pushed so far is applied; rejects when applying has failed for good. */
  async drain(): Promise<void> {
    while (!this.#idle) await new Promise<void>((resolve) => this.#draining.push(resolve));
    if (this.#failed !== undefined) throw this.#failed.error;
  }

  get #idle(): boolean {
    return this.#under_way.size === 0 && this.#wrong === undefined && (this.#waiting.length === 0 || this.#failed !== undefined);
  }

  #begin(): void {
    while (this.#wrong === undefined && this.#failed === undefined && this.#under_way.size < this.#at_once) {
      const batch = this.#waiting.find((other) => !this.#under_way.has(other));
      if (batch === undefined) return;
      this.#under_way.add(batch);
      void this.#apply(batch);
    }
  }

  async #apply(batch: B): Promise<void> {
    try {
      await this.#options.apply(batch);
      this.#waiting.splice(this.#waiting.indexOf(batch), 1);
      this.#options.on_applied?.(batch);
    } catch (error) {
      this.#wrong ??= { error, batch };
    }
    this.#under_way.delete(batch);
    // None begins anew before all have settled: what is left is in order.
    if (this.#wrong !== undefined && this.#under_way.size === 0) {
      await this.#options.on_error(this.#wrong.error, this.#wrong.batch).catch((error: unknown) => (this.#failed = { error }));
      this.#wrong = undefined;
    }
    if (this.#full && this.#waiting.length <= this.#limit / 2) {
      this.#full = false;
      this.#options.on_pressure(false);
    }
    this.#begin();
    if (this.#idle) for (const resolve of this.#draining.splice(0)) resolve();
  }
}
