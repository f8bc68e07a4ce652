// What happened in a window of time, counted by labels: calls between services, and spans. A histogram is a column a bucket.
import { sql } from 'kysely';
import type { Kysely, RawBuilder } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import { spansEnding } from '../lookups/indexed-views.ts';

export interface CountWindow {
  /** Spans that end after it. */
  readonly from_ns: bigint;
  /** And by then. */
  readonly to_ns: bigint;
}

/** Seconds; Tempo's own. */
export const EDGE_BUCKETS = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8] as const;
export const LATENCY_BUCKETS = [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384] as const;

export interface Histogram {
  readonly count: number;
  readonly sum_seconds: number;
  /** Of each bucket, the smaller ones included. */
  readonly below: readonly number[];
}

export interface EdgeCount {
  readonly labels: { readonly client: string; readonly server: string; readonly connection_type: string };
  readonly failed: number;
  readonly client_seconds: Histogram | undefined;
  readonly server_seconds: Histogram | undefined;
}

export interface SpanCount {
  readonly labels: { readonly service: string; readonly span_name: string; readonly span_kind: string; readonly status_code: string };
  readonly latency: Histogram;
}

/** The answer to a call was begun before it ended, but the two ends' clocks may differ. */
const CLOCKS_APART_NS = 60_000_000_000n;

type Row = Record<string, bigint | number | string | null>;

function histogramColumns(of: string, buckets: readonly number[]): RawBuilder<unknown> {
  const below = buckets.map((seconds, at) => `count(*) FILTER (${of} <= ${Math.round(seconds * 1e9)}) AS ${of}_${at}`);
  return sql.raw([`count(${of}) AS ${of}_count`, `coalesce(sum(${of}), 0)::DOUBLE / 1e9 AS ${of}_sum`, ...below].join(', '));
}

function histogram(row: Row, of: string, buckets: readonly number[]): Histogram {
  return { count: Number(row[`${of}_count`]), sum_seconds: Number(row[`${of}_sum`]), below: buckets.map((_, at) => Number(row[`${of}_${at}`])) };
}

const unlessEmpty = (found: Histogram): Histogram | undefined => (found.count === 0 ? undefined : found);

/**
 * A call that its client gave up is still worked on at the other end: where all answered calls of its node to the same address were, in that window, answered by one
 * service, that is whom it called.
 *
 * Each call once, by its client's end; requests that came from nobody who is traced by their server's, from 'user'. The busiest first.
 */
export async function edgeCounts(db: Kysely<Database>, warehouse: Warehouse, { from_ns, to_ns }: CountWindow, settled_ns: bigint): Promise<EdgeCount[]> {
  const spans = spansEnding(warehouse, from_ns > CLOCKS_APART_NS ? from_ns - CLOCKS_APART_NS : 0n, settled_ns);
  const { rows } = await sql<Row>`
    WITH calls AS (
      SELECT span_id, node, service_name, status, duration_ns, server_address, server_port,
        CASE WHEN http_response_status_code IS NULL THEN attributes ->> 'answered' = 'false' ELSE FALSE END AS given_up
      FROM ${spans} AS s WHERE kind = 'client' AND end_ns > ${from_ns} AND end_ns <= ${to_ns}
    ), answers AS (
      SELECT parent_span_id, service_name, status, duration_ns FROM ${spans} AS s
      WHERE kind = 'server' AND parent_span_id IS NOT NULL AND end_ns > ${from_ns > CLOCKS_APART_NS ? from_ns - CLOCKS_APART_NS : 0n} AND end_ns <= ${settled_ns}
    ), answerers AS (
      SELECT c.node, c.server_address, c.server_port, min(a.service_name) AS service_name
      FROM calls c JOIN answers a ON a.parent_span_id = c.span_id GROUP BY ALL HAVING count(DISTINCT coalesce(a.service_name, '')) = 1
    ), edges AS (
      SELECT coalesce(c.service_name, 'unknown_service') AS client,
        CASE WHEN a.parent_span_id IS NOT NULL THEN coalesce(a.service_name, 'unknown_service') ELSE coalesce(o.service_name, concat_ws(':', coalesce(c.server_address, 'unknown'), c.server_port)) END AS server,
        CASE WHEN a.parent_span_id IS NULL AND o.service_name IS NULL THEN 'virtual_node' ELSE '' END AS connection_type,
        c.status = 'error' OR coalesce(a.status = 'error', FALSE) AS failed, c.duration_ns AS client_ns, a.duration_ns AS server_ns
      FROM calls c LEFT JOIN answers a ON a.parent_span_id = c.span_id LEFT JOIN answerers o ON c.given_up AND o.node = c.node AND o.server_address = c.server_address AND o.server_port = c.server_port
      UNION ALL
      SELECT 'user', coalesce(service_name, 'unknown_service'), 'virtual_node', status = 'error', NULL, duration_ns
      FROM ${spans} AS s WHERE kind = 'server' AND parent_span_id IS NULL AND end_ns > ${from_ns} AND end_ns <= ${to_ns}
    )
    SELECT client, server, connection_type, count(*) FILTER (failed) AS failed, ${histogramColumns('client_ns', EDGE_BUCKETS)}, ${histogramColumns('server_ns', EDGE_BUCKETS)}
    FROM edges GROUP BY client, server, connection_type ORDER BY count(*) DESC, client, server`.execute(db);
  return rows.map((row) => ({
    labels: { client: String(row['client']), server: String(row['server']), connection_type: String(row['connection_type']) },
    failed: Number(row['failed']),
    client_seconds: unlessEmpty(histogram(row, 'client_ns', EDGE_BUCKETS)),
    server_seconds: unlessEmpty(histogram(row, 'server_ns', EDGE_BUCKETS)),
  }));
}

export async function spanCounts(db: Kysely<Database>, warehouse: Warehouse, { from_ns, to_ns }: CountWindow): Promise<SpanCount[]> {
  const { rows } = await sql<Row>`
    SELECT coalesce(service_name, 'unknown_service') AS service, coalesce(span_name, 'unknown') AS span_name, 'SPAN_KIND_' || upper(kind) AS span_kind, 'STATUS_CODE_' || upper(status) AS status_code,
      ${histogramColumns('duration_ns', LATENCY_BUCKETS)}
    FROM ${spansEnding(warehouse, from_ns, to_ns)} AS s WHERE end_ns > ${from_ns} AND end_ns <= ${to_ns}
    GROUP BY 1, 2, 3, 4 ORDER BY count(*) DESC, 1, 2, 3, 4`.execute(db);
  return rows.map((row) => ({
    labels: { service: String(row['service']), span_name: String(row['span_name']), span_kind: String(row['span_kind']), status_code: String(row['status_code']) },
    latency: histogram(row, 'duration_ns', LATENCY_BUCKETS),
  }));
}
