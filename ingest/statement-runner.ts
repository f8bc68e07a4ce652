import type { DuckDBResult } from '@duckdb/node-api';

/** A connection, or what stands for one: one statement at a time, or several with `;`, of which the last one's result is given. */
export interface StatementRunner {
  run(sql: string): Promise<DuckDBResult>;
}
