// Strangers' statements, each in a process that may be killed: a few at once, some kept warm.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { SQL_DEFAULTS, SQL_LIMITS } from '../../queries/sql-gate.ts';
import type { UserSql } from '../../queries/sql-gate.ts';
import { Places } from '../../queries/sql-places.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { SqlFormatName } from '../formats/sql-formats.ts';
import { FRAME } from './frames.ts';
import { WorkerClient } from './worker-client.ts';

export interface SqlPoolOptions {
  /** Of one statement; for DuckDB alone. */
  readonly memory_limit?: string;
  /** On disk, of one statement. */
  readonly temp_limit?: string;
  readonly at_once?: number;
  readonly warm?: number;
  readonly threads?: number;
}

export interface PoolAnswer {
  readonly query_id: string;
  /** The bytes of the chosen format. */
  readonly parts: AsyncGenerator<Uint8Array, void>;
  /** Final after the last part. */
  progress(): { row_count: number; truncated: boolean };
}

/** Spans that a statement sees are at most so much older than those of a lookup. */
const COPY_AGE_MS = 1000;
/** Past its time a worker is given so long to say so itself. */
const GRACE_MS = 1000;
/** Idle workers let go of files that are no longer part of anything. */
const REFRESH_MS = 5000;

export class SqlPool {
  readonly #warehouse: Warehouse;
  readonly #options: Required<SqlPoolOptions>;
  readonly #places: Places;
  readonly #folder = mkdtempSync(join(tmpdir(), 'tracehouse-sql-'));
  readonly #idle: WorkerClient[] = [];
  readonly #all = new Set<WorkerClient>();
  readonly #timer: NodeJS.Timeout;
  #starting = 0;
  #closed = false;

  constructor(warehouse: Warehouse, options: SqlPoolOptions = {}) {
    this.#warehouse = warehouse;
    this.#options = { memory_limit: '512MB', temp_limit: '1GB', at_once: SQL_LIMITS.at_once, warm: 2, threads: 2, ...options };
    this.#places = new Places(this.#options.at_once);
    this.#timer = setInterval(() => void this.#refresh(), REFRESH_MS);
    this.#timer.unref();
    this.#keepWarm();
  }

  async #start(): Promise<WorkerClient> {
    const { memory_limit, temp_limit, threads } = this.#options;
    const worker = await WorkerClient.start({ data_folder: this.#warehouse.folder, folder: mkdtempSync(join(this.#folder, 'worker-')), memory_limit, temp_limit, threads });
    if (this.#closed) {
      await worker.close();
      throw new TracehouseError('not-ready', 'the server is shutting down');
    }
    this.#all.add(worker);
    return worker;
  }

  #keepWarm(): void {
    if (this.#closed || this.#idle.length + this.#starting >= this.#options.warm) return;
    this.#starting += 1;
    this.#start()
      .then((worker) => this.#idle.push(worker))
      .catch(() => undefined) // the next statement that needs one says why
      .finally(() => {
        this.#starting -= 1;
      });
  }

  async #take(): Promise<WorkerClient> {
    for (let worker = this.#idle.pop(); worker !== undefined; worker = this.#idle.pop()) {
      if (!worker.ended) return worker;
      this.#all.delete(worker);
    }
    return this.#start();
  }

  #giveBack(worker: WorkerClient, whole: boolean): void {
    if (whole && !worker.ended && !this.#closed && this.#idle.length < this.#options.warm) this.#idle.push(worker);
    else {
      this.#all.delete(worker);
      void worker.close();
    }
    this.#keepWarm();
  }

  async #refresh(): Promise<void> {
    const segments = await this.#warehouse.visibleSegments(REFRESH_MS).catch(() => undefined);
    if (segments === undefined) return;
    for (const worker of this.#idle.splice(0)) {
      let whole = false;
      try {
        for await (const frame of worker.run({ segments })) whole = frame.kind === FRAME.end;
      } catch {
        whole = false;
      }
      this.#giveBack(worker, whole);
    }
  }

  /** Errors: those of streamUserSql, and sql-died. */
  async run({ signal, ...statement }: UserSql, format: SqlFormatName): Promise<PoolAnswer> {
    await this.#places.take();
    let worker: WorkerClient | undefined;
    let timer: NodeJS.Timeout | undefined;
    const cancel = (): void => worker?.kill(new TracehouseError('sql-cancelled', 'the caller went away'));
    const over = (whole: boolean): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
      this.#places.leave();
      if (worker !== undefined) this.#giveBack(worker, whole);
    };
    try {
      worker = await this.#take();
      const { timeout_ms = SQL_DEFAULTS.timeout_ms } = statement;
      timer = setTimeout(() => worker?.kill(new TracehouseError('sql-timeout', `no answer within ${timeout_ms} ms`, { mend: 'narrow the time range, or ask with a longer timeout_ms' })), timeout_ms + GRACE_MS);
      signal?.addEventListener('abort', cancel, { once: true });
      if (signal?.aborted === true) cancel();
      const frames = worker.run({ segments: await this.#warehouse.visibleSegments(COPY_AGE_MS), statement, format });
      const head = await frames.next();
      if (head.done === true) throw new TracehouseError('sql-died', 'the process that ran the statement said nothing');
      const { query_id } = JSON.parse(head.value.body.toString()) as { query_id: string };
      let progress = { row_count: 0, truncated: false };
      async function* parts(): AsyncGenerator<Uint8Array, void> {
        let whole = false;
        try {
          for await (const { kind, body } of frames) {
            if (kind === FRAME.end) progress = JSON.parse(body.toString()) as typeof progress;
            else yield body;
          }
          whole = true;
        } finally {
          over(whole);
        }
      }
      return { query_id, parts: parts(), progress: () => progress };
    } catch (error) {
      // An error that the worker told leaves it as good as before.
      over(error instanceof TracehouseError && !['sql-timeout', 'sql-cancelled', 'sql-died', 'sql-memory'].includes(error.code));
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await Promise.all([...this.#all].map((worker) => worker.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
