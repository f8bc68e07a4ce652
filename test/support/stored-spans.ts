// Spans put straight into the open derived segment: shapes and histories that no correlation has to be run for.
import type { Warehouse } from '../../ingest/warehouse.ts';

/** When the made-up history begins. */
export const EPOCH_NS = 1_790_000_000_000_000_000n;

/** `rows`: a query for trace_hi, trace_lo, span_id, parent_span_id, start_ns, end_ns. */
export async function storeSpans(warehouse: Warehouse, rows: string): Promise<void> {
  await warehouse.withDerived((alias, connection) => warehouse.storeDerived(connection, async () => {
    await connection.run(`INSERT INTO ${alias}.spans BY NAME
      SELECT printf('%016x%016x', trace_hi, trace_lo) AS trace_id, make_timestamp_ns(trace_hi) AS trace_start, trace_hi, trace_lo, span_id, parent_span_id, span_id % 2 = 0 AS is_server,
        make_timestamp_ns(start_ns) AS start_time, start_ns, end_ns, 'node-1' AS node, 'service-' || (span_id % 3) AS service_name, 'http' AS protocol, 'GET' AS method,
        '/' || (span_id % 5) AS path, '/' || (span_id % 5) AS url_template, TRUE AS answered, 'length' AS end_reason, TRUE AS complete
      FROM (${rows})`);
  }));
}

export const traceId = (hi: bigint, lo: bigint): string => hi.toString(16).padStart(16, '0') + lo.toString(16).padStart(16, '0');
export const spanId = (id: number | bigint): string => id.toString(16).padStart(16, '0');

/** A trace of `count` spans 1, 2, ... whose root is span 1 and begins with the history. */
export const bigTrace = (count: number, parent: string): string =>
  `SELECT ${EPOCH_NS} AS trace_hi, 1 AS trace_lo, i AS span_id, ${parent} AS parent_span_id, ${EPOCH_NS} + (i - 1) * 1000 AS start_ns, ${EPOCH_NS} + ${count} * 1000 + 1000 - i AS end_ns FROM range(1, ${count + 1}) AS r (i)`;
export const BIG_TRACE_ID = traceId(EPOCH_NS, 1n);
