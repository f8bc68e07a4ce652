// The processes that statements run in: one is kept ready, more only for a while, and none that has grown or was let forward.
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { SqlLimits } from '../../queries/sql-limits.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { FRAME } from './frames.ts';
import { WorkerClient } from './worker-client.ts';

export interface WorkerLimits {
  readonly limits: SqlLimits;
  readonly memory_bytes: number;
  readonly temp_bytes: number;
  readonly threads: number;
  readonly log: (line: string) => void;
}

/** Kept for the next statement; more than one only for a while. */
const WARM = 1;
const IDLE_MS = 60_000;
/** Idle workers let go of files that are no longer part of anything. */
const REFRESH_MS = 5000;
const SOON_MS = 500;
/** Beyond DuckDB's own limit: rows on their way, JavaScript. */
export const SPARE_BYTES = 384e6;
/** One that has come to hold more is not used again: the next statement would have that much less, and could end in the middle of its answer. */
const KEPT_BYTES = 150e6;
/** All statements together leave the disk at least this share of what is free. */
const DISK_SHARE = 0.5;

interface Idle {
  readonly worker: WorkerClient;
  readonly since_ms: number;
}

export class WarmWorkers {
  readonly #warehouse: Warehouse;
  readonly #options: WorkerLimits;
  readonly #folder: string;
  readonly #all = new Set<WorkerClient>();
  readonly #coming = new Set<Promise<WorkerClient>>();
  readonly #timer: NodeJS.Timeout;
  readonly #resting = new Set<Promise<void>>();
  #idle: Idle[] = [];
  /** Starts, and is nobody's yet. */
  #spare: Promise<WorkerClient> | undefined;
  #refreshing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(warehouse: Warehouse, options: WorkerLimits) {
    this.#warehouse = warehouse;
    this.#options = options;
    mkdirSync(join(warehouse.folder, 'tmp'), { recursive: true });
    this.#folder = mkdtempSync(join(warehouse.folder, 'tmp', 'sql-'));
    this.#timer = setInterval(() => {
      this.#refreshing = this.#refresh();
    }, REFRESH_MS).unref();
    this.#keepWarm();
  }

  #tempBytes(): number {
    const { bavail, bsize } = statfsSync(this.#folder);
    const share = Math.floor((bavail * bsize * DISK_SHARE) / this.#options.limits.at_once);
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
    if (this.#closed || this.#spare !== undefined || this.#idle.length + this.#resting.size >= WARM) return;
    const spare = this.#start();
    const isNobodys = (): boolean => {
      if (this.#spare !== spare) return false;
      this.#spare = undefined;
      return true;
    };
    this.#spare = spare;
    spare.then((worker) => isNobodys() && this.giveBack(worker, true), (error: Error) => isNobodys() && !this.#closed && this.#options.log(error.message));
  }

  /** For one job. Errors: not-ready, and what keeps a process from starting. */
  async take(): Promise<WorkerClient> {
    // Those that are being refreshed, or give memory back, may be waiting for the processor themselves.
    if (this.#idle.length === 0) await Promise.race([Promise.all([this.#refreshing, ...this.#resting]), delay(SOON_MS, undefined, { ref: false })]);
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (!idle.worker.ended) return idle.worker;
      this.dismiss(idle.worker);
    }
    // Two that start at once take twice as long.
    const spare = this.#spare;
    this.#spare = undefined;
    return spare ?? this.#start();
  }

  /** whole: its job ended in order. */
  giveBack(worker: WorkerClient, whole: boolean): void {
    if (!whole || worker.let_forward || worker.ended || this.#closed) {
      this.dismiss(worker);
      return this.#keepWarm();
    }
    const resting = this.#rest(worker).finally(() => {
      this.#resting.delete(resting);
      this.#keepWarm();
    });
    this.#resting.add(resting);
  }

  async #rest(worker: WorkerClient): Promise<void> {
    await worker.rest();
    if (worker.ended || this.#closed || worker.grown_bytes >= KEPT_BYTES) this.dismiss(worker);
    else this.#idle.push({ worker, since_ms: performance.now() });
  }

  dismiss(worker: WorkerClient): void {
    this.#all.delete(worker);
    worker.close().catch((error: Error) => this.#options.log(`what a process for SQL had on disk stays: ${error.message}`));
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
      else this.dismiss(worker);
    }
    this.#keepWarm();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await Promise.allSettled(this.#coming);
    await Promise.all([...this.#all].map((worker) => worker.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
