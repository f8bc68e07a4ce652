// The public relations as the API's own queries see them: times are read as numbers, which alone let DuckDB skip what
// cannot match.
import { Kysely } from 'kysely';
import type { DuckDBListValue } from '@duckdb/node-api';
import type { Warehouse } from '../ingest/warehouse.ts';
import { DuckDbDialect } from './kysely-duckdb-dialect.ts';

export interface TracesTable {
  trace_id: string;
  root_service: string | null;
  root_name: string | null;
  start_ns: bigint;
  duration_ns: bigint;
  span_count: bigint;
  error_count: bigint;
  /** Null: of none is the name known. */
  services: DuckDBListValue | null;
  complete: boolean;
}

export interface SpansTable {
  trace_id: string;
  span_id: string;
  parent_span_id: string | null;
  kind: string;
  service_name: string | null;
  span_name: string | null;
  start_ns: bigint;
  end_ns: bigint;
  duration_ns: bigint;
  status: string;
  node: string;
  pid: number | null;
  tid: number | null;
  process_id: bigint | null;
  thread_id: bigint | null;
  comm: string | null;
  socket_id: bigint | null;
  client_address: string | null;
  client_port: number | null;
  server_address: string | null;
  server_port: number | null;
  network_protocol_name: string | null;
  http_request_method: string | null;
  url_path: string | null;
  url_template: string | null;
  http_response_status_code: number | null;
  bytes_in: bigint | null;
  bytes_out: bigint | null;
  attributes: string | null;
  parent_evidence: string | null;
  parent_confidence: number | null;
  rule_version: number | null;
  complete: boolean;
}

/** As stored: ids are numbers. */
export interface StoredSpanLinksTable {
  span_id: bigint;
  candidate_span_id: bigint | null;
  evidence: string;
  score: number;
  chosen: boolean;
  rule_version: number;
  model_version: number | null;
  start_ns: bigint;
}

export interface TraceAliasesTable {
  old_trace_id: string;
  trace_id: string;
}

export interface SocketEventsTable {
  node: string;
  ts_ns: bigint;
  pid: number | null;
  tid: number | null;
  process_id: bigint | null;
  thread_id: bigint | null;
  comm: string | null;
  socket_id: bigint;
  conn_id: bigint | null;
  fd: number | null;
  op: string;
  bytes: bigint;
  stream_offset: bigint;
  other_offset: bigint;
  turn: bigint | null;
  errno: number | null;
}

export interface Database {
  traces: TracesTable;
  spans: SpansTable;
  trace_aliases: TraceAliasesTable;
}

export function openDatabase(warehouse: Warehouse): Kysely<Database> {
  return new Kysely<Database>({ dialect: new DuckDbDialect({ connect: () => warehouse.connect(), max_connections: 4, using: (use) => warehouse.holdFilesFor(use) }) });
}
