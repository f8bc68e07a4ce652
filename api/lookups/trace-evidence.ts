// What did the kernel see while these spans lasted, on their sockets and their threads? The links stand on this.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database, SocketEventsTable } from '../database.ts';
import type { SpanRow } from './trace-spans.ts';

export type EventRow = SocketEventsTable;

export interface SpanEvent {
  readonly event: EventRow;
  /** Spans whose thread or socket it is on, and whose time it falls into. */
  readonly span_ids: readonly string[];
}

const present = (values: readonly (bigint | null)[]): bigint[] => [...new Set(values)].filter((value) => value !== null);
const concerns = (event: EventRow, span: SpanRow): boolean =>
  event.ts_ns >= span.start_ns && event.ts_ns <= span.end_ns && (event.socket_id === span.socket_id || (event.thread_id !== null && event.thread_id === span.thread_id));

export async function eventsOfSpans(db: Kysely<Database>, warehouse: Warehouse, spans: readonly SpanRow[], limit: number): Promise<{ events: SpanEvent[]; truncated: boolean }> {
  const [first] = spans;
  if (first === undefined) return { events: [], truncated: false };
  const start_ns = spans.reduce((low, span) => (span.start_ns < low ? span.start_ns : low), first.start_ns);
  const end_ns = spans.reduce((high, span) => (span.end_ns > high ? span.end_ns : high), first.end_ns);
  const sockets = present(spans.map((span) => span.socket_id));
  const threads = present(spans.map((span) => span.thread_id));
  const { rows } = await sql<EventRow>`
    SELECT node, ts_ns, pid, tid, process_id, thread_id, comm, socket_id, conn_id, fd, op, bytes, stream_offset, other_offset, turn, errno
    FROM ${sql.raw(warehouse.keptBetween('raw', 'socket_events', start_ns, end_ns))} AS event
    WHERE event.ts_ns BETWEEN ${start_ns} AND ${end_ns}
      AND (event.socket_id IN (SELECT unnest(CAST(${sql.val(sockets)} AS BIGINT[]))) OR event.thread_id IN (SELECT unnest(CAST(${sql.val(threads)} AS BIGINT[]))))
    ORDER BY ts_ns, socket_id, stream_offset, op
    LIMIT ${limit + 1}`.execute(db);
  const events = rows
    .slice(0, limit)
    .map((event) => ({ event, span_ids: spans.filter((span) => concerns(event, span)).map((span) => span.span_id) }))
    // Threads and sockets do other work between the spans of this trace.
    .filter(({ span_ids }) => span_ids.length > 0);
  return { events, truncated: rows.length > limit };
}
