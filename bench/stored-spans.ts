// Spans for benchmarks of reading, made by DuckDB itself: files of an hour each, ids and times as correlation would give them.
import type { Warehouse } from '../ingest/warehouse.ts';

export const HOUR_NS = 3_600_000_000_000n;
/** A full hour: compaction, too, makes files of the hours of a clock. */
export const EPOCH_NS = 497_222n * HOUR_NS;
export const [SPANS_A_TRACE, SPANS_A_FILE, SERVICES] = [10, 500_000, 40];
export const TRACES_A_FILE = SPANS_A_FILE / SPANS_A_TRACE;
/** One file is an hour. */
const TRACE_NS = HOUR_NS / BigInt(TRACES_A_FILE);

export const startOf = (trace: number): bigint => EPOCH_NS + BigInt(trace) * TRACE_NS;
export const loOf = (trace: number): bigint => (BigInt(trace) * 2_654_435_761n) % 9_007_199_254_740_881n;
export const idOf = (trace: number): string => startOf(trace).toString(16).padStart(16, '0') + loOf(trace).toString(16).padStart(16, '0');

/** Spans of a file: each trace a chain of calls with a fan-out, durations with a long tail, one trace in fifty with an error. */
export const spansOf = (file: number): string => `
  SELECT make_timestamp_ns(hi) AS trace_start, hi AS trace_hi, lo AS trace_lo, printf('%016x%016x', hi, lo) AS trace_id, (t * ${SPANS_A_TRACE} + s) * 7919 AS span_id,
    CASE WHEN s > 0 THEN (t * ${SPANS_A_TRACE} + (s - 1) // 2) * 7919 END AS parent_span_id, s % 2 = 0 AS is_server, make_timestamp_ns(hi + s * 10000) AS start_time, hi + s * 10000 AS start_ns,
    hi + s * 10000 + (1000000 * (1 + hash(t) % 50 + CASE WHEN hash(t) % 1000 = 0 THEN 3000 ELSE 0 END))::BIGINT // (s + 1) AS end_ns,
    'node-' || (s % 8) AS node, (s % 97 + 1) * 1000003 AS process_id, s % 97 + 1 AS pid, s % 389 + 1 AS tid, (s % 389 + 1) * 1000003 AS thread_id, 'worker' AS comm,
    'service-' || ((hash(t) + s // 2) % ${SERVICES}) AS service_name, t * 10 + s AS socket_id, 7 AS fd, '10.0.0.' || (s % 250) AS local_ip, 8080 AS local_port, '10.0.1.' || (t % 250) AS remote_ip, 30000 + t % 20000 AS remote_port,
    'http' AS protocol, 'GET' AS method, '/orders/' || t || '/' || s AS path, '/orders/{id}/' || s AS url_template, CASE WHEN hash(t) % 50 = 0 AND s = 3 THEN 500 ELSE 200 END AS status, '1.1' AS http_version,
    120 AS request_bytes, (hash(t + s) % 5000 + 200)::BIGINT AS response_bytes, 'length' AS end_reason, TRUE AS answered, s % 2 = 1 AS peer_seen, CASE WHEN s > 0 THEN 1 ELSE 0 END AS candidates, CASE WHEN s > 0 THEN 'thread' END AS parent_evidence, CASE WHEN s > 0 THEN 0.99 END AS parent_confidence, 2 AS rule_version, TRUE AS complete
  FROM (SELECT t::BIGINT AS t, ${EPOCH_NS} + t::BIGINT * ${TRACE_NS} AS hi, (t::HUGEINT * 2654435761 % 9007199254740881)::BIGINT AS lo FROM range(${file * TRACES_A_FILE}, ${(file + 1) * TRACES_A_FILE}) AS r (t)), range(${SPANS_A_TRACE}) AS q (s)`;

/** Stores those of a file, sealed. */
export async function addSpans(warehouse: Warehouse, file: number): Promise<void> {
  const range = { from_ns: EPOCH_NS + BigInt(file) * HOUR_NS, to_ns: EPOCH_NS + BigInt(file + 1) * HOUR_NS };
  await warehouse.replaceDerived([], async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans BY NAME ${spansOf(file)}`)), range);
}
