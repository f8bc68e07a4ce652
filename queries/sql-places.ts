import { TracehouseError } from '../schema/errors.ts';

/** For a place: a statement that was stopped gives its own back only when DuckDB has let go. */
const WAIT_MS = 500;

/** So many statements of strangers may run at once: each holds a thread of Node's pool and its share of memory. */
export class Places {
  readonly #count: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(count: number) {
    this.#count = count;
  }

  /** Error: sql-busy. */
  async take(): Promise<void> {
    const until = performance.now() + WAIT_MS;
    while (this.#taken >= this.#count) {
      const left = until - performance.now();
      if (left <= 0) throw new TracehouseError('sql-busy', `${this.#count} statements are running already`, { mend: 'try again in a moment' });
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, left);
        this.#waiting.add(wake);
      });
    }
    this.#taken += 1;
  }

  leave(): void {
    this.#taken -= 1;
    const [wake] = this.#waiting;
    wake?.();
  }
}
