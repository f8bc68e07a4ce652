// Files that DuckDB gave up on after a checkpoint that failed. They are detached at once, but cannot be opened again while a
// statement that began before still holds them; until they are open again, whoever reads or writes them fails.
import { setTimeout as delay } from 'node:timers/promises';
import { TracehouseError } from '../schema/errors.ts';
import { isStillHeld } from './duckdb-errors.ts';
import { Mutex } from './mutex.ts';

const MOST_TRIES = 20;
const RETRY_MS = 50;

export interface OpenFile {
  readonly uid: string;
  readonly alias: string;
  readonly path: string;
}

export interface Attaching {
  attach(file: OpenFile): Promise<void>;
  detach(file: OpenFile): Promise<void>;
}

export class GivenUpFiles {
  readonly #attaching: Attaching;
  readonly #mutex = new Mutex();
  readonly #away = new Map<string, OpenFile>();

  constructor(attaching: Attaching) {
    this.#attaching = attaching;
  }

  /** Error segment-busy: it is still held after a second; it stays away, and openAll tries again. */
  openAgain(file: OpenFile): Promise<void> {
    this.#away.set(file.uid, file);
    return this.openAll();
  }

  openAll(): Promise<void> {
    if (this.#away.size === 0) return Promise.resolve();
    return this.#mutex.run(async () => {
      for (const file of this.#away.values()) await this.#open(file);
    });
  }

  async #open(file: OpenFile): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      await this.#attaching.detach(file).catch(() => undefined); // an earlier attempt may have come this far
      try {
        await this.#attaching.attach(file);
        this.#away.delete(file.uid);
        return;
      } catch (error) {
        if (!isStillHeld(error)) throw error;
        if (tries === MOST_TRIES) {
          throw new TracehouseError('segment-busy', `${file.path} could not be written to, and is still read by a statement that began before that`, { mend: 'it is opened again when that statement is over', cause: error });
        }
        await delay(RETRY_MS);
      }
    }
  }
}
