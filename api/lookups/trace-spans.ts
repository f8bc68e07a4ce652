// What is in one trace?
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Database, SpanLinksTable, SpansTable } from '../database.ts';
import { epochNs } from '../search-range.ts';
import { selectTraces } from './trace-search.ts';
import type { TraceRow } from './trace-search.ts';

export interface SpanRow extends Omit<SpansTable, 'start_time' | 'end_time'> {
  readonly start_ns: bigint;
  readonly end_ns: bigint;
}

export type CandidateRow = SpanLinksTable;

const SPAN_COLUMNS = [
  'trace_id', 'span_id', 'parent_span_id', 'kind', 'service_name', 'span_name', 'duration_ns', 'status', 'node', 'pid', 'tid', 'process_id', 'thread_id', 'comm', 'socket_id',
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
    .select([epochNs('start_time').as('start_ns'), epochNs('end_time').as('end_ns')])
    .where('trace_id', '=', trace_id)
    .orderBy('start_time')
    .orderBy('span_id')
    .limit(limit)
    .execute();
}

/** Every parent that was considered for each of the spans, best first. */
export async function candidatesOf(db: Kysely<Database>, span_ids: readonly string[]): Promise<Map<string, CandidateRow[]>> {
  const found = new Map<string, CandidateRow[]>();
  if (span_ids.length === 0) return found;
  const rows = await db
    .selectFrom('span_links')
    .select(['span_id', 'candidate_span_id', 'evidence', 'score', 'chosen', 'rule_version', 'model_version'])
    .where(sql<boolean>`list_contains(${sql.val(span_ids)}, span_id)`)
    .orderBy('span_id')
    .orderBy('chosen', 'desc')
    .orderBy('score', 'desc')
    .orderBy('candidate_span_id')
    .execute();
  for (const row of rows) {
    const list = found.get(row.span_id);
    if (list === undefined) found.set(row.span_id, [row]);
    else list.push(row);
  }
  return found;
}
