import type { DuckDBConnection } from '@duckdb/node-api';
import type { QueryParams, QueryResult } from './duckdb-query.ts';

/** Where SQL runs: the warehouse itself, or a process that reads its files. */
export interface SqlSource {
  /** Has a folder tmp for what does not fit into memory. */
  readonly folder: string;
  /** Trusted SQL. */
  query(sql: string, params?: QueryParams): Promise<QueryResult>;
  /** The caller closes it. */
  connect(): Promise<DuckDBConnection>;
}
