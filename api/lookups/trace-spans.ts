// What is in one trace?
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database, SpansTable } from '../database.ts';
import { at, viewOfTrace } from './indexed-views.ts';
import type { TraceKey } from './indexed-views.ts';
import type { OutlineSpan } from './trace-outline.ts';
import { TRACE_COLUMNS } from './trace-search.ts';
import type { TraceRow } from './trace-search.ts';

export type SpanRow = SpansTable;

export const SPAN_COLUMNS = [
  'trace_id', 'span_id', 'parent_span_id', 'kind', 'service_name', 'span_name', 'start_ns', 'end_ns', 'duration_ns', 'status', 'node', 'pid', 'tid', 'process_id', 'thread_id', 'comm', 'socket_id',
  'client_address', 'client_port', 'server_address', 'server_port', 'network_protocol_name', 'http_request_method', 'url_path', 'url_template', 'http_response_status_code',
  'bytes_in', 'bytes_out', 'attributes', 'parent_evidence', 'parent_confidence', 'rule_version', 'complete',
] as const satisfies readonly (keyof SpansTable)[];

/** More than this of one trace is not even looked at: the first by start. */
const MOST_OUTLINED = 1_000_000;

export async function findTrace(db: Kysely<Database>, warehouse: Warehouse, key: TraceKey): Promise<TraceRow | undefined> {
  return db.selectFrom(viewOfTrace(warehouse, 'traces', key).as('traces')).select(TRACE_COLUMNS).executeTakeFirst();
}

/** The id that a trace has now; ids that it had before a late link changed its root still lead to it. */
export async function resolveTraceId(db: Kysely<Database>, warehouse: Warehouse, trace_id: string, { hi }: TraceKey): Promise<string | undefined> {
  const { rows } = await sql<{ trace_id: string }>`SELECT trace_id FROM ${sql.raw(warehouse.keptWhere('old_trace_start', [at(hi)]))} WHERE old_trace_id = ${trace_id} LIMIT 1`.execute(db);
  return rows[0]?.trace_id;
}

/** By start time. */
export async function outlineOfTrace(db: Kysely<Database>, warehouse: Warehouse, { hi, lo }: TraceKey): Promise<OutlineSpan[]> {
  const { rows } = await sql<OutlineSpan>`
    SELECT span_id, parent_span_id FROM ${sql.raw(warehouse.keptWhere('trace_start', [at(hi)]))}
    WHERE trace_hi = ${hi} AND trace_lo = ${lo} ORDER BY start_ns, span_id LIMIT ${MOST_OUTLINED}`.execute(db);
  return rows;
}

const spansWhere = (db: Kysely<Database>, warehouse: Warehouse, key: TraceKey, also?: Parameters<typeof viewOfTrace>[3]) =>
  db.selectFrom(viewOfTrace(warehouse, 'spans', key, also).as('spans')).select(SPAN_COLUMNS);

/** Parents before children, as far as clocks tell. Null: all of them. */
export async function spansOfTrace(db: Kysely<Database>, warehouse: Warehouse, key: TraceKey, span_ids: readonly bigint[] | null): Promise<SpanRow[]> {
  return spansWhere(db, warehouse, key, span_ids === null ? undefined : sql<boolean>`span_id IN (SELECT unnest(${sql.val(span_ids)}))`).orderBy('start_ns').orderBy('span_id').execute();
}

/** So many at most, in no order: sorting rows of so many columns takes DuckDB a third of the whole. */
export async function someSpansOfTrace(db: Kysely<Database>, warehouse: Warehouse, key: TraceKey, limit: number): Promise<SpanRow[]> {
  return spansWhere(db, warehouse, key).limit(limit).execute();
}

/** The next ones by start, after the last one that is known. */
export async function childrenOfSpan(db: Kysely<Database>, warehouse: Warehouse, key: TraceKey, span_id: bigint, limit: number, after?: { start_ns: bigint; span_id: bigint }): Promise<SpanRow[]> {
  const later = after === undefined ? sql`` : sql` AND (start_ns > ${after.start_ns} OR (start_ns = ${after.start_ns} AND span_id > ${after.span_id}))`;
  return spansWhere(db, warehouse, key, sql<boolean>`parent_span_id = ${span_id}${later}`).orderBy('start_ns').orderBy('span_id').limit(limit).execute();
}

/** By span id, of those that have any. */
export async function countChildren(db: Kysely<Database>, warehouse: Warehouse, { hi, lo }: TraceKey, span_ids: readonly bigint[]): Promise<Map<bigint, number>> {
  if (span_ids.length === 0) return new Map();
  const { rows } = await sql<{ parent_span_id: bigint; children: bigint }>`
    SELECT parent_span_id, count(*) AS children FROM ${sql.raw(warehouse.keptWhere('trace_start', [at(hi)]))}
    WHERE trace_hi = ${hi} AND trace_lo = ${lo} AND parent_span_id IN (SELECT unnest(${sql.val(span_ids)})) GROUP BY parent_span_id`.execute(db);
  return new Map(rows.map((row) => [row.parent_span_id, Number(row.children)]));
}
