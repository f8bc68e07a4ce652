-- Question: Who opens a connection for (almost) every call, for lack of keep-alive or of a pool?
-- Assumes: a call opened its connection when it is the first on a socket whose connect was seen.
-- Can get wrong: a client with very few calls opens as many connections as it must: $at_least_calls leaves these out. Calls on connections that are
--   older than the collector count as kept.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only calls of this service
--   $share DOUBLE = 0.5: connections opened per call, from which on a client is shown
--   $at_least_calls INTEGER = 5: so many calls to one server
--   $limit INTEGER = 20: at most so many rows
WITH calls AS (
  SELECT service_name, server_address || ':' || server_port AS server, socket_id, duration_ns, CAST(attributes->>'connect_duration_ns' AS BIGINT) AS connect_ns
  FROM spans
  WHERE kind = 'client' AND span_name <> 'connect'
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
)
SELECT service_name AS caller, server, count(*) AS calls, count(connect_ns) AS connections_opened, count(DISTINCT socket_id) AS connections_used,
  round(count(connect_ns) / count(*), 3) AS opened_per_call, round(sum(connect_ns) / 1e6, 3) AS connecting_ms, round(sum(duration_ns) / 1e6, 3) AS calls_ms
FROM calls
GROUP BY caller, server
HAVING count(*) >= coalesce($at_least_calls::INTEGER, 5) AND count(connect_ns) / count(*) >= coalesce($share::DOUBLE, 0.5)
ORDER BY connections_opened DESC, caller, server
LIMIT coalesce($limit::BIGINT, 20)
