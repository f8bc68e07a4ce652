-- The raw relations as people see them: times as TIMESTAMP_NS in UTC.
CREATE OR REPLACE VIEW socket_events AS
SELECT node, boot_id, run_id, make_timestamp_ns(ts_ns) AS ts, ts_ns, mono_ns, pid, tid, process_id, thread_id, comm, socket_id, conn_id, peer_socket_id, fd, op, bytes,
  stream_offset, tcp_seq, other_offset, other_tcp_seq, local_ip, local_port, remote_ip, remote_port, role, netns, cgroup_id, turn, task_id, parent_task_id,
  stack_id, layer, errno, flags, old_state, new_state, payload, payload_truncated
FROM stored.socket_events;

CREATE OR REPLACE VIEW thread_events AS
SELECT node, boot_id, run_id, make_timestamp_ns(ts_ns) AS ts, mono_ns, process_id, thread_id, op, target_thread_id, target_process_id, comm, in_irq, key
FROM stored.thread_events;

-- The newest row of a process counts; its end is known from whichever row says it.
CREATE OR REPLACE VIEW processes AS
SELECT process_id, arg_max(node, ts_ns) AS node, arg_max(boot_id, ts_ns) AS boot_id, arg_max(pid, ts_ns) AS pid, arg_max(ns_pid, ts_ns) AS ns_pid, arg_max(ppid, ts_ns) AS ppid,
  make_timestamp_ns(arg_max(started_ns, ts_ns)) AS started_at, make_timestamp_ns(max(ended_ns)) AS ended_at, arg_max(exe, ts_ns) AS exe, arg_max(cmdline, ts_ns) AS cmdline,
  arg_max(container_id, ts_ns) AS container_id, arg_max(cgroup, ts_ns) AS cgroup, arg_max(netns, ts_ns) AS netns,
  arg_max(service_name, ts_ns) AS service_name, arg_max(service_rule, ts_ns) AS service_rule
FROM stored.processes GROUP BY process_id;

CREATE OR REPLACE VIEW clocks AS SELECT node, boot_id, run_id, mono_ns, utc_ns, error_ns FROM stored.clocks;

CREATE OR REPLACE VIEW stacks AS SELECT DISTINCT stack_id, frames FROM stored.stacks;

CREATE OR REPLACE VIEW losses AS
SELECT node, run_id, cpu, make_timestamp_ns(from_ns) AS from_ts, make_timestamp_ns(to_ns) AS to_ts, events_lost, cause FROM stored.losses;

CREATE OR REPLACE VIEW messages AS
SELECT node, boot_id, run_id, make_timestamp_ns(ts_ns) AS ts, make_timestamp_ns(end_ts_ns) AS end_ts, socket_id, conn_id, peer_socket_id, process_id, pid, role, direction, kind,
  protocol, CAST(NULL AS BIGINT) AS stream_id, exchange_no, stream_offset, end_offset, head_bytes, first_thread_id, first_tid, first_turn, last_thread_id, last_tid, last_turn, task_id, parent_task_id,
  comm, fd, cgroup_id, netns, local_ip, local_port, remote_ip, remote_port, make_timestamp_ns(connect_ts_ns) AS connect_ts, connect_thread_id, connect_turn,
  method, path, status, host, http_version, content_length, traceparent, request_id, errno, end_reason, complete
FROM stored.messages WHERE NOT partial;

-- One row a socket, from its events.
CREATE OR REPLACE VIEW sockets AS
SELECT socket_id, max(conn_id) AS conn_id, any_value(node) AS node, max(process_id) AS process_id, max(fd) AS fd, max(role) AS role,
  max(local_ip) AS local_ip, max(local_port) AS local_port, max(remote_ip) AS remote_ip, max(remote_port) AS remote_port,
  make_timestamp_ns(min(ts_ns) FILTER (op IN ('connect', 'accept'))) AS opened_at, make_timestamp_ns(min(ts_ns) FILTER (op = 'close')) AS closed_at,
  CASE WHEN bool_or(op = 'state' AND errno <> 0) THEN 'error ' || max(errno) FILTER (op = 'state' AND errno <> 0)
       WHEN bool_or(op = 'close') THEN 'closed' WHEN bool_or(op = 'state' AND new_state = 7) THEN 'ended' END AS close_reason,
  CAST(coalesce(sum(bytes) FILTER (op = 'read'), 0) AS BIGINT) AS bytes_read, CAST(coalesce(sum(bytes) FILTER (op = 'write'), 0) AS BIGINT) AS bytes_written
FROM stored.socket_events GROUP BY socket_id;

CREATE OR REPLACE VIEW socket_threads AS
SELECT socket_id, thread_id, CAST(coalesce(sum(bytes) FILTER (op = 'read'), 0) AS BIGINT) AS bytes_read, CAST(coalesce(sum(bytes) FILTER (op = 'write'), 0) AS BIGINT) AS bytes_written,
  count(*) FILTER (op = 'read') AS reads, count(*) FILTER (op = 'write') AS writes, make_timestamp_ns(min(ts_ns)) AS first_ts, make_timestamp_ns(max(ts_ns)) AS last_ts
FROM stored.socket_events WHERE op IN ('read', 'write') AND thread_id IS NOT NULL GROUP BY socket_id, thread_id;
