// Strangers' statements, each in a process that may be killed: a few at once, some kept warm.
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { UserSql } from '../../queries/sql-gate.ts';
import { SQL_DEFAULTS, SQL_LIMITS } from '../../queries/sql-limits.ts';
import type { SqlLimits } from '../../queries/sql-limits.ts';
import { Places } from '../../queries/sql-places.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { SqlFormatName } from '../formats/sql-formats.ts';
import type { SqlAnswer, SqlProgress, SqlRunner } from '../sql-answer.ts';
import { FRAME } from './frames.ts';
import type { Frame } from './frames.ts';
import { SPARE_BYTES, WarmWorkers } from './warm-workers.ts';
import { watchJob } from './watch-job.ts';
import type { WorkerClient } from './worker-client.ts';
import type { ClientJob } from './worker-client.ts';

export interface SqlPoolOptions {
  readonly limits?: SqlLimits;
  /** Of one statement, for DuckDB alone. */
  readonly memory_bytes?: number;
  /** On disk, of one statement. */
  readonly temp_bytes?: number;
  readonly threads?: number;
  readonly log?: (line: string) => void;
}

/** Spans that a statement sees are at most so much older than those of a lookup. */
const COPY_AGE_MS = 1000;
/** Somebody waits for the answer: it rather goes without the newest rows, and says so. */
const WAIT_MS = 250;
/** So long after a statement the next one is expected, and need not wait for copies of what is new. */
const EXPECT_MS = 10_000;
const RENEW_MS = 700;
/** What is not the statement's fault: files went while a worker was told of them, or it had ended before it was. */
const AGAIN = new Set(['files-gone', 'sql-gone']);
const TRIES = 3;
const NOTHING = new Uint8Array(0);

/** It told its error, and did not come to its limits: what it wrote to the disk may still be held by something not collected. */
const isAsGoodAsBefore = (worker: WorkerClient, error: unknown): boolean => error instanceof TracehouseError && error.code !== 'sql-memory' && !worker.ended;

/** A job on a worker: until it is over it has a place, a deadline and a watch on its memory. */
interface Running {
  worker: WorkerClient;
  over(whole: boolean): void;
}

export class SqlPool implements SqlRunner {
  readonly limits: SqlLimits;
  readonly #warehouse: Warehouse;
  readonly #options: Required<SqlPoolOptions>;
  readonly #places: Places;
  readonly #workers: WarmWorkers;
  readonly #renewing: NodeJS.Timeout;
  #asked_ms = -Infinity;
  #closed = false;

  constructor(warehouse: Warehouse, options: SqlPoolOptions = {}) {
    this.#warehouse = warehouse;
    this.#options = { limits: SQL_LIMITS, memory_bytes: 512e6, temp_bytes: 1e9, threads: 2, log: () => undefined, ...options };
    this.limits = this.#options.limits;
    this.#places = new Places(this.limits.at_once);
    this.#workers = new WarmWorkers(warehouse, this.#options);
    this.#renewing = setInterval(() => {
      if (performance.now() - this.#asked_ms < EXPECT_MS) void warehouse.visibleFiles(RENEW_MS / 2).catch(() => undefined);
    }, RENEW_MS).unref();
  }

  /** Error: sql-busy. */
  async #begin(timeout_ms: number, signal: AbortSignal | undefined): Promise<Running> {
    if (this.#closed) throw new TracehouseError('not-ready', 'the server is shutting down');
    await this.#places.take();
    const worker = await this.#workers.take().catch((error: unknown) => {
      this.#places.leave();
      throw error;
    });
    let is_over = false;
    const over = (whole: boolean): void => {
      if (is_over) return;
      is_over = true;
      unwatch();
      this.#workers.giveBack(running.worker, whole);
      this.#places.leave();
    };
    const running: Running = { worker, over };
    let unwatch = (): void => undefined;
    unwatch = watchJob({
      worker: () => running.worker,
      timeout_ms,
      most_bytes: this.#options.memory_bytes + SPARE_BYTES,
      signal,
      end: (why) => {
        running.worker.kill(why);
        over(false);
      },
    });
    return running;
  }

  /** The first frame, which says that rows are there, and those after it. */
  async #ask(running: Running, job: Omit<ClientJob, 'files'>, wait_ms: number): Promise<{ head: Frame; frames: AsyncGenerator<Frame, void>; missing_since_ms: number | null }> {
    for (let attempt = 1; ; attempt++) {
      const files = await this.#warehouse.visibleFiles(COPY_AGE_MS, wait_ms);
      const frames = running.worker.run({ files, ...job });
      try {
        const head = await frames.next();
        if (head.done === true) throw new Error('the process for SQL said nothing');
        return { head: head.value, frames, missing_since_ms: files.missing_since_ms };
      } catch (error) {
        const code = error instanceof TracehouseError ? error.code : '';
        if (!AGAIN.has(code) || attempt === TRIES) throw error;
        if (code !== 'sql-gone') continue;
        this.#workers.dismiss(running.worker);
        running.worker = await this.#workers.take();
      }
    }
  }

  async run({ signal, ...statement }: UserSql, format: SqlFormatName, wait_ms = WAIT_MS): Promise<SqlAnswer> {
    const { timeout_ms = Math.min(SQL_DEFAULTS.timeout_ms, this.limits.timeout_ms) } = statement;
    this.#asked_ms = performance.now();
    const running = await this.#begin(timeout_ms, signal);
    const { over } = running;
    try {
      const { head, frames, missing_since_ms } = await this.#ask(running, { statement, format }, wait_ms);
      const { query_id } = JSON.parse(head.body.toString()) as { query_id: string };
      let progress: SqlProgress = { row_count: 0, truncated: false };
      async function* parts(): AsyncGenerator<Uint8Array, void> {
        let whole = false;
        try {
          yield NOTHING;
          for await (const { kind, body } of frames) {
            if (kind === FRAME.end) progress = JSON.parse(body.toString()) as SqlProgress;
            else yield body;
          }
          whole = true;
        } finally {
          over(whole);
        }
      }
      const begun = parts();
      await begun.next(); // left before its first part, a generator that has not begun would not come to its end
      return { query_id, parts: begun, missing_since_ms, progress: () => progress };
    } catch (error) {
      over(isAsGoodAsBefore(running.worker, error));
      throw error;
    }
  }

  async check(sql: string): Promise<string[]> {
    const running = await this.#begin(Math.min(SQL_DEFAULTS.timeout_ms, this.limits.timeout_ms), undefined);
    let error: unknown;
    try {
      const { head } = await this.#ask(running, { check: sql }, 0);
      return JSON.parse(head.body.toString()) as string[];
    } catch (caught) {
      error = caught;
      throw caught;
    } finally {
      running.over(error === undefined || isAsGoodAsBefore(running.worker, error));
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#renewing);
    await this.#workers.close();
  }
}
