// DATA/ledger.duckdb: what must outlive the segments it speaks of, and the lock that one process holds on the folder.
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';
import { checkpointWhenFree } from './checkpoint.ts';
import { checkpointBytes, hasRoom } from './disk-room.ts';
import type { AppliedBatches } from './ledger.ts';
import { sqlText } from './duckdb-instance.ts';
import { Mutex } from './mutex.ts';

/** Of the data folder as a whole; raised when an older tracehouse must not touch it any more. */
export const WAREHOUSE_VERSION = 1n;

/** Ranges of consecutive sequence numbers of each run, from any relation with the columns of batches. */
const ISLANDS = (from: string): string => `
  SELECT node, boot_id, run_id, min(sequence) AS from_sequence, max(sequence) AS to_sequence
  FROM (SELECT node, boot_id, run_id, sequence, sequence - row_number() OVER (PARTITION BY node, boot_id, run_id ORDER BY sequence) AS island FROM ${from})
  GROUP BY node, boot_id, run_id, island`;

export class LedgerStore {
  readonly #connection: DuckDBConnection;
  readonly #path: string;
  readonly #mutex = new Mutex();

  private constructor(connection: DuckDBConnection, path: string) {
    this.#connection = connection;
    this.#path = path;
  }

  /** Takes the lock: DuckDB's own on the file, which the kernel lets go when the process dies, however it dies. */
  static async open(connection: DuckDBConnection, folder: string, read_only: boolean): Promise<LedgerStore> {
    const path = `${folder}/ledger.duckdb`;
    if (read_only && !existsSync(path)) {
      throw new TracehouseError('warehouse-missing', `${folder} holds no warehouse`, { mend: 'name the folder that `tracehouse up` or `serve` wrote with --data, or a running server with --url' });
    }
    await connection.run(`ATTACH ${sqlText(path)} AS ledger ${read_only ? '(READ_ONLY)' : ''}`);
    const store = new LedgerStore(connection, path);
    if (!read_only) {
      await connection.run(`
        CREATE TABLE IF NOT EXISTS ledger.numbers (name VARCHAR, value BIGINT);
        CREATE TABLE IF NOT EXISTS ledger.applied (node VARCHAR, boot_id VARCHAR, run_id BIGINT, from_sequence BIGINT, to_sequence BIGINT);
        INSERT INTO ledger.numbers SELECT 'warehouse_version', ${WAREHOUSE_VERSION} WHERE NOT EXISTS (SELECT 1 FROM ledger.numbers WHERE name = 'warehouse_version')`);
    }
    const version = (await store.#number('warehouse_version')) ?? WAREHOUSE_VERSION;
    if (version > WAREHOUSE_VERSION) {
      throw new TracehouseError('warehouse-version', `${folder} was written by a newer version (data format ${version}, known up to ${WAREHOUSE_VERSION})`, { mend: 'update tracehouse' });
    }
    return store;
  }

  async #number(name: string): Promise<bigint | undefined> {
    const result = await this.#connection.run(`SELECT max(value) FROM ledger.numbers WHERE name = ${sqlText(name)}`);
    return ((await result.getRows())[0]?.[0] ?? undefined) as bigint | undefined;
  }

  /** Adds what the ledger and the given batches relation know. Returns the highest apply_no ever given. */
  async load(applied: AppliedBatches, batches: string): Promise<bigint> {
    for (const from of ['ledger.applied', `(${ISLANDS(batches)})`]) {
      const result = await this.#connection.run(`SELECT node, boot_id, run_id, from_sequence, to_sequence FROM ${from}`);
      for (const [node, boot_id, run_id, low, high] of (await result.getRows()) as [string, string, bigint, bigint, bigint][]) {
        applied.add({ node, boot_id, run_id }, low, high);
      }
    }
    const result = await this.#connection.run(`SELECT max(apply_no) FROM ${batches}`);
    const here = ((await result.getRows())[0]?.[0] ?? 0n) as bigint;
    const before = (await this.#number('last_apply_no')) ?? 0n;
    return here > before ? here : before;
  }

  /** What noteLate has told since forgetLate: ns since 1970. */
  async late(): Promise<{ from_ns: bigint; to_ns: bigint } | null> {
    const result = await this.#connection.run(`SELECT min(value) FILTER (name = 'late_from_ns'), max(value) FILTER (name = 'late_to_ns') FROM ledger.numbers`);
    const [from_ns, to_ns] = (await result.getRows())[0] as [bigint | null, bigint | null];
    return from_ns === null || to_ns === null ? null : { from_ns, to_ns };
  }

  /** A part of history is to be correlated again, and this has to outlive the process. */
  noteLate(from_ns: bigint, to_ns: bigint): Promise<void> {
    return this.alone(async (connection) => void (await connection.run(`INSERT INTO ledger.numbers VALUES ('late_from_ns', ${from_ns}), ('late_to_ns', ${to_ns})`)));
  }

  forgetLate(): Promise<void> {
    return this.alone(async (connection) => void (await connection.run("DELETE FROM ledger.numbers WHERE name IN ('late_from_ns', 'late_to_ns')")));
  }

  /** Nothing else gets into a transaction that work begins on the connection. */
  alone<T>(work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
    return this.#mutex.run(() => work(this.#connection));
  }

  /** Before segments are dropped: everything applied so far stays known without them. */
  keep(applied: AppliedBatches, last_apply_no: bigint): Promise<void> {
    return this.alone(() => this.#keep(applied, last_apply_no));
  }

  async #keep(applied: AppliedBatches, last_apply_no: bigint): Promise<void> {
    const rows = [...applied.entries()].map(({ run, from, to }) => `(${sqlText(run.node)}, ${sqlText(run.boot_id)}, ${run.run_id}, ${from}, ${to})`);
    await this.#connection.run('BEGIN');
    try {
      await this.#connection.run('DELETE FROM ledger.applied');
      for (let at = 0; at < rows.length; at += 1000) {
        await this.#connection.run(`INSERT INTO ledger.applied VALUES ${rows.slice(at, at + 1000).join(', ')}`);
      }
      await this.#connection.run(`DELETE FROM ledger.numbers WHERE name = 'last_apply_no'`);
      await this.#connection.run(`INSERT INTO ledger.numbers VALUES ('last_apply_no', ${last_apply_no})`);
      await this.#connection.run('COMMIT');
    } catch (error) {
      await this.#connection.run('ROLLBACK').catch(() => undefined);
      throw error;
    }
    // Durable in its log; where a checkpoint fails for want of room, DuckDB gives up on the file that all views name. The next one makes up for it.
    if (await hasRoom(dirname(this.#path), checkpointBytes(this.#path))) await checkpointWhenFree(this.#connection, 'ledger');
  }

  async close(): Promise<void> {
    await this.#connection.run('DETACH ledger');
  }
}
