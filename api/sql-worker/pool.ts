// Strangers' statements, each in a process that may be killed: a few at once, some kept warm.
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
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
import { WorkerClient, memoryError } from './worker-client.ts';
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
/** So long after a statement the next one is expected, and need not wait for copies of what is new. */
const EXPECT_MS = 10_000;
const RENEW_MS = 700;
/** Past its time a worker is given so long to say so itself. */
const GRACE_MS = 1000;
const WATCH_MS = 100;
/** On a machine that is never idle a statement would never end: after so long with less than this share of a core it gets some. */
const STARVED_MS = 2000;
const STARVED_SHARE = 0.1;
/** Idle workers let go of files that are no longer part of anything. */
const REFRESH_MS = 5000;
/** Kept for the next statement; more than one only for a while. */
const WARM = 1;
const IDLE_MS = 60_000;
/** Beyond DuckDB's own limit: rows on their way, JavaScript. */
const SPARE_BYTES = 256e6;
/** All statements together leave the disk at least this share of what is free. */
const DISK_SHARE = 0.5;
/** What is not the statement's fault: files went while a worker was told of them, or it had ended before it was. */
const AGAIN = new Set(['files-gone', 'sql-gone']);
const TRIES = 3;

interface Idle {
  readonly worker: WorkerClient;
  readonly since_ms: number;
}

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
  readonly #folder: string;
  readonly #all = new Set<WorkerClient>();
  readonly #coming = new Set<Promise<WorkerClient>>();
  readonly #timers: readonly NodeJS.Timeout[];
  #idle: Idle[] = [];
  #starting = 0;
  #asked_ms = -Infinity;
  #refreshing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(warehouse: Warehouse, options: SqlPoolOptions = {}) {
    this.#warehouse = warehouse;
    this.#options = { limits: SQL_LIMITS, memory_bytes: 512e6, temp_bytes: 1e9, threads: 2, log: () => undefined, ...options };
    this.limits = this.#options.limits;
    this.#places = new Places(this.limits.at_once);
    mkdirSync(join(warehouse.folder, 'tmp'), { recursive: true });
    this.#folder = mkdtempSync(join(warehouse.folder, 'tmp', 'sql-'));
    const refresh = setInterval(() => {
      this.#refreshing = this.#refresh();
    }, REFRESH_MS);
    const renew = setInterval(() => {
      if (performance.now() - this.#asked_ms < EXPECT_MS) void warehouse.visibleFiles(RENEW_MS / 2).catch(() => undefined);
    }, RENEW_MS);
    this.#timers = [refresh.unref(), renew.unref()];
    this.#keepWarm();
  }

  #tempBytes(): number {
    const { bavail, bsize } = statfsSync(this.#folder);
    const share = Math.floor((bavail * bsize * DISK_SHARE) / this.limits.at_once);
    return Math.min(this.#options.temp_bytes, share);
  }

  #start(): Promise<WorkerClient> {
    const coming = this.#startOne().finally(() => this.#coming.delete(coming));
    this.#coming.add(coming);
    return coming;
  }

  async #startOne(): Promise<WorkerClient> {
    const { memory_bytes, threads, limits } = this.#options;
    const folder = mkdtempSync(join(this.#folder, 'worker-'));
    const worker = await WorkerClient.start({ data_folders: this.#warehouse.data_folders, folder, memory_bytes, temp_bytes: this.#tempBytes(), threads, limits });
    if (this.#closed) {
      await worker.close();
      throw new TracehouseError('not-ready', 'the server is shutting down');
    }
    this.#all.add(worker);
    return worker;
  }

  #keepWarm(): void {
    if (this.#closed || this.#idle.length + this.#starting >= WARM) return;
    this.#starting += 1;
    this.#start()
      .then((worker) => this.#giveBack(worker, true), (error: Error) => this.#closed || this.#options.log(error.message))
      .finally(() => {
        this.#starting -= 1;
      });
  }

  async #take(): Promise<WorkerClient> {
    if (this.#idle.length === 0) await this.#refreshing;
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (!idle.worker.ended) return idle.worker;
      this.#dismiss(idle.worker);
    }
    return this.#start();
  }

  #giveBack(worker: WorkerClient, whole: boolean): void {
    const fresh = worker.grown_bytes < SPARE_BYTES && !worker.let_forward;
    if (whole && fresh && !worker.ended && !this.#closed) this.#idle.push({ worker, since_ms: performance.now() });
    else this.#dismiss(worker);
    this.#keepWarm();
  }

  #dismiss(worker: WorkerClient): void {
    this.#all.delete(worker);
    void worker.close();
  }

  async #refresh(): Promise<void> {
    const files = await this.#warehouse.visibleFiles(null).catch(() => undefined);
    const resting = this.#idle;
    this.#idle = [];
    for (const { worker, since_ms } of resting) {
      let whole = false;
      try {
        const tired = this.#idle.length >= WARM && performance.now() - since_ms > IDLE_MS;
        if (files !== undefined && !tired) for await (const frame of worker.run({ files })) whole = frame.kind === FRAME.end;
      } catch {
        whole = false;
      }
      if (whole && !this.#closed) this.#idle.push({ worker, since_ms });
      else this.#dismiss(worker);
    }
    this.#keepWarm();
  }

  /** Error: sql-busy. */
  async #begin(timeout_ms: number, signal: AbortSignal | undefined): Promise<Running> {
    if (this.#closed) throw new TracehouseError('not-ready', 'the server is shutting down');
    await this.#places.take();
    const worker = await this.#take().catch((error: unknown) => {
      this.#places.leave();
      throw error;
    });
    let is_over = false;
    const end = (why: TracehouseError): void => {
      running.worker.kill(why);
      over(false);
    };
    const cancel = (): void => end(new TracehouseError('sql-cancelled', 'the caller went away'));
    const late = setTimeout(() => end(new TracehouseError('sql-timeout', `no answer within ${timeout_ms} ms`, { mend: 'narrow the time range, or ask with a longer timeout_ms' })), timeout_ms + GRACE_MS);
    const most_bytes = this.#options.memory_bytes + SPARE_BYTES;
    let looked = { at_ms: performance.now(), cpu_ms: worker.cpu_ms };
    const watch = setInterval(() => {
      const { worker } = running;
      if (worker.grown_bytes > most_bytes) end(memoryError());
      const now = { at_ms: performance.now(), cpu_ms: worker.cpu_ms };
      if (worker.let_forward || now.at_ms - looked.at_ms < STARVED_MS) return;
      if (now.cpu_ms - looked.cpu_ms < STARVED_MS * STARVED_SHARE) worker.letForward();
      looked = now;
    }, WATCH_MS);
    const over = (whole: boolean): void => {
      if (is_over) return;
      is_over = true;
      clearTimeout(late);
      clearInterval(watch);
      signal?.removeEventListener('abort', cancel);
      this.#giveBack(running.worker, whole);
      this.#places.leave();
    };
    const running: Running = { worker, over };
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted === true) cancel();
    return running;
  }

  /** The first frame, which says that rows are there, and those after it. */
  async #ask(running: Running, job: Omit<ClientJob, 'files'>): Promise<{ head: Frame; frames: AsyncGenerator<Frame, void> }> {
    for (let attempt = 1; ; attempt++) {
      const frames = running.worker.run({ files: await this.#warehouse.visibleFiles(COPY_AGE_MS), ...job });
      try {
        const head = await frames.next();
        if (head.done === true) throw new Error('the process for SQL said nothing');
        return { head: head.value, frames };
      } catch (error) {
        const code = error instanceof TracehouseError ? error.code : '';
        if (!AGAIN.has(code) || attempt === TRIES) throw error;
        if (code !== 'sql-gone') continue;
        this.#dismiss(running.worker);
        running.worker = await this.#take();
      }
    }
  }

  async run({ signal, ...statement }: UserSql, format: SqlFormatName): Promise<SqlAnswer> {
    const { timeout_ms = Math.min(SQL_DEFAULTS.timeout_ms, this.limits.timeout_ms) } = statement;
    this.#asked_ms = performance.now();
    const running = await this.#begin(timeout_ms, signal);
    const { over } = running;
    try {
      const { head, frames } = await this.#ask(running, { statement, format });
      const { query_id } = JSON.parse(head.body.toString()) as { query_id: string };
      let progress: SqlProgress = { row_count: 0, truncated: false };
      async function* parts(): AsyncGenerator<Uint8Array, void> {
        let whole = false;
        try {
          for await (const { kind, body } of frames) {
            if (kind === FRAME.end) progress = JSON.parse(body.toString()) as SqlProgress;
            else yield body;
          }
          whole = true;
        } finally {
          over(whole);
        }
      }
      return { query_id, parts: parts(), progress: () => progress };
    } catch (error) {
      // One that told its error is as good as before.
      over(error instanceof TracehouseError && !running.worker.ended);
      throw error;
    }
  }

  async check(sql: string): Promise<string[]> {
    const running = await this.#begin(Math.min(SQL_DEFAULTS.timeout_ms, this.limits.timeout_ms), undefined);
    let error: unknown;
    try {
      const { head } = await this.#ask(running, { check: sql });
      return JSON.parse(head.body.toString()) as string[];
    } catch (caught) {
      error = caught;
      throw caught;
    } finally {
      running.over(error === undefined || (error instanceof TracehouseError && !running.worker.ended));
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timers.forEach((timer) => clearInterval(timer));
    await Promise.allSettled(this.#coming);
    await Promise.all([...this.#all].map((worker) => worker.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
