// Warehouse, correlator and API around one data folder: what `up` and `serve` have in common.
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { buildApp } from '../api/app.ts';
import { OtlpExporter } from '../api/otlp/exporter.ts';
import type { OtlpTarget } from '../api/otlp/target.ts';
import { exportQueries } from '../api/sql-export.ts';
import type { SqlJobOptions } from '../api/sql-jobs.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import type { SqlPoolOptions } from '../api/sql-worker/pool.ts';
import { listenBoth, type Listening } from '../api/listen.ts';
import type { Batch } from '../ingest/batch.ts';
import { storageError } from '../ingest/duckdb-errors.ts';
import { WRITING_LANES } from '../ingest/segment-writer.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { CycleLoad, pauseAfter } from '../queries/cycle-pace.ts';
import { ColdCache } from '../queries/export/cold-cache.ts';
import { ExportScheduler, type KeepLimits } from '../queries/export/scheduler.ts';
import { TracehouseError } from '../schema/errors.ts';
import { openAccess, readAccess, type AccessRequest } from './access.ts';
import { BatchQueue } from './batch-queue.ts';
import { sleep } from './signals.ts';

export interface ServerOptions {
  readonly folder: string;
  readonly listen: string;
  readonly memory_limit: string;
  /** Without it: loopback, and no token. */
  readonly access?: AccessRequest;
  /** What the warehouse may hold; everything, for ever, unless it is said. */
  readonly keep?: KeepLimits;
  /** Disk for exported files that are brought back from afar. */
  readonly cold_cache_bytes?: number | undefined;
  /** What statements of strangers may take. */
  readonly sql?: Omit<SqlPoolOptions, 'log'>;
  readonly sql_jobs?: Partial<SqlJobOptions>;
  /** Where finished traces are sent, if anywhere. */
  readonly otlp?: OtlpTarget | undefined;
  log(line: string): void;
  /** What was submitted is stored, and used no longer. */
  on_stored?(batch: Batch): void;
  /** Too many batches wait: the collector should pause (true) or go on (false). */
  on_pressure?(full: boolean): void;
}

/** Correlation steps aside for batches for so long at a time. */
const MOST_WAIT_MS = 100;
const COLD_CACHE_BYTES = 2 * 1024 ** 3;
/** At the end, for traces that the collector has not been told of; the next start goes on with the rest. */
const MOST_LAST_SENDING_MS = 5000;

function lost(error: unknown, batches: number): TracehouseError {
  const mend = error instanceof TracehouseError ? error.mend : undefined;
  return new TracehouseError('not-stored', `${(error as Error).message}: the last ${batches} batches could not be stored`, { cause: error, ...(mend === undefined ? {} : { mend }) });
}

interface ServerParts {
  readonly warehouse: Warehouse;
  readonly sql: SqlPool;
  readonly correlator: Correlator;
  readonly exporter: ExportScheduler;
  readonly cold: ColdCache;
  readonly otlp: OtlpExporter | undefined;
  readonly queue: BatchQueue<Batch>;
  readonly listening: Listening;
  readonly storing: { closing: boolean };
  readonly log: (line: string) => void;
}

/** After a cycle that failed, which the next one begins with reading everything anew. */
const FAILED_PAUSE_MS = 400;

export class Server {
  readonly warehouse: Warehouse;
  readonly url: string;
  readonly #correlator: Correlator;
  readonly #sql: SqlPool;
  readonly #exporter: ExportScheduler;
  readonly #cold: ColdCache;
  readonly #otlp: OtlpExporter | undefined;
  readonly #queue: BatchQueue<Batch>;
  readonly #listening: Listening;
  readonly #storing: { closing: boolean };
  readonly #log: (line: string) => void;
  #stopping = false;
  #cycles: Promise<void>;

  private constructor(parts: ServerParts) {
    this.warehouse = parts.warehouse;
    this.#correlator = parts.correlator;
    this.#sql = parts.sql;
    this.#exporter = parts.exporter;
    this.#cold = parts.cold;
    this.#otlp = parts.otlp;
    this.#queue = parts.queue;
    this.#listening = parts.listening;
    this.#storing = parts.storing;
    this.#log = parts.log;
    this.url = parts.listening.url;
    this.#cycles = this.#correlate();
  }

  static async open(options: ServerOptions): Promise<Server> {
    const { address, access } = openAccess(options.access ?? readAccess({}), options);
    const warehouse = await Warehouse.open({ folder: options.folder, memory_limit: options.memory_limit, log: options.log });
    let sql: SqlPool | undefined;
    try {
      const storing = { closing: false, failing: false };
      const queue = new BatchQueue<Batch>({
        at_once: WRITING_LANES,
        apply: async (batch) => {
          await warehouse.apply(batch);
          if (storing.failing) options.log('batches are stored again');
          storing.failing = false;
        },
        on_applied: (batch) => options.on_stored?.(batch),
        on_pressure: (full) => options.on_pressure?.(full),
        on_error: async (error) => {
          if (storing.closing || (error as Partial<TracehouseError>).code === 'warehouse-broken') throw error;
          // A full disk or a passing fault: the batch waits, the pipe fills, the kernel counts what it drops.
          if (!storing.failing) options.log(`${(error as Error).message}${error instanceof TracehouseError && error.mend !== undefined ? ` (${error.mend})` : ''}; trying again`);
          storing.failing = true;
          await sleep(1000);
        },
      });
      // What is not stored is lost; what is not correlated yet is only late.
      const correlator = new Correlator(warehouse, { log: options.log, between_steps: () => queue.calm(MOST_WAIT_MS) });
      sql = new SqlPool(warehouse, { ...options.sql, log: options.log });
      const pool = sql;
      const exporter = new ExportScheduler(warehouse, { queries: exportQueries(pool), log: options.log, cut_ns: () => correlator.cut_ns, ...(options.keep === undefined ? {} : { keep: options.keep }) });
      const otlp = options.otlp === undefined ? undefined : new OtlpExporter(warehouse, { target: options.otlp, log: options.log, cut_ns: () => correlator.cut_ns });
      const cold = new ColdCache(warehouse, { limit_bytes: options.cold_cache_bytes ?? COLD_CACHE_BYTES, log: options.log });
      const app = (): FastifyInstance => buildApp({ warehouse, sql: pool, correlator, exporter, cold, ...(otlp === undefined ? {} : { otlp }) }, { log: options.log, sql_jobs: options.sql_jobs ?? {}, access });
      const listening = await listenBoth(app, { address, socket_path: join(options.folder, 'tracehouse.sock') });
      exporter.start();
      otlp?.start();
      return new Server({ warehouse, sql, correlator, exporter, cold, otlp, queue, listening, storing, log: options.log });
    } catch (error) {
      await sql?.close();
      await warehouse.close();
      throw error;
    }
  }

  /** Resolves when nothing can be stored or read any more; to be closed then, and the process started anew. */
  get broken(): Promise<Error> {
    return this.warehouse.broken;
  }

  /** Batches wait to be stored. */
  get busy(): boolean {
    return this.#queue.length > 1;
  }

  submit(batch: Batch): void {
    this.#queue.push(batch);
  }

  /** Flush, correlate, checkpoint. What cannot be stored by now is given up, with the reason as an error. */
  async close(): Promise<void> {
    this.#correlator.leaveLate();
    this.#exporter.stop(); // requests wait for runs
    await this.#listening.close();
    await this.#exporter.close();
    await this.#sql.close();
    await this.#cold.close();
    this.#storing.closing = true;
    const [drained] = await Promise.allSettled([this.#queue.drain()]);
    this.#stopping = true;
    await this.#cycles;
    const [finished] = await Promise.allSettled([this.#correlator.finish()]);
    // Up to the cut everything is stored if correlation has come to its end; else what waits is sent after the next start.
    await (finished.status === 'rejected' ? this.#otlp?.close() : this.#otlp?.finish(MOST_LAST_SENDING_MS));
    await this.warehouse.close();
    if (drained.status === 'rejected') throw lost(drained.reason, this.#queue.length);
    if (finished.status === 'rejected') throw storageError(finished.reason, this.warehouse.folder);
  }

  async #correlate(): Promise<void> {
    let failing = false;
    const load = new CycleLoad();
    while (!this.#stopping) {
      const begun = performance.now();
      try {
        const { behind } = await this.#correlator.cycle();
        failing = false;
        this.warehouse.noteLoad(load.note(performance.now() - begun, behind));
        if (behind) continue;
      } catch (error) {
        this.warehouse.noteLoad(load.note(performance.now() - begun, false));
        if (!failing) this.#log(`correlation: ${(error as Error).message}; trying again`);
        failing = true;
      }
      const pause_ms = pauseAfter(performance.now() - begun);
      await sleep(failing ? Math.max(pause_ms, FAILED_PAUSE_MS) : pause_ms);
    }
  }
}
