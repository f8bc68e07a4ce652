// Where the query of an export runs: it is a stranger's statement like any other.
import type { Warehouse } from '../../ingest/warehouse.ts';
import { runQuery } from '../../ingest/duckdb-query.ts';
import { sqlText } from '../../ingest/duckdb-instance.ts';
import { requireAllowed } from '../sql-allowed.ts';
import { publicViews } from '../sql-gate.ts';

export interface QueryRunner {
  /** Name and type of each column. Errors: those of ad-hoc SQL. */
  columns(sql: string): Promise<[name: string, type: string][]>;
  /** All its rows as a new Parquet file; how many. Errors: those of ad-hoc SQL. */
  writeParquet(sql: string, path: string): Promise<bigint>;
  /** What is under way fails, and so does all that is asked from now on. */
  close?(): void;
}

/** In this process: for the owner of the data folder, who can do no more by it than before. */
export function queryHere(warehouse: Warehouse): QueryRunner {
  const allowed = async (sql: string): Promise<void> => requireAllowed(warehouse, await publicViews(warehouse), sql);
  return {
    columns: async (sql) => {
      await allowed(sql);
      return (await warehouse.query(`DESCRIBE SELECT * FROM (${sql}\n)`)).rows.map(([name, type]) => [name as string, type as string]);
    },
    writeParquet: async (sql, path) => {
      await allowed(sql);
      const connection = await warehouse.connect();
      try {
        await connection.run(`COPY (${sql}) TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd)`);
        return (await runQuery(connection, `SELECT count(*) FROM read_parquet(${sqlText(path)})`)).rows[0]?.[0] as bigint;
      } finally {
        connection.closeSync();
      }
    },
  };
}
