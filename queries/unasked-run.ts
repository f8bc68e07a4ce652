// A statement that DuckDB's own threads run while nobody asks for its result. The thread that asks spins on a processor as long as another
// has the last piece of work, also while that one waits for a full pipe. Without external_threads = 0 such a statement has a thread too few.
import type { DuckDBPendingResult, DuckDBPreparedStatement, DuckDBResult } from '@duckdb/node-api';

const LOOK_MS = 20;
/** Processor time of this process in such a while: with less of it nothing is at work, so it is over, or has failed. */
const IDLE_US = 2000;

export class UnaskedRun {
  readonly #pending: DuckDBPendingResult;
  readonly #timer: NodeJS.Timeout;
  readonly result: Promise<DuckDBResult>;
  #settle: (result: Promise<DuckDBResult>) => void = () => undefined;
  #waiting = false;
  #waits = 0;
  #looked = { wait: 0, cpu_us: 0 };

  /** Errors: those of DuckDB that come before it runs. */
  constructor(prepared: DuckDBPreparedStatement) {
    this.#pending = prepared.start();
    this.result = new Promise((resolve) => (this.#settle = resolve));
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** For what it writes: if that does not come, it may have failed. */
  async waitFor<T>(coming: Promise<T>): Promise<T> {
    this.#waiting = true;
    this.#waits += 1;
    try {
      return await coming;
    } finally {
      this.#waiting = false;
    }
  }

  #look(): void {
    if (!this.#waiting) return;
    const { user, system } = process.cpuUsage();
    const before = this.#looked;
    this.#looked = { wait: this.#waits, cpu_us: user + system };
    if (before.wait === this.#waits && user + system - before.cpu_us < IDLE_US) this.ask();
  }

  /** When it is over, as far as anybody can tell: `result` settles. */
  ask(): void {
    clearInterval(this.#timer);
    this.#settle(this.#pending.getResult());
    this.ask = () => undefined;
  }
}
