-- What correlation derives. Ids are non-negative BIGINT, times ns since 1970; the public views give hex and TIMESTAMP_NS.
-- Three columns of spans are kept in their public form besides, because readers filter by them, and only a stored column skips
-- what cannot match: trace_id (4.3 bytes a row once packed), start_time and trace_start (2.1 each).
CREATE TABLE exchanges (
  node VARCHAR, run_id BIGINT, socket_id BIGINT, exchange_no BIGINT, is_server BOOLEAN, span_id BIGINT, peer_span_id BIGINT,
  process_id BIGINT, protocol VARCHAR, start_ns BIGINT, request_end_ns BIGINT, answer_ns BIGINT, end_ns BIGINT, answered BOOLEAN,
  end_reason VARCHAR, complete BOOLEAN
);
CREATE TABLE spans (
  trace_id VARCHAR, trace_start TIMESTAMP_NS, trace_hi BIGINT, trace_lo BIGINT, span_id BIGINT, parent_span_id BIGINT, peer_span_id BIGINT, is_server BOOLEAN,
  start_time TIMESTAMP_NS, start_ns BIGINT, end_ns BIGINT, node VARCHAR, process_id BIGINT, pid INTEGER, tid INTEGER, thread_id BIGINT, comm VARCHAR,
  service_name VARCHAR, socket_id BIGINT, fd INTEGER, local_ip VARCHAR, local_port INTEGER, remote_ip VARCHAR, remote_port INTEGER,
  protocol VARCHAR, method VARCHAR, path VARCHAR, url_template VARCHAR, status INTEGER, host VARCHAR, http_version VARCHAR,
  request_bytes BIGINT, response_bytes BIGINT, connect_ns BIGINT, first_byte_ns BIGINT, errno INTEGER, end_reason VARCHAR, answered BOOLEAN,
  peer_seen BOOLEAN, candidates INTEGER, parent_evidence VARCHAR, parent_confidence DOUBLE, rule_version INTEGER, complete BOOLEAN
);
CREATE TABLE span_links (
  trace_id VARCHAR, span_id BIGINT, candidate_span_id BIGINT, evidence VARCHAR, score DOUBLE, chosen BOOLEAN, rule_version INTEGER, model_version INTEGER,
  start_ns BIGINT, end_ns BIGINT
);
CREATE TABLE trace_aliases (old_trace_id VARCHAR, trace_id VARCHAR);
-- One row a cycle that wrote: what ended at or before cut_ns has been decided, messages up to apply_no were read.
CREATE TABLE progress (apply_no BIGINT, cut_ns BIGINT, rule_version INTEGER);
CREATE TABLE models (model_version INTEGER, service VARCHAR, window_start_ns BIGINT, window_end_ns BIGINT, parameters VARCHAR);
