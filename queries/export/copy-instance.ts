// DuckDB for the COPYs of an export, apart from the one that stores and answers: no thread that asks for a COPY spins on a processor
// while another has the last piece of it (a quarter of an export's processor time), and settings for that are nobody else's.
import { sqlName, sqlText } from '../../ingest/duckdb-instance.ts';
import type { Segment } from '../../ingest/segment-catalog.ts';
import { SideInstance } from '../../ingest/side-instance.ts';
import type { SideConnection } from '../../ingest/side-instance.ts';
import type { Copy } from './write-parquet.ts';

/** A file is a row group or a few; what has to be sorted beyond it goes to a folder of its own in DATA/tmp. */
const MEMORY = '256MB';
const TEMP = '2GB';
/** A file is mostly a single row group, which only one thread writes. */
const [THREADS, AT_ONCE] = [2, 2];

export class CopyInstance {
  readonly #side: SideInstance;
  readonly #connections: readonly SideConnection[];

  private constructor(side: SideInstance, connections: readonly SideConnection[]) {
    this.#side = side;
    this.#connections = connections;
  }

  /** folder: of the warehouse. */
  static async open(folder: string): Promise<CopyInstance> {
    const side = await SideInstance.open({ folder, name: 'export', memory_limit: MEMORY, temp_limit: TEMP, threads: THREADS });
    const connections: SideConnection[] = [];
    try {
      for (let at = 0; at < AT_ONCE; at += 1) connections.push(await side.connect());
    } catch (error) {
      await side.close();
      throw error;
    }
    return new CopyInstance(side, connections);
  }

  /** While its file is attached here; it must stay where it is. */
  async withSegment<T>({ alias, path }: Segment, work: (copies: readonly Copy[]) => Promise<T>): Promise<T> {
    const [first] = this.#connections as [SideConnection];
    await first.run(`ATTACH ${sqlText(path)} AS ${sqlName(alias)} (READ_ONLY)`);
    try {
      return await work(this.#connections.map((connection) => async (sql: string) => void (await connection.run(sql))));
    } finally {
      await first.run(`DETACH ${sqlName(alias)}`);
    }
  }

  close(): Promise<void> {
    return this.#side.close();
  }
}
