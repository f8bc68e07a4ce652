// One correlation over a set of messages: the steps, then the rows to store. Live cycles and history use the same.
import type { DuckDBConnection } from '@duckdb/node-api';
import { loadSteps, runSteps, type Step } from './step-runner.ts';

/** Raised whenever a rule changes: spans and links say under which they were made. */
export const RULE_VERSION = 1;

let loaded: readonly Step[] | undefined;

/**
 * Temp tables messages, closes, runs, decided -> temp tables exchanges, claims, trace_ids, finished.
 * finished: exchanges with after_ns < end_ns <= cut_ns, or everything that ended when both are null.
 */
export async function correlateOnce(connection: DuckDBConnection, range: { after_ns: bigint; cut_ns: bigint }): Promise<void> {
  loaded ??= loadSteps();
  await runSteps(connection, loaded);
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE finished AS
     SELECT e.*, t.trace_hi, t.trace_lo, g.parent_span_id
     FROM exchanges e JOIN trace_ids t ON t.span_id = e.span_id JOIN edges g ON g.span_id = e.span_id
     WHERE e.end_ns > ${range.after_ns} AND e.end_ns <= ${range.cut_ns}
       -- bytes that were not understood and never answered are no exchange (FastCGI's last, empty record)
       AND (e.answered OR e.protocol IS NOT NULL OR e.kind = 'connect')`,
  );
}

/** Writes temp table finished into the derived segment `alias`; temp tables processes and losses name and mark the spans. */
export async function storeFinished(connection: DuckDBConnection, alias: string): Promise<void> {
  await connection.run(`INSERT INTO ${alias}.exchanges
    SELECT node, run_id, socket_id, exchange_no, is_server, span_id, peer_span_id, process_id, protocol, call_ns, end_ts_ns, answer_ns, end_ns, answered,
      coalesce(answer_end_reason, end_reason), complete AND coalesce(answer_complete, kind = 'connect' OR close_ns IS NOT NULL)
    FROM finished`);
  await connection.run(`INSERT INTO ${alias}.spans
    SELECT printf('%016x%016x', f.trace_hi, f.trace_lo), f.trace_hi, f.trace_lo, f.span_id, f.parent_span_id, f.peer_span_id, f.is_server,
      f.call_ns, f.end_ns, f.node, f.process_id, m.pid, m.first_tid, f.first_thread_id, m.comm,
      p.service_name, f.socket_id, m.fd, m.local_ip, m.local_port, m.remote_ip, m.remote_port,
      f.protocol, m.method, m.path, url_template(m.path), f.answer_status, m.host, m.http_version,
      f.end_offset - f.stream_offset, f.answer_bytes, f.connect_ts_ns, coalesce(f.answer_errno, f.errno), coalesce(f.answer_end_reason, f.end_reason), f.answered,
      peer.span_id IS NOT NULL, coalesce(k.total, 0),
      CASE WHEN f.parent_span_id IS NULL THEN NULL WHEN f.is_server THEN 'connection' ELSE 'thread' END,
      CASE WHEN f.parent_span_id IS NULL THEN NULL ELSE 1.0 END, ${RULE_VERSION},
      f.complete AND coalesce(f.answer_complete, f.kind = 'connect' OR f.close_ns IS NOT NULL) AND l.span_id IS NULL
    FROM finished f
    JOIN messages m ON m.run_id = f.run_id AND m.socket_id = f.socket_id AND m.kind = f.kind AND m.exchange_no = f.exchange_no AND m.apply_no = f.apply_no AND m.partial = f.partial
    LEFT JOIN processes p ON p.process_id = f.process_id
    LEFT JOIN (SELECT span_id FROM exchanges UNION SELECT span_id FROM decided) peer ON peer.span_id = f.peer_span_id
    LEFT JOIN (SELECT span_id, max(total) AS total FROM claims GROUP BY span_id) k ON k.span_id = f.span_id
    LEFT JOIN (SELECT DISTINCT x.span_id FROM finished x JOIN losses y ON y.node = x.node AND y.from_ns <= x.end_ns AND y.to_ns >= x.call_ns) l ON l.span_id = f.span_id`);
  await connection.run(`INSERT INTO ${alias}.span_links
    SELECT f.span_id, c.candidate_span_id, c.evidence, c.score, c.chosen, ${RULE_VERSION}, NULL, f.call_ns FROM finished f JOIN claims c ON c.span_id = f.span_id WHERE NOT f.is_server
    UNION ALL
    SELECT f.span_id, f.parent_span_id, 'connection', 1.0, TRUE, ${RULE_VERSION}, NULL, f.call_ns FROM finished f WHERE f.is_server AND f.parent_span_id IS NOT NULL`);
}

/**
 * Path segments that are numbers, UUIDs, hex or look random become {id}: '/cart/42' -> '/cart/{id}'. Most paths have no
 * digit at all and are not taken apart.
 */
export const URL_TEMPLATE_MACRO = `CREATE OR REPLACE TEMP MACRO url_template(path) AS
  CASE WHEN regexp_matches(path, '[0-9]') THEN array_to_string(list_transform(string_split(path, '/'), s -> CASE
    WHEN NOT regexp_matches(s, '[0-9]') THEN s
    WHEN regexp_full_match(s, '[0-9]+|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}|[0-9a-fA-F]{8,}|[A-Za-z]+[-_:][0-9]+') THEN '{id}'
    WHEN length(s) >= 12 AND length(regexp_replace(s, '[^0-9]', '', 'g')) >= 3 THEN '{id}'
    ELSE s END), '/') ELSE path END`;
