-- Question: Which sockets did a process never close, though the other end had gone?
-- Assumes: the other end has gone when its end of stream was read or the connection's state says so (CLOSE_WAIT, CLOSE). A process that has ended
--   has leaked nothing: the kernel closed its sockets.
-- Can get wrong: a close whose event was lost looks like a leak. A socket that was handed to another process is closed by that one.
-- Parameters:
--   $service VARCHAR = all: only this service
--   $after_s DOUBLE = 60: seconds that a process has to close
--   $limit INTEGER = 50: at most so many rows
WITH lives AS (
  SELECT socket_id, max(node) AS node, max(process_id) AS process_id, max(fd) AS fd, max(role) AS role, max(local_ip) || ':' || max(local_port) AS local,
    max(remote_ip) || ':' || max(remote_port) AS remote, max(ts_ns) AS last_ns, count(*) FILTER (op = 'close') AS closes,
    min(ts_ns) FILTER ((op = 'state' AND new_state IN (7, 8)) OR (op = 'read' AND flags & 2 <> 0)) AS gone_ns
  FROM socket_events
  GROUP BY socket_id
), aged AS (
  SELECT *, max(last_ns) OVER () - gone_ns AS open_ns FROM lives
)
SELECT p.service_name AS service, aged.node, p.pid, aged.fd, aged.role, aged.local, aged.remote, make_timestamp_ns(gone_ns) AS other_end_gone, round(open_ns / 1e9, 3) AS open_for_s,
  count(*) OVER (PARTITION BY aged.process_id) AS leaked_by_process
FROM aged
JOIN processes AS p ON p.process_id = aged.process_id
WHERE closes = 0 AND gone_ns IS NOT NULL AND p.ended_at IS NULL AND open_ns > coalesce($after_s::DOUBLE, 60) * 1e9 AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
ORDER BY leaked_by_process DESC, open_ns DESC, aged.local
LIMIT coalesce($limit::BIGINT, 50)
