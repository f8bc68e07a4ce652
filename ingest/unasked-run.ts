// Statements that DuckDB's own threads run while nobody asks for their result. The thread that asks spins on a processor as long as another
// has the last piece of work, also while that one waits for a full pipe. Without external_threads = 0 they have a thread too few.
import { setTimeout as delay } from 'node:timers/promises';
import duckdb from '@duckdb/node-bindings';
import type { DuckDBConnection, DuckDBPendingResult, DuckDBPreparedStatement, DuckDBResult } from '@duckdb/node-api';

const POLL_MS = 5;
const LOOK_MS = 20;
/** Processor time of this process in such a while: with less of it nothing is at work, so it is over, or has failed. */
const IDLE_US = 2000;

/** What DuckDB puts before what happened, when it is asked for the result of what has failed already. */
const FAILED_BEFORE = 'Invalid Input Error: Attempting to execute an unsuccessful or closed pending query result\nError: ';

/** What it writes must not wait for this thread: when it fails this thread waits for all of its work to end. Errors: as if it had been asked. */
export async function runUnasked(connection: DuckDBConnection, sql: string): Promise<DuckDBResult> {
  const pending = await connection.start(sql);
  const { pending_result } = pending as unknown as { pending_result: duckdb.PendingResult };
  for (let poll_ms = 1; ; poll_ms = Math.min(poll_ms + 1, POLL_MS)) {
    const state = duckdb.pending_execute_check_state(pending_result);
    if (state === duckdb.PendingState.RESULT_READY || state === duckdb.PendingState.ERROR) break;
    await delay(poll_ms);
  }
  return pending.getResult().catch((error: Error) => {
    throw error.message.startsWith(FAILED_BEFORE) ? new Error(error.message.slice(FAILED_BEFORE.length), { cause: error }) : error;
  });
}

/** One that writes to a pipe which this process reads. */
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
