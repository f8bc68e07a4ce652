// DuckDB for the COPYs of an export, apart from the one that stores and answers: no thread that asks for a COPY spins on a processor
// while another has the last piece of it (a quarter of an export's processor time), and settings for that are nobody else's.
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { closeInstance, openInstance, sqlName, sqlText } from '../../ingest/duckdb-instance.ts';
import type { Segment } from '../../ingest/segment-catalog.ts';
import { runUnasked } from '../unasked-run.ts';
import type { Copy } from './write-parquet.ts';

/** A file is a row group or a few; what has to be sorted beyond it goes to a folder of its own in DATA/tmp. */
const MEMORY = '256MB';
const TEMP = '2GB';
/** A file is mostly a single row group, which only one thread writes. */
const [THREADS, AT_ONCE] = [2, 2];

export class CopyInstance {
  readonly #instance: DuckDBInstance;
  readonly #connections: readonly DuckDBConnection[];
  readonly #temp_folder: string;

  private constructor(instance: DuckDBInstance, connections: readonly DuckDBConnection[], temp_folder: string) {
    this.#instance = instance;
    this.#temp_folder = temp_folder;
    this.#connections = connections;
  }

  /** folder: of the warehouse. */
  static async open(folder: string): Promise<CopyInstance> {
    const temp_folder = await mkdtemp(join(folder, 'tmp', 'export-'));
    let instance: DuckDBInstance | undefined;
    try {
      instance = await openInstance({ folder, more_folders: [], memory_limit: MEMORY, temp_limit: TEMP, temp_folder, threads: THREADS });
      const connections: DuckDBConnection[] = [];
      for (let at = 0; at < AT_ONCE; at += 1) connections.push(await instance.connect());
      await connections[0]?.run('SET GLOBAL external_threads = 0');
      return new CopyInstance(instance, connections, temp_folder);
    } catch (error) {
      if (instance !== undefined) await closeInstance(instance);
      await rm(temp_folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** While its file is attached here; it must stay where it is. */
  async withSegment<T>({ alias, path }: Segment, work: (copies: readonly Copy[]) => Promise<T>): Promise<T> {
    const [first] = this.#connections as [DuckDBConnection];
    await first.run(`ATTACH ${sqlText(path)} AS ${sqlName(alias)} (READ_ONLY)`);
    try {
      return await work(this.#connections.map((connection) => async (sql: string) => runUnasked(await connection.prepare(sql))));
    } finally {
      await first.run(`DETACH ${sqlName(alias)}`);
    }
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.closeSync();
    await closeInstance(this.#instance);
    await rm(this.#temp_folder, { recursive: true, force: true });
  }
}
