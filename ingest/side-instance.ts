// An instance of DuckDB beside the one that stores and answers, in the same process: what copies much has memory of its own, and threads of
// its own, which no statement that waits for an answer shares. Nobody asks for a result before it is there (unasked-run.ts).
import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, getPriority, setPriority } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { closeInstance, openInstance } from './duckdb-instance.ts';
import type { StatementRunner } from './statement-runner.ts';
import { runUnasked } from './unasked-run.ts';

export interface SideOptions {
  /** Of the warehouse: it reaches that, and spills to a folder of its own in its tmp. */
  readonly folder: string;
  /** What it is for: begins the name of that folder. */
  readonly name: string;
  readonly memory_limit: string;
  readonly temp_limit: string;
  readonly threads: number;
}

/** Its statements are run by the threads of its instance. */
export interface SideConnection extends StatementRunner {
  /** The statement that runs now, if any, fails. */
  interrupt(): void;
}

/** None where they cannot be told. */
function threadsHere(): string[] {
  try {
    return readdirSync('/proc/self/task');
  } catch {
    return [];
  }
}

export class SideInstance {
  readonly #instance: DuckDBInstance;
  readonly #temp_folder: string;
  readonly #connections: DuckDBConnection[] = [];
  /** Its threads, where they can be told from others. */
  #threads: readonly string[] = [];

  private constructor(instance: DuckDBInstance, temp_folder: string) {
    this.#instance = instance;
    this.#temp_folder = temp_folder;
  }

  static async open({ name, ...options }: SideOptions): Promise<SideInstance> {
    const temp_folder = await mkdtemp(join(options.folder, 'tmp', `${name}-`));
    const before = new Set(threadsHere());
    let side: SideInstance | undefined;
    try {
      side = new SideInstance(await openInstance({ ...options, more_folders: [], temp_folder }), temp_folder);
      const connection = await side.#instance.connect();
      side.#connections.push(connection);
      // The thread that asks is none of those that work: one more of these begins.
      await connection.run('SET GLOBAL external_threads = 0');
      const begun = threadsHere().filter((thread) => !before.has(thread));
      if (begun.length === options.threads) side.#threads = begun; // otherwise somebody else's are among them
      return side;
    } catch (error) {
      await side?.close().catch(() => undefined);
      await rm(temp_folder, { recursive: true, force: true });
      throw error;
    }
  }

  async connect(): Promise<SideConnection> {
    const connection = await this.#instance.connect();
    this.#connections.push(connection);
    return { run: (sql) => runUnasked(connection, sql), interrupt: () => connection.interrupt() };
  }

  /** Its threads are so much nicer than this process from now on, so that they get what others leave. */
  yieldBy(nicer: number): void {
    const nice = Math.min(getPriority() + nicer, constants.priority.PRIORITY_LOW);
    for (const thread of this.#threads) {
      try {
        setPriority(Number(thread), nice);
      } catch {
        // gone, or not permitted: as it was
      }
    }
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.closeSync();
    await closeInstance(this.#instance);
    await rm(this.#temp_folder, { recursive: true, force: true });
  }
}
