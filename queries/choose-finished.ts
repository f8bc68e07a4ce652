import type { DuckDBConnection } from '@duckdb/node-api';

/**
 * Temp tables over_now (exchanges to be forgotten: decided, over, and not left to a rewrite), finished (those of them that
 * become spans), finished_links. Returns the number of spans.
 */
export async function chooseFinished(connection: DuckDBConnection, cut_ns: bigint): Promise<number> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE over_now AS
    SELECT e.run_id, e.node, e.socket_id, e.exchange_no, e.kind, e.protocol, e.is_server, e.span_id, e.peer_span_id, e.process_id, e.first_thread_id, e.ts_ns, e.request_end_ns, e.request_open, e.connect_ts_ns,
      e.apply_no, e.answer_no, e.answer_ns, e.end_ns, e.end_reason, e.answered, d.parent_span_id, d.start_ns, d.trace_hi, d.trace_lo
    FROM exchanges e
    JOIN (SELECT span_id, parent_span_id, start_ns, trace_hi, trace_lo FROM decisions UNION ALL SELECT span_id, parent_span_id, start_ns, trace_hi, trace_lo FROM decided_open) d ON d.span_id = e.span_id
    ANTI JOIN late_exchanges l ON l.span_id = e.span_id
    WHERE e.end_ns <= ${cut_ns}`);
  // Bytes that were not understood and never answered are no exchange (FastCGI's last, empty record).
  await connection.run("CREATE OR REPLACE TEMP VIEW finished AS FROM over_now WHERE answered OR protocol IS NOT NULL OR kind = 'connect'");
  await connection.run(`CREATE OR REPLACE TEMP TABLE finished_links AS
    SELECT k.span_id, k.candidate_span_id, k.evidence, k.score, k.chosen, k.doubt
    FROM (SELECT span_id, candidate_span_id, evidence, score, chosen, doubt FROM links UNION ALL SELECT span_id, candidate_span_id, evidence, score, chosen, doubt FROM known_links) k
    SEMI JOIN finished f ON f.span_id = k.span_id`);
  // Calls that may be theirs hang on nothing.
  await connection.run(`INSERT INTO doubted SELECT DISTINCT l.candidate_span_id FROM links l JOIN decisions d ON d.span_id = l.span_id SEMI JOIN (SELECT span_id FROM links WHERE doubt) b ON b.span_id = l.span_id WHERE d.parent_span_id IS NULL`);
  const rows = await connection.runAndReadAll('SELECT count(*) FROM finished');
  return Number(rows.getRows()[0]?.[0] ?? 0);
}
