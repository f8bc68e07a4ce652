import type { DuckDBConnection } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';

/** A function that never looks up (sorting one huge list) outlives an interrupt: the answer does not wait for it. */
const GRACE_MS = 1000;

/** Ends what the connection runs when time is up or the caller goes; says afterwards which it was. */
export class Deadline {
  readonly #timeout_ms: number;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  /** Whoever waits for work. One promise raced with all of it would hold what each of them gave: all rows of an answer. */
  readonly #waiting = new Set<(why: TracehouseError) => void>();
  readonly #stop: (why: TracehouseError) => void;
  /** Called when the grace is over, too. */
  on_over: () => void = () => undefined;
  #interrupt: () => void = () => undefined;
  #reason: TracehouseError | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor(timeout_ms: number, signal: AbortSignal | undefined) {
    this.#timeout_ms = timeout_ms;
    this.#signal = signal;
    this.#stop = (why) => {
      if (this.#reason !== undefined) return;
      this.#reason = why;
      this.#interrupt();
      this.#grace = setTimeout(() => {
        for (const giveUp of this.#waiting) giveUp(why);
        this.on_over();
      }, GRACE_MS);
    };
    this.#timer = setTimeout(() => this.#stop(new TracehouseError('sql-timeout', `no answer within ${this.#timeout_ms} ms`, { mend: 'narrow the time range, or ask with a longer timeout_ms' })), timeout_ms);
    signal?.addEventListener('abort', this.#cancelled, { once: true });
    if (signal?.aborted === true) this.#cancelled();
  }

  readonly #cancelled = (): void => this.#stop(new TracehouseError('sql-cancelled', 'the caller went away'));

  guard(connection: DuckDBConnection): void {
    this.#interrupt = () => connection.interrupt();
    this.check();
  }

  check(): void {
    if (this.#reason !== undefined) throw this.#reason;
  }

  async race<T>(work: Promise<T>): Promise<T> {
    this.check();
    let giveUp: (why: TracehouseError) => void = () => undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        giveUp = reject;
        this.#waiting.add(giveUp);
        work.then(resolve, reject);
      });
    } catch (error) {
      throw this.#reason ?? error;
    } finally {
      this.#waiting.delete(giveUp);
    }
  }

  clear(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#grace);
    this.#signal?.removeEventListener('abort', this.#cancelled);
    this.#interrupt = () => undefined;
  }
}
