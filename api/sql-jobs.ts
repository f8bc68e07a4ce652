// Statements that take longer than a connection lasts: asked for now, fetched later. Their answers are files of the data folder
// and last until they are old, deleted, or the server stops.
import { randomUUID } from 'node:crypto';
import { createWriteStream, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { requireRoom } from '../ingest/disk-room.ts';
import type { UserSql } from '../queries/sql-gate.ts';
import type { SqlLimits } from '../queries/sql-limits.ts';
import { TracehouseError } from '../schema/errors.ts';
import type { SqlFormatName } from './formats/sql-formats.ts';
import { lasting } from './part-stream.ts';
import type { SqlProgress, SqlRunner } from './sql-answer.ts';

export interface SqlJobOptions {
  /** The most that a caller may ask for. */
  readonly timeout_ms: number;
  /** Of one answer. */
  readonly most_bytes: number;
  /** Of all of them: they take their room from what is to be stored. */
  readonly most_bytes_kept: number;
  /** Answers are kept for so long. */
  readonly keep_ms: number;
  /** Queued, running and kept. */
  readonly most_jobs: number;
  /** Exported files that a statement may need and that are elsewhere; none unless given. */
  readonly missing_files?: (sql: string) => number;
}

export const SQL_JOBS: SqlJobOptions = { timeout_ms: 3_600_000, most_bytes: 2 ** 30, most_bytes_kept: 2 ** 32, keep_ms: 3_600_000, most_jobs: 100 };

export type SqlJobState = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';

export interface SqlJob {
  readonly query_id: string;
  readonly format: SqlFormatName;
  readonly state: SqlJobState;
  readonly submitted_ms: number;
  readonly started_ms: number | null;
  readonly ended_ms: number | null;
  /** Bytes of the answer so far. */
  readonly bytes: number;
  readonly progress: SqlProgress;
  /** As of SqlAnswer. */
  readonly missing_since_ms: number | null;
  /** Exported files that were elsewhere when it ran. */
  readonly missing_files: number;
  readonly error: unknown;
  /** Of its answer, once it is done. */
  readonly path: string;
}

type Job = { -readonly [key in keyof SqlJob]: SqlJob[key] } & { readonly statement: UserSql; readonly stop: AbortController };

/** How much may be written between two looks at what the disk has left. */
const LOOK_BYTES = 16 * 1024 * 1024;

/** Where its disk fails, it is left to the end. */
const removeAnswer = ({ path }: SqlJob): Promise<void> => rm(path, { force: true }).catch(() => undefined);

export class SqlJobs {
  readonly options: SqlJobOptions;
  readonly #runner: SqlRunner;
  readonly #folder: string;
  readonly #jobs = new Map<string, Job>();
  readonly #running = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #closed = false;

  constructor(runner: SqlRunner, data_folder: string, options: Partial<SqlJobOptions> = {}) {
    this.options = { ...SQL_JOBS, ...options };
    this.#runner = runner;
    this.#folder = join(data_folder, 'tmp', 'sql-answers');
    this.#timer = setInterval(() => this.#forgetOld(), Math.min(60_000, this.options.keep_ms));
    this.#timer.unref();
  }

  /** Those who wait for their answer always have a place left. */
  get #at_once(): number {
    return Math.max(1, this.#runner.limits.at_once - 1);
  }

  /** Errors: sql-busy, not-ready; all others are the job's. */
  submit(asked: Omit<UserSql, 'signal'>, format: SqlFormatName): SqlJob {
    if (this.#closed) throw new TracehouseError('not-ready', 'the server is shutting down');
    if (this.#jobs.size >= this.options.most_jobs) throw new TracehouseError('sql-busy', `there are ${this.#jobs.size} asynchronous statements already`, { mend: 'delete those whose answers you have: DELETE /api/v1/sql/{query_id}' });
    const query_id = randomUUID();
    const stop = new AbortController();
    const limits: SqlLimits = { ...this.#runner.limits, timeout_ms: this.options.timeout_ms };
    const statement: UserSql = { query_id, timeout_ms: limits.timeout_ms, max_rows: limits.max_rows, ...asked, limits, signal: stop.signal };
    const job: Job = { query_id, format, state: 'queued', submitted_ms: Date.now(), started_ms: null, ended_ms: null, bytes: 0, progress: { row_count: 0, truncated: false }, missing_since_ms: null, missing_files: 0, error: null, path: join(this.#folder, query_id), statement, stop };
    this.#jobs.set(query_id, job);
    this.#startNext();
    return job;
  }

  /** Error: query-not-found. */
  get(query_id: string): SqlJob {
    const job = this.#jobs.get(query_id);
    if (job === undefined) throw new TracehouseError('query-not-found', `there is no asynchronous statement ${query_id}`, { mend: `answers are kept for ${Math.round(this.options.keep_ms / 60_000)} minutes and until the server stops` });
    return job;
  }

  /** Stops it if it runs, and forgets its answer. */
  async delete(query_id: string): Promise<void> {
    this.get(query_id);
    await this.#forget(query_id);
  }

  async #forget(query_id: string): Promise<void> {
    const job = this.#jobs.get(query_id);
    this.#jobs.delete(query_id);
    if (job?.state === 'queued') job.state = 'cancelled';
    job?.stop.abort();
    if (job !== undefined && job.state !== 'running') await removeAnswer(job);
  }

  #forgetOld(): void {
    const now = Date.now();
    for (const { query_id, ended_ms } of this.#jobs.values()) if (ended_ms !== null && now - ended_ms >= this.options.keep_ms) void this.#forget(query_id);
  }

  #startNext(): void {
    for (const job of this.#jobs.values()) {
      if (this.#running.size >= this.#at_once || this.#closed) return;
      if (job.state !== 'queued') continue;
      const done = this.#run(job).finally(() => {
        this.#running.delete(done);
        this.#startNext();
      });
      this.#running.add(done);
    }
  }

  async #run(job: Job): Promise<void> {
    job.state = 'running';
    job.started_ms = Date.now();
    try {
      const missing_files = this.options.missing_files?.(job.statement.sql) ?? 0;
      const { parts, missing_since_ms, progress } = await this.#runner.run(job.statement, job.format, Infinity);
      job.missing_since_ms = missing_since_ms;
      job.missing_files = missing_files;
      mkdirSync(this.#folder, { recursive: true });
      await pipeline(Readable.from(lasting(parts), { objectMode: false }), this.#meter(job), createWriteStream(job.path, { mode: 0o600 }));
      job.progress = progress();
      job.state = 'done';
    } catch (error) {
      job.state = job.stop.signal.aborted ? 'cancelled' : 'failed';
      job.error = error;
      job.stop.abort(); // its answer may not have been read to the end
      await removeAnswer(job);
    }
    job.ended_ms = Date.now();
    if (!this.#jobs.has(job.query_id)) await removeAnswer(job);
  }

  /** Counts, and stops what would fill the disk. */
  #meter(job: Job): Transform {
    const { most_bytes, most_bytes_kept } = this.options;
    const kept = (): number => [...this.#jobs.values()].reduce((sum, { state, bytes }) => (state === 'running' || state === 'done' ? sum + bytes : sum), 0);
    let looked = 0;
    return new Transform({
      transform: (part: Uint8Array, _encoding, done) => {
        job.bytes += part.byteLength;
        if (job.bytes > most_bytes) return done(new TracehouseError('sql-limit', `the answer is larger than ${most_bytes} bytes`, { mend: 'ask for fewer rows or columns, or for parquet' }));
        if (kept() > most_bytes_kept) return done(new TracehouseError('sql-limit', `the answers that are kept would be larger than ${most_bytes_kept} bytes together`, { mend: 'delete those that you have: DELETE /api/v1/sql/{query_id}' }));
        if (job.bytes - looked < LOOK_BYTES) return done(null, part);
        looked = job.bytes;
        requireRoom(this.#folder, LOOK_BYTES).then(() => done(null, part), done);
      },
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const job of this.#jobs.values()) job.stop.abort();
    await Promise.all(this.#running);
    await rm(this.#folder, { recursive: true, force: true });
  }
}
