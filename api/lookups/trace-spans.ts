// What is in one trace?
import type { Kysely } from 'kysely';
import type { Database, SpansTable } from '../database.ts';
import { selectTraces } from './trace-search.ts';
import type { TraceRow } from './trace-search.ts';

export type SpanRow = SpansTable;

export const SPAN_COLUMNS = [
  'trace_id', 'span_id', 'parent_span_id', 'kind', 'service_name', 'span_name', 'start_ns', 'end_ns', 'duration_ns', 'status', 'node', 'pid', 'tid', 'process_id', 'thread_id', 'comm', 'socket_id',
  'client_address', 'client_port', 'server_address', 'server_port', 'network_protocol_name', 'http_request_method', 'url_path', 'url_template', 'http_response_status_code',
  'bytes_in', 'bytes_out', 'attributes', 'parent_evidence', 'parent_confidence', 'rule_version', 'complete',
] as const satisfies readonly (keyof SpansTable)[];

export async function findTrace(db: Kysely<Database>, trace_id: string): Promise<TraceRow | undefined> {
  return selectTraces(db).where('trace_id', '=', trace_id).executeTakeFirst();
}

/** The id that a trace has now; ids that it had before a late link changed its root still lead to it. */
export async function resolveTraceId(db: Kysely<Database>, trace_id: string): Promise<string | undefined> {
  const row = await db.selectFrom('trace_aliases').select('trace_id').where('old_trace_id', '=', trace_id).executeTakeFirst();
  return row?.trace_id;
}

/** Parents before children, as far as clocks tell. */
export async function spansOfTrace(db: Kysely<Database>, trace_id: string, limit: number): Promise<SpanRow[]> {
  return db
    .selectFrom('spans')
    .select(SPAN_COLUMNS)
    .where('trace_id', '=', trace_id)
    .orderBy('start_ns')
    .orderBy('span_id')
    .limit(limit)
    .execute();
}
