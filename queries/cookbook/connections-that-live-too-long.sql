-- Question: Which connections live so long that they outlast deployments, scaling and changes of DNS?
-- Assumes: a connection lives from its first event to its close, or to the newest event of all where it was not closed. One that is older
--   than the collector has lived at least since it was first seen (age_is_at_least).
-- Can get wrong: a connection that has been silent since before the collector started has no events, and is not here. Where a collector died, its
--   connections seem open.
-- Parameters:
--   $service VARCHAR = all: only connections of this service
--   $longer_than_s DOUBLE = 3600: seconds that a connection may live
--   $role VARCHAR = client: the end that is looked at: client or server
--   $limit INTEGER = 50: at most so many rows
WITH lives AS (
  SELECT socket_id, max(node) AS node, max(process_id) AS process_id, max(local_ip) || ':' || max(local_port) AS local, max(remote_ip) || ':' || max(remote_port) AS remote,
    min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, count(*) FILTER (op IN ('connect', 'accept')) = 0 AS age_is_at_least,
    min(ts_ns) FILTER (op = 'close' OR (op = 'state' AND new_state = 7)) AS closed_ns, max(ts_ns) FILTER (op IN ('read', 'write')) AS moved_ns
  FROM socket_events
  WHERE role = coalesce($role::VARCHAR, 'client')
  GROUP BY socket_id
), aged AS (
  SELECT *, coalesce(closed_ns, max(last_ns) OVER ()) AS until_ns FROM lives
)
SELECT p.service_name AS service, aged.node, aged.local, aged.remote, closed_ns IS NULL AS is_open, round((until_ns - first_ns) / 1e9, 3) AS age_s, age_is_at_least,
  round((until_ns - moved_ns) / 1e9, 3) AS silent_s, make_timestamp_ns(first_ns) AS first_seen
FROM aged
LEFT JOIN processes AS p ON p.process_id = aged.process_id
WHERE until_ns - first_ns > coalesce($longer_than_s::DOUBLE, 3600) * 1e9 AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
ORDER BY age_s DESC, service, aged.local
LIMIT coalesce($limit::BIGINT, 50)
