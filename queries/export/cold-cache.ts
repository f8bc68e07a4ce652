// Exported files that DuckDB cannot read where they are, brought into DATA/cold-cache: what an answer needs, as long as it is
// little, and what somebody asks for. The copy that was used longest ago makes room for a new one.
import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Asked } from '../../ingest/cold-archive.ts';
import { requireRoom } from '../../ingest/disk-room.ts';
import type { ColdFile } from '../../ingest/export-ledger.ts';
import { syncPath } from '../../ingest/sync-path.ts';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { openDestination } from './destination.ts';
import type { Destination } from './destination.ts';

export interface ColdCacheOptions {
  /** 0: nothing is brought here. */
  readonly limit_bytes: number;
  readonly log?: (line: string) => void;
  /** A copy that the relations no longer name stays so long for statements that still read it. */
  readonly linger_ms?: number;
}

export interface FetchProgress {
  readonly files: number;
  readonly of_files: number;
  readonly bytes: number;
  readonly of_bytes: number;
}

export interface ColdState {
  /** Files that stand in for dropped segments. */
  readonly files: number;
  readonly bytes: number;
  /** Of these cannot be read without being brought here. */
  readonly away_files: number;
  readonly away_bytes: number;
  readonly away_rows: number;
  readonly away_min_ns: bigint | null;
  readonly away_max_ns: bigint | null;
  readonly cached_bytes: number;
  readonly limit_bytes: number;
  /** What somebody asked for and is on its way. */
  readonly fetching: FetchProgress | null;
  /** Of the last thing that was asked for. */
  readonly last_error: string | null;
}

/** An answer waits for so much at most; beyond, it says what it lacks. */
const MOST_SHARE = 0.25;
/** And so long. */
const MOST_WAIT_MS = 20_000;
/** What did not come is not tried again for every answer. */
const TRY_AGAIN_MS = 60_000;
const AT_ONCE = 4;
const LINGER_MS = 90_000;
/** At the end. */
const LAST_COMING_MS = 10_000;

const bytesOf = (files: readonly ColdFile[]): number => files.reduce((sum, { bytes }) => sum + Number(bytes), 0);

export class ColdCache {
  readonly #warehouse: Warehouse;
  readonly #options: Required<ColdCacheOptions>;
  readonly #sizes = new Map<string, number>();
  readonly #coming = new Map<string, Promise<void>>();
  readonly #leaving = new Map<string, NodeJS.Timeout>();
  readonly #stores = new Map<string, Promise<Destination>>();
  /** Needed by somebody at this moment. */
  readonly #wanted = new Map<string, number>();
  readonly #failed_ms = new Map<string, number>();
  #fetching: FetchProgress | null = null;
  #last_error: string | null = null;
  #closed = false;

  constructor(warehouse: Warehouse, options: ColdCacheOptions) {
    this.#warehouse = warehouse;
    this.#options = { log: () => undefined, linger_ms: LINGER_MS, ...options };
    mkdirSync(this.#folder, { recursive: true });
    const known = new Set(warehouse.archive.files().map(({ file }) => this.#places.nameOf(file)));
    for (const name of readdirSync(this.#folder)) {
      // Half a copy, or a copy of what has been written anew.
      if (known.has(name)) {
        this.#sizes.set(name, statSync(join(this.#folder, name)).size);
      } else {
        this.#places.leaving(name);
        rmSync(join(this.#folder, name), { force: true });
      }
    }
  }

  get #places() {
    return this.#warehouse.archive.places;
  }

  get #folder(): string {
    return this.#places.cache_folder;
  }

  get #bytes(): number {
    return [...this.#sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** What an answer lacks, if it is little enough to wait for. Never an error: what did not come is still away. */
  async bringFor(lacking: readonly ColdFile[]): Promise<void> {
    const files = lacking.filter((file) => performance.now() - (this.#failed_ms.get(this.#places.nameOf(file)) ?? -Infinity) > TRY_AGAIN_MS);
    if (this.#closed || bytesOf(files) > this.#options.limit_bytes * MOST_SHARE) return;
    const coming = this.#bring(files, () => undefined).catch((error: Error) => this.#options.log(`exported files that an answer needs did not come: ${error.message}`));
    const enough = new AbortController();
    await Promise.race([coming, delay(MOST_WAIT_MS, undefined, { signal: enough.signal }).catch(() => undefined)]);
    enough.abort();
  }

  /** Everything that is away of what is asked for; settles when it is here. Errors: cold-busy, cold-too-much, cold-failed, disk-full. */
  async fetch(asked: Asked): Promise<{ files: number; bytes: number }> {
    if (this.#fetching !== null) throw new TracehouseError('cold-busy', 'exported files are being fetched already', { mend: 'wait until that is done: GET /api/v1/cold says how far it is' });
    const { limit_bytes } = this.#options;
    const files = this.#warehouse.archive.files(asked).filter(({ is_here }) => !is_here).map(({ file }) => file);
    const of_bytes = bytesOf(files);
    if (of_bytes > limit_bytes) {
      throw new TracehouseError('cold-too-much', `${files.length} files of ${of_bytes} bytes are away, and --cold-cache holds ${limit_bytes}`, { mend: 'ask for a shorter time or fewer relations, or start with a bigger --cold-cache' });
    }
    let progress: FetchProgress = { files: 0, of_files: files.length, bytes: 0, of_bytes };
    this.#fetching = progress;
    this.#last_error = null;
    try {
      await this.#bring(files, ({ bytes }) => {
        progress = { ...progress, files: progress.files + 1, bytes: progress.bytes + Number(bytes) };
        this.#fetching = progress;
      });
      return { files: files.length, bytes: of_bytes };
    } catch (error) {
      this.#last_error = (error as Error).message;
      throw error;
    } finally {
      this.#fetching = null;
    }
  }

  async #bring(files: readonly ColdFile[], done: (file: ColdFile) => void): Promise<void> {
    if (files.length === 0) return;
    const names = files.map((file) => this.#places.nameOf(file));
    for (const name of names) this.#wanted.set(name, (this.#wanted.get(name) ?? 0) + 1);
    try {
      this.#makeRoom(bytesOf(files));
      await requireRoom(this.#warehouse.folder, bytesOf(files));
      const queue = [...files];
      const work = async (): Promise<void> => {
        for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
          try {
            await this.#bringOne(file);
            done(file);
          } catch (error) {
            queue.length = 0;
            throw error;
          }
        }
      };
      const results = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    } finally {
      for (const name of names) this.#release(name);
      this.#makeRoom(0);
      await this.#warehouse.archive.show();
    }
  }

  #release(name: string): void {
    const left = (this.#wanted.get(name) ?? 1) - 1;
    if (left === 0) this.#wanted.delete(name);
    else this.#wanted.set(name, left);
  }

  #bringOne(file: ColdFile): Promise<void> {
    const name = this.#places.nameOf(file);
    const coming = this.#coming.get(name) ?? this.#download(file, name).finally(() => this.#coming.delete(name));
    this.#coming.set(name, coming);
    return coming;
  }

  async #download(file: ColdFile, name: string): Promise<void> {
    if (this.#closed) throw new TracehouseError('not-ready', 'the server is shutting down');
    if (this.#places.pathOf(file) !== null) return;
    const lingering = this.#leaving.get(name);
    if (lingering === undefined) await this.#copy(file, name);
    else clearTimeout(lingering); // its bytes are still there
    this.#leaving.delete(name);
    this.#sizes.set(name, Number(file.bytes));
    this.#places.arrived(file);
  }

  async #copy(file: ColdFile, name: string): Promise<void> {
    const partial = join(this.#folder, `${name}.part`);
    const hash = createHash('sha256');
    try {
      const store = await this.#store(file.destination);
      const summing = new Transform({
        transform(chunk: Buffer, _encoding, next) {
          hash.update(chunk);
          next(null, chunk);
        },
      });
      await pipeline(await store.get(file.path), summing, createWriteStream(partial));
      if (hash.digest('hex') !== file.checksum) throw new Error('it is not what was written there: its checksum is another');
      await syncPath(partial);
      await rename(partial, join(this.#folder, name));
    } catch (error) {
      this.#failed_ms.set(name, performance.now());
      await rm(partial, { force: true });
      throw error instanceof TracehouseError ? error : new TracehouseError('cold-failed', `${file.destination}/${file.path}: ${(error as Error).message}`, { mend: 'what has come stays; ask again when the place can be reached', cause: error });
    }
  }

  #store(destination: string): Promise<Destination> {
    const store = this.#stores.get(destination) ?? openDestination(destination);
    this.#stores.set(destination, store);
    return store;
  }

  /** Down to the limit, with so much more to come; what somebody needs now stays. */
  #makeRoom(more_bytes: number): void {
    let over = this.#bytes + more_bytes - this.#options.limit_bytes;
    for (const name of this.#places.copies) {
      if (over <= 0) return;
      if (this.#wanted.has(name)) continue;
      over -= this.#sizes.get(name) ?? 0;
      this.#sizes.delete(name);
      this.#places.leaving(name);
      const timer = setTimeout(() => {
        this.#leaving.delete(name);
        try {
          rmSync(join(this.#folder, name), { force: true });
        } catch (error) {
          this.#options.log(`a copy of an exported file stays until the next start: ${(error as Error).message}`);
        }
      }, this.#options.linger_ms);
      this.#leaving.set(name, timer.unref());
    }
  }

  state(asked: Asked = {}): ColdState {
    const files = this.#warehouse.archive.files(asked);
    const away = files.filter(({ is_here }) => !is_here).map(({ file }) => file);
    const all = files.map(({ file }) => file);
    return {
      files: all.length, bytes: bytesOf(all), away_files: away.length, away_bytes: bytesOf(away), away_rows: away.reduce((sum, { rows }) => sum + Number(rows), 0),
      away_min_ns: away.reduce<bigint | null>((least, { min_ns }) => (min_ns !== null && (least === null || min_ns < least) ? min_ns : least), null),
      away_max_ns: away.reduce<bigint | null>((most, { max_ns }) => (max_ns !== null && (most === null || max_ns > most) ? max_ns : most), null),
      cached_bytes: this.#bytes, limit_bytes: this.#options.limit_bytes, fetching: this.#fetching, last_error: this.#last_error,
    };
  }

  /** Lets what is on its way come, for some seconds, and removes what lingers. */
  async close(): Promise<void> {
    this.#closed = true;
    const late = setTimeout(() => void this.#closeStores(), LAST_COMING_MS);
    await Promise.allSettled(this.#coming.values());
    clearTimeout(late);
    for (const [name, timer] of this.#leaving) {
      clearTimeout(timer);
      rmSync(join(this.#folder, name), { force: true });
    }
    await this.#closeStores();
  }

  async #closeStores(): Promise<void> {
    for (const store of await Promise.allSettled(this.#stores.values())) if (store.status === 'fulfilled') store.value.close();
  }
}
