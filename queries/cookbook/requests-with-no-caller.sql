-- Question: Where does work enter: which requests come from somebody who is not traced?
-- Assumes: a request that a traced process sent has that process's call as its parent; what has none came from outside.
-- Can get wrong: where the caller's events were lost, or its collector did not run, an inner request looks like an entry (incomplete counts the ones
--   that a loss touches). Proxies on machines that are not traced hide who really called.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only this service
--   $limit INTEGER = 20: at most so many rows
SELECT service_name AS service, span_name AS operation, server_port AS port, count(*) AS requests, count(DISTINCT client_address) AS client_addresses, mode(client_address) AS most_from,
  count(*) FILTER (status = 'error') AS errors, round(quantile_cont(duration_ns, 0.5) / 1e6, 3) AS p50_ms, count(*) FILTER (NOT complete) AS incomplete, min(trace_id) AS example_trace_id
FROM spans
WHERE kind = 'server' AND parent_span_id IS NULL
  AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
  AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
GROUP BY service, operation, port
ORDER BY requests DESC, service, operation
LIMIT coalesce($limit::BIGINT, 20)
