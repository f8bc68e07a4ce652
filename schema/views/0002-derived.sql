-- What correlation found, with public types: hex ids, TIMESTAMP_NS in UTC, durations in ns.
-- Conditions on trace_id, start_time, start_ns and end_ns of spans skip what cannot match; on the columns that are made here
-- (span_id, end_time) every row is looked at.
CREATE OR REPLACE VIEW exchanges AS
SELECT node, run_id, socket_id, CAST(NULL AS BIGINT) AS stream_id, exchange_no, CASE WHEN is_server THEN 'server' ELSE 'client' END AS kind,
  printf('%016x', span_id) AS span_id, printf('%016x', peer_span_id) AS peer_span_id, process_id, protocol, make_timestamp_ns(start_ns) AS start_time,
  make_timestamp_ns(request_end_ns) AS request_end_time, make_timestamp_ns(answer_ns) AS response_time, make_timestamp_ns(end_ns) AS end_time,
  start_ns, end_ns, end_ns - start_ns AS duration_ns, answered, end_reason, complete
FROM stored.exchanges;

-- Nobody answered, and nobody will: an error. Where watching ended first, nothing is known; nor of bytes that nobody understood, which may ask for no answer.
CREATE OR REPLACE VIEW spans AS
SELECT trace_id, printf('%016x', span_id) AS span_id, printf('%016x', parent_span_id) AS parent_span_id, CASE WHEN is_server THEN 'server' ELSE 'client' END AS kind,
  service_name,
  CASE WHEN method IS NOT NULL THEN method || ' ' || coalesce(url_template, '/') WHEN protocol IS NOT NULL THEN protocol WHEN answered OR request_bytes > 0 THEN 'exchange' ELSE 'connect' END AS span_name,
  start_time, make_timestamp_ns(end_ns) AS end_time, start_ns, end_ns, end_ns - start_ns AS duration_ns,
  CASE WHEN NOT answered AND (end_reason IN ('open', 'stop', 'gap') OR (protocol IS NULL AND coalesce(request_bytes, 0) > 0)) THEN 'unset'
       WHEN NOT answered OR coalesce(errno, 0) <> 0 OR status >= 500 OR (status >= 400 AND NOT is_server) THEN 'error' ELSE 'unset' END AS status,
  node, pid, tid, process_id, thread_id, comm, socket_id,
  CASE WHEN is_server THEN remote_ip ELSE local_ip END AS client_address, CASE WHEN is_server THEN remote_port ELSE local_port END AS client_port,
  CASE WHEN is_server THEN local_ip ELSE remote_ip END AS server_address, CASE WHEN is_server THEN local_port ELSE remote_port END AS server_port,
  protocol AS network_protocol_name, method AS http_request_method, path AS url_path, url_template, status AS http_response_status_code,
  CASE WHEN is_server THEN request_bytes ELSE coalesce(response_bytes, 0) END AS bytes_in, CASE WHEN is_server THEN coalesce(response_bytes, 0) ELSE request_bytes END AS bytes_out,
  json_merge_patch('{}', to_json(struct_pack(host := host, network_protocol_version := http_version, fd := fd, end_reason := end_reason, errno := errno, answered := answered,
    peer := CASE WHEN peer_seen OR (protocol IS NULL AND NOT answered) THEN NULL ELSE 'untraced' END,
    candidates := CASE WHEN candidates > 0 THEN candidates END, connect_duration_ns := connect_ns, time_to_first_byte_ns := first_byte_ns))) AS attributes,
  parent_evidence, parent_confidence, rule_version, complete
FROM stored.spans;

CREATE OR REPLACE VIEW span_links AS
SELECT trace_id, printf('%016x', span_id) AS span_id, printf('%016x', candidate_span_id) AS candidate_span_id, evidence, score, chosen, rule_version, model_version
FROM stored.span_links;

-- Where programs pass ids on in headers, these prove the cause of a call: how often was the other evidence right there?
CREATE OR REPLACE VIEW evidence_precision AS
SELECT s.service_name, l.evidence, floor(l.score * 10) / 10 AS score, count(*) AS links, count(*) FILTER (l.candidate_span_id = h.candidate_span_id) AS right_links,
  count(*) FILTER (l.candidate_span_id = h.candidate_span_id) / count(*) AS precision
FROM stored.span_links l
JOIN stored.span_links h ON h.span_id = l.span_id AND h.start_ns = l.start_ns AND h.evidence = 'header' AND h.score > 0.99
JOIN stored.spans s ON s.span_id = l.span_id AND s.start_ns = l.start_ns
WHERE l.evidence NOT IN ('header', 'connection')
GROUP BY ALL;

CREATE OR REPLACE VIEW ids AS
SELECT node, printf('%016x', span_id) AS span_id, printf('%016x', peer_span_id) AS peer_span_id, CASE WHEN is_server THEN 'server' ELSE 'client' END AS kind,
  CASE WHEN is_server THEN NULL ELSE printf('%016x', parent_span_id) END AS owner_span_id
FROM stored.spans;

-- The root is the span that the trace is named after: trace_id is its start and its id.
CREATE OR REPLACE VIEW traces AS
SELECT s.trace_id,
  coalesce(max(s.service_name) FILTER (s.span_id = s.trace_lo), min_by(s.service_name, s.start_ns)) AS root_service,
  coalesce(max(s.method || ' ' || coalesce(s.url_template, '/')) FILTER (s.span_id = s.trace_lo),
    min_by(coalesce(s.method || ' ' || coalesce(s.url_template, '/'), s.protocol, CASE WHEN s.answered OR s.request_bytes > 0 THEN 'exchange' ELSE 'connect' END), s.start_ns)) AS root_name,
  s.trace_start AS start_time,
  s.trace_hi AS start_ns,
  max(s.end_ns) - s.trace_hi AS duration_ns,
  count(*) AS span_count,
  count(*) FILTER (NOT (NOT s.answered AND (s.end_reason IN ('open', 'stop', 'gap') OR (s.protocol IS NULL AND coalesce(s.request_bytes, 0) > 0))) AND (NOT s.answered OR coalesce(s.errno, 0) <> 0 OR s.status >= 500 OR (s.status >= 400 AND NOT s.is_server))) AS error_count,
  list_sort(list(DISTINCT s.service_name) FILTER (s.service_name IS NOT NULL)) AS services,
  bool_and(s.complete) AS complete
FROM stored.spans s GROUP BY s.trace_id, s.trace_start, s.trace_hi;

CREATE OR REPLACE VIEW trace_aliases AS SELECT old_trace_id, trace_id FROM stored.trace_aliases;

CREATE OR REPLACE VIEW models AS
SELECT model_version, service, make_timestamp_ns(window_start_ns) AS window_start, make_timestamp_ns(window_end_ns) AS window_end, parameters FROM stored.models;

-- Schedules, and the ledger of the files that they wrote.
CREATE OR REPLACE VIEW exports AS
SELECT export_id, cron, relations, query, destination, max_age_ns, max_bytes, make_timestamp_ns(created_ns) AS created_at, make_timestamp_ns(deleted_ns) AS deleted_at,
  make_timestamp_ns(last_run_ns) AS last_run_at, last_error
FROM stored.exports;

CREATE OR REPLACE VIEW export_files AS
SELECT f.export_id, f.relation, e.destination || '/' || f.path AS path, f.state, f.rows, f.bytes, make_timestamp_ns(f.min_ns) AS min_ts, make_timestamp_ns(f.max_ns) AS max_ts, f.checksum,
  make_timestamp_ns(f.written_ns) AS written_at
FROM stored.export_files f JOIN stored.exports e ON e.export_id = f.export_id;

-- What retention took, one row a stored table of a file.
CREATE OR REPLACE VIEW dropped_segments AS
SELECT make_timestamp_ns(dropped_ns) AS dropped_at, reason, kind, relation, rows, make_timestamp_ns(from_ns) AS from_ts, make_timestamp_ns(to_ns) AS to_ts, segment_bytes, exported_by
FROM stored.dropped_segments;
