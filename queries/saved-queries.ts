// DATA/queries.json: queries that people saved, written whole and renamed, so that it is always one state or the next.
import { existsSync, readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { storageError } from '../ingest/duckdb-errors.ts';
import type { QueryParams } from '../ingest/duckdb-query.ts';
import { Mutex } from '../ingest/mutex.ts';
import { syncPath } from '../ingest/sync-path.ts';
import { TracehouseError } from '../schema/errors.ts';

export interface SavedQuery {
  readonly name: string;
  readonly id: string;
  readonly sql: string;
  /** Values of parameters that a caller leaves out. */
  readonly params: QueryParams | null;
  /** What the statement takes: names, or '1', '2', ... */
  readonly parameters: readonly string[];
  readonly description: string | null;
  readonly saved_ns: bigint;
}

const VERSION = 1;

export class SavedQueries {
  readonly #folder: string;
  readonly #mutex = new Mutex();
  #queries: readonly SavedQuery[] | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** In the order in which they were saved; a name or an id may be there more than once. Error: saved-queries-damaged. */
  all(): readonly SavedQuery[] {
    this.#queries ??= this.#read();
    return this.#queries;
  }

  #read(): readonly SavedQuery[] {
    const path = join(this.#folder, 'queries.json');
    if (!existsSync(path)) return [];
    try {
      const { version, queries } = JSON.parse(readFileSync(path, 'utf8')) as { version: number; queries: (Omit<SavedQuery, 'saved_ns'> & { saved_ns: string })[] };
      if (version !== VERSION) throw new Error(`its version is ${version}`);
      return queries.map((query) => ({ ...query, saved_ns: BigInt(query.saved_ns) }));
    } catch (error) {
      throw new TracehouseError('saved-queries-damaged', `${path} cannot be read: ${(error as Error).message}`, { mend: 'mend it, or move it away to begin without saved queries', cause: error });
    }
  }

  /** Settles when the change is on disk; a change that cannot be written has not happened. Errors: saved-queries-damaged, disk-full. */
  change(make: (queries: readonly SavedQuery[]) => readonly SavedQuery[]): Promise<void> {
    return this.#mutex.run(async () => {
      const queries = make(this.all());
      await this.#write(queries).catch((error: unknown) => Promise.reject(storageError(error, this.#folder)));
      this.#queries = queries;
    });
  }

  async #write(queries: readonly SavedQuery[]): Promise<void> {
    const [path, partial] = [join(this.#folder, 'queries.json'), join(this.#folder, 'queries.json.part')];
    const handle = await open(partial, 'w', 0o600);
    try {
      await handle.writeFile(`${JSON.stringify({ version: VERSION, queries: queries.map((query) => ({ ...query, saved_ns: String(query.saved_ns) })) }, null, 1)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(partial, path);
    await syncPath(this.#folder);
  }
}
