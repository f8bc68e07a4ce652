import type { DuckDBConnection } from '@duckdb/node-api';
import { readRows } from '../ingest/duckdb-query.ts';

/**
 * Temp table over_now (exchanges to be forgotten: decided, over, and not left to a rewrite; is_span: they become spans), view finished (those
 * that do, with what was decided of them, and what the links are), view finished_links. Returns the number of spans, and whether losses are known that may touch them.
 */
export async function chooseFinished(connection: DuckDBConnection, cut_ns: bigint): Promise<{ spans: number; losses: boolean }> {
  const all_links = '(SELECT span_id, candidate_span_id, evidence, score, chosen, doubt FROM links UNION ALL SELECT span_id, candidate_span_id, evidence, score, chosen, doubt FROM known_links)';
  // Bytes that were not understood and never answered are no exchange (FastCGI's last, empty record), unless something hangs on them (keepParents).
  const [found] = await readRows(connection, `CREATE OR REPLACE TEMP TABLE over_now AS
    SELECT e.span_id, e.is_server, e.end_ns, e.answered OR e.protocol IS NOT NULL OR e.kind = 'connect' AS is_span, d.parent_span_id, d.start_ns, d.trace_hi, d.trace_lo,
      coalesce(k.candidates, 0) AS candidates, coalesce(k.doubt, FALSE) AS doubt, k.evidence, k.score, e.peer_span_id IN (SELECT span_id FROM exchanges UNION ALL SELECT span_id FROM decided_ends) AS peer_seen
    FROM exchanges e
    JOIN (SELECT span_id, parent_span_id, start_ns, trace_hi, trace_lo FROM decisions UNION ALL SELECT span_id, parent_span_id, start_ns, trace_hi, trace_lo FROM decided_open) d ON d.span_id = e.span_id
    LEFT JOIN (SELECT span_id, count(DISTINCT candidate_span_id) AS candidates, bool_or(doubt) AS doubt, max(evidence) FILTER (chosen) AS evidence, max(score) FILTER (chosen) AS score FROM ${all_links} GROUP BY span_id) k ON k.span_id = e.span_id
    ANTI JOIN late_exchanges l ON l.span_id = e.span_id
    WHERE e.end_ns <= ${cut_ns};
    CREATE OR REPLACE TEMP VIEW finished AS
    SELECT e.*, o.parent_span_id, o.start_ns, o.trace_hi, o.trace_lo, o.candidates, o.doubt, o.evidence, o.score, o.peer_seen FROM exchanges e JOIN over_now o ON o.span_id = e.span_id WHERE o.is_span;
    CREATE OR REPLACE TEMP VIEW finished_links AS
    SELECT o.trace_hi, o.trace_lo, o.start_ns, o.end_ns, k.* FROM ${all_links} k JOIN over_now o ON o.span_id = k.span_id WHERE o.is_span;
    -- Calls that may be theirs hang on nothing.
    INSERT INTO doubted SELECT DISTINCT l.candidate_span_id FROM links l JOIN decisions d ON d.span_id = l.span_id SEMI JOIN (SELECT span_id FROM links WHERE doubt) b ON b.span_id = l.span_id WHERE d.parent_span_id IS NULL;
    SELECT count(*) FILTER (is_span), count(*) FILTER (NOT is_span), EXISTS (FROM losses) FROM over_now`);
  const [spans, others, losses] = found as [bigint, bigint, boolean];
  return { spans: Number(spans) + (others > 0n ? await keepParents(connection, cut_ns) : 0), losses };
}

/**
 * Spans besides: who got a message that nobody answers, and called for it; a call of bytes that were not understood, given up before the callee, which works on, had
 * answered. What has them for its parent would hang on nothing. Live, a cut between the closes of both ends, or while such a call waits to be decided, may keep one
 * more or one less than a rewrite does. Returns how many.
 */
async function keepParents(connection: DuckDBConnection, cut_ns: bigint): Promise<number> {
  let kept = 0;
  for (;;) {
    const { rowsChanged: more } = await connection.run(`UPDATE over_now SET is_span = TRUE WHERE NOT is_span AND (
      span_id IN (SELECT span_id FROM known_call_counts)
      OR span_id IN (
        SELECT d.parent_span_id
        FROM (SELECT span_id, parent_span_id FROM decisions UNION ALL SELECT span_id, parent_span_id FROM decided_open) d JOIN exchanges e ON e.span_id = d.span_id LEFT JOIN over_now o ON o.span_id = d.span_id
        WHERE coalesce(o.is_span, e.answered OR e.protocol IS NOT NULL OR e.end_ns IS NULL OR e.end_ns > ${cut_ns})))`);
    if (more === 0) return kept;
    kept += more; // and what these hang on
  }
}
