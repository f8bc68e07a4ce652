-- Question: How much does each container or pod send and receive?
-- Assumes: bytes of the application, as its calls moved them: without headers of TCP and IP, and without what was sent twice. A pod is known by
--   its part of the cgroup path.
-- Can get wrong: what goes through Unix sockets or stays on the node counts too. Bytes of lost events are missing (traces-cut-by-losses).
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what was moved at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what was moved before it, UTC
--   $service VARCHAR = all: only this service
--   $limit INTEGER = 50: at most so many rows
WITH moved AS (
  SELECT process_id, CAST(sum(bytes) FILTER (op = 'read') AS BIGINT) AS bytes_in, CAST(sum(bytes) FILTER (op = 'write') AS BIGINT) AS bytes_out, count(DISTINCT socket_id) AS sockets
  FROM socket_events
  WHERE op IN ('read', 'write') AND layer = 'socket' AND ts >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND ts < coalesce($end::TIMESTAMP_NS, '2262-01-01')
  GROUP BY process_id
)
SELECT p.node, coalesce(p.container_id, 'none') AS container, nullif(regexp_extract(p.cgroup, 'pod([0-9a-f_-]{36})', 1), '') AS pod,
  string_agg(DISTINCT p.service_name, ', ' ORDER BY p.service_name) AS services, count(*) AS processes, CAST(sum(sockets) AS BIGINT) AS sockets,
  CAST(sum(coalesce(bytes_in, 0)) AS BIGINT) AS bytes_in, CAST(sum(coalesce(bytes_out, 0)) AS BIGINT) AS bytes_out
FROM moved
JOIN processes AS p ON p.process_id = moved.process_id
WHERE ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
GROUP BY p.node, container, pod
ORDER BY sum(coalesce(moved.bytes_in, 0) + coalesce(moved.bytes_out, 0)) DESC, p.node, container
LIMIT coalesce($limit::BIGINT, 50)
