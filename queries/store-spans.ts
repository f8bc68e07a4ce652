// The rows of the derived tables for exchanges that are decided and over: ids from the steps, texts from their messages.
import type { DuckDBConnection } from '@duckdb/node-api';

/** Raised whenever a rule changes: spans and links say under which they were made. */
export const RULE_VERSION = 9;

/** Losses of a node as what reaches farthest among those that began by then: one look tells whether a span is touched. */
const TOUCHED = `CREATE OR REPLACE TEMP TABLE touched AS
  SELECT f.span_id
  FROM (SELECT span_id, node, start_ns, end_ns FROM finished) f
  ASOF JOIN (
    SELECT node, from_ns, max(to_ns) AS to_ns FROM (
      SELECT node, from_ns, max(to_ns) OVER (PARTITION BY node ORDER BY from_ns, to_ns ROWS UNBOUNDED PRECEDING) AS to_ns FROM losses
    ) GROUP BY node, from_ns
  ) l ON l.node = f.node AND l.from_ns <= f.end_ns
  WHERE l.to_ns >= f.start_ns`;

const UNTOUCHED = 'CREATE OR REPLACE TEMP TABLE touched (span_id BIGINT)';

/** The finished spans, and whether nothing of them is missing. */
const TOLD = `CREATE OR REPLACE TEMP VIEW told AS
  SELECT f.*,
    f.request_complete AND coalesce(CASE WHEN f.answered THEN f.answer_complete = 1 END, f.end_reason NOT IN ('open', 'stop', 'gap')) AND t.span_id IS NULL AND b.span_id IS NULL
      -- no parent is sure because of what was lost
      AND NOT (f.parent_span_id IS NULL AND f.doubt) AS complete
  FROM finished f
  LEFT JOIN touched t ON t.span_id = f.span_id
  LEFT JOIN (SELECT DISTINCT span_id FROM doubted) b ON b.span_id = f.span_id`;

/**
 * Of the finished spans: who asked and who answered, in their own words. Messages, which have the texts, come last: whatever is joined after them is joined
 * to rows of forty columns. A condition on kind alone would make the other side seem small to DuckDB as well (docs/adr/0018).
 */
const FINISHED_SPANS = `SELECT s.* EXCLUDE (quick_template), url_template(s.path, s.quick_template) AS url_template FROM (SELECT printf('%016x%016x', f.trace_hi, f.trace_lo) AS trace_id, make_timestamp_ns(f.trace_hi) AS trace_start, f.trace_hi, f.trace_lo, f.span_id, f.parent_span_id, f.peer_span_id, f.is_server,
    make_timestamp_ns(f.start_ns) AS start_time, f.start_ns, f.end_ns, f.node, f.process_id, q.pid, q.first_tid AS tid, f.first_thread_id AS thread_id, q.comm,
    f.service_name, f.socket_id, q.fd, q.local_ip, q.local_port, q.remote_ip, q.remote_port,
    f.protocol, q.method, q.path, quick_template(q.path) AS quick_template, CASE WHEN f.answered THEN f.answer_status END AS status, q.host, q.http_version,
    q.end_offset - q.stream_offset AS request_bytes, CASE WHEN f.answered THEN f.answer_bytes END AS response_bytes, CASE WHEN f.start_ns = f.connect_ts_ns AND f.kind = 'request' THEN f.ts_ns - f.connect_ts_ns END AS connect_ns,
    CASE WHEN f.answer_ns <= f.end_ns THEN f.answer_ns - f.start_ns END AS first_byte_ns, coalesce(CASE WHEN f.answered THEN f.answer_errno END, q.errno) AS errno, f.end_reason, f.answered,
    f.peer_seen, f.candidates,
    CASE WHEN f.parent_span_id IS NULL THEN NULL WHEN f.is_server THEN 'connection' ELSE f.evidence END AS parent_evidence,
    CASE WHEN f.parent_span_id IS NULL THEN NULL WHEN f.is_server THEN 1.0 ELSE f.score END AS parent_confidence,
    ${RULE_VERSION} AS rule_version,
    f.complete
  FROM messages q
  JOIN (SELECT f.*, p.service_name FROM told f LEFT JOIN processes p ON p.process_id = f.process_id) f ON f.socket_id = q.socket_id AND f.exchange_no = q.exchange_no AND f.run_id = q.run_id AND (f.kind = 'connect') = (q.kind = 'connect') AND f.apply_no = q.apply_no AND f.request_open = q.partial AND f.ts_ns = q.ts_ns
  WHERE q.kind <> 'response') s`;

/**
 * View `finished` (exchanges that are over, with parent_span_id, start_ns, trace_hi, trace_lo) -> temp table touched, view told: with `complete`. Needed
 * besides: losses (node, from_ns, to_ns), if there are any; doubted.
 */
export async function describeFinished(connection: DuckDBConnection, losses: boolean): Promise<void> {
  await connection.run(`${losses ? TOUCHED : UNTOUCHED}; ${TOLD}`);
}

/**
 * Statements that write them into the derived segment `alias`; the caller's transaction. Needed besides: finished_links, processes (process_id, service_name),
 * timing_models, timing_versions.
 */
export function storeFinished(alias: string): string {
  // Numbers are sorted, and texts made of them afterwards.
  return `INSERT INTO ${alias}.spans BY NAME ${FINISHED_SPANS};
    INSERT INTO ${alias}.exchanges BY NAME
    SELECT f.node, f.run_id, f.socket_id, f.exchange_no, f.is_server, f.span_id, f.peer_span_id, f.process_id, f.protocol, f.start_ns, f.request_end_ns,
      CASE WHEN f.answer_ns <= f.end_ns THEN f.answer_ns END AS answer_ns, f.end_ns, f.answered, f.end_reason, f.complete
    FROM told f;
    INSERT INTO ${alias}.span_links BY NAME
    SELECT printf('%016x%016x', o.trace_hi, o.trace_lo) AS trace_id, o.span_id, o.candidate_span_id, o.evidence, o.score, o.chosen, ${RULE_VERSION} AS rule_version, o.model_version, o.start_ns, o.end_ns
    FROM (
      SELECT k.trace_hi, k.trace_lo, k.span_id, k.candidate_span_id, k.evidence, k.score, k.chosen, CASE WHEN k.evidence = 'timing' THEN v.model_version END AS model_version, k.start_ns, k.end_ns
      FROM finished_links k LEFT JOIN timing_versions v ON v.span_id = k.span_id
      UNION ALL BY NAME
      SELECT f.trace_hi, f.trace_lo, f.span_id, f.parent_span_id AS candidate_span_id, 'connection' AS evidence, 1.0 AS score, TRUE AS chosen, NULL AS model_version, f.start_ns, f.end_ns
      FROM over_now f WHERE f.is_span AND f.is_server AND f.parent_span_id IS NOT NULL
      ORDER BY trace_hi, trace_lo, span_id, candidate_span_id, evidence
    ) o;
    INSERT INTO ${alias}.models BY NAME FROM timing_models`;
}
