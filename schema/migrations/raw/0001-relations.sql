-- One raw segment: the relations of a batch, each row with its origin in front.
-- Append-only: a later change is a new file. No NOT NULL: batches are checked before they land, and compaction
-- copies rows of older segments that lack later columns.

CREATE TABLE socket_events (
  node VARCHAR,
  boot_id VARCHAR,
  run_id BIGINT,
  ts_ns BIGINT,
  mono_ns BIGINT,
  pid INTEGER,
  tid INTEGER,
  process_id BIGINT,
  thread_id BIGINT,
  comm VARCHAR,
  socket_id BIGINT,
  conn_id BIGINT,
  peer_socket_id BIGINT,
  fd INTEGER,
  op VARCHAR,
  bytes BIGINT,
  stream_offset BIGINT,
  tcp_seq BIGINT,
  other_offset BIGINT,
  other_tcp_seq BIGINT,
  local_ip VARCHAR,
  local_port INTEGER,
  remote_ip VARCHAR,
  remote_port INTEGER,
  role VARCHAR,
  netns BIGINT,
  cgroup_id BIGINT,
  turn BIGINT,
  task_id BIGINT,
  parent_task_id BIGINT,
  stack_id BIGINT,
  layer VARCHAR,
  errno INTEGER,
  flags INTEGER,
  old_state INTEGER,
  new_state INTEGER,
  payload BLOB USING COMPRESSION zstd,
  payload_truncated BOOLEAN
);

CREATE TABLE messages (
  node VARCHAR,
  boot_id VARCHAR,
  run_id BIGINT,
  apply_no BIGINT,
  ts_ns BIGINT,
  end_ts_ns BIGINT,
  mono_ns BIGINT,
  socket_id BIGINT,
  conn_id BIGINT,
  peer_socket_id BIGINT,
  process_id BIGINT,
  pid INTEGER,
  role VARCHAR,
  direction VARCHAR,
  kind VARCHAR,
  protocol VARCHAR,
  exchange_no BIGINT,
  stream_offset BIGINT,
  end_offset BIGINT,
  head_bytes BIGINT,
  first_thread_id BIGINT,
  first_tid INTEGER,
  first_turn BIGINT,
  last_thread_id BIGINT,
  last_tid INTEGER,
  last_turn BIGINT,
  task_id BIGINT,
  parent_task_id BIGINT,
  comm VARCHAR,
  fd INTEGER,
  cgroup_id BIGINT,
  netns BIGINT,
  local_ip VARCHAR,
  local_port INTEGER,
  remote_ip VARCHAR,
  remote_port INTEGER,
  connect_ts_ns BIGINT,
  connect_thread_id BIGINT,
  connect_turn BIGINT,
  method VARCHAR,
  path VARCHAR,
  status INTEGER,
  host VARCHAR,
  http_version VARCHAR,
  content_length BIGINT,
  traceparent VARCHAR,
  request_id VARCHAR,
  errno INTEGER,
  end_reason VARCHAR,
  complete BOOLEAN,
  partial BOOLEAN
);

CREATE TABLE thread_events (
  node VARCHAR,
  boot_id VARCHAR,
  run_id BIGINT,
  ts_ns BIGINT,
  mono_ns BIGINT,
  process_id BIGINT,
  thread_id BIGINT,
  op VARCHAR,
  target_thread_id BIGINT,
  target_process_id BIGINT,
  comm VARCHAR,
  in_irq BOOLEAN,
  key BIGINT
);

CREATE TABLE processes (
  node VARCHAR,
  boot_id VARCHAR,
  run_id BIGINT,
  ts_ns BIGINT,
  process_id BIGINT,
  pid INTEGER,
  ns_pid INTEGER,
  ppid INTEGER,
  started_ns BIGINT,
  ended_ns BIGINT,
  exe VARCHAR,
  cmdline VARCHAR,
  container_id VARCHAR,
  cgroup VARCHAR,
  netns BIGINT,
  service_name VARCHAR,
  service_rule VARCHAR
);

CREATE TABLE losses (
  node VARCHAR,
  boot_id VARCHAR,
  run_id BIGINT,
  cpu INTEGER,
  from_ns BIGINT,
  to_ns BIGINT,
  events_lost BIGINT,
  cause VARCHAR
);

CREATE TABLE clocks (
  node VARCHAR,
  boot_id VARCHAR,
  run_id BIGINT,
  mono_ns BIGINT,
  utc_ns BIGINT,
  error_ns BIGINT
);

CREATE TABLE stacks (
  node VARCHAR,
  boot_id VARCHAR,
  run_id BIGINT,
  stack_id BIGINT,
  frames VARCHAR
);

-- What has been applied: (node, boot_id, run_id, sequence) makes a batch idempotent, apply_no orders batches as they landed.
CREATE TABLE batches (
  node VARCHAR,
  boot_id VARCHAR,
  run_id BIGINT,
  sequence BIGINT,
  apply_no BIGINT,
  schema_version INTEGER,
  watermark_ns BIGINT,
  mono_ns BIGINT,
  utc_ns BIGINT,
  error_ns BIGINT,
  final BOOLEAN,
  rows BIGINT
);
