-- Question: Which calls leave for servers that are not traced, and where to?
-- Assumes: a call whose other end was not seen went to a machine without a collector, or to a process out of its scope.
-- Can get wrong: where the server's events were lost, an inner call looks like one to the outside. The host is what the client wrote in its
--   request; where nothing is understood (TLS, databases), only the address is known.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only calls of this service
--   $limit INTEGER = 50: at most so many rows
SELECT service_name AS caller, coalesce(attributes->>'host', server_address) AS host, server_port AS port, count(DISTINCT server_address) AS addresses, count(*) AS calls,
  count(*) FILTER (status = 'error') AS errors, CAST(sum(bytes_out) AS BIGINT) AS bytes_out, CAST(sum(bytes_in) AS BIGINT) AS bytes_in,
  round(quantile_cont(duration_ns, 0.5) / 1e6, 3) AS p50_ms, round(quantile_cont(duration_ns, 0.95) / 1e6, 3) AS p95_ms, arg_max(trace_id, duration_ns) AS slowest_trace_id
FROM spans
WHERE kind = 'client' AND (attributes->>'peer') = 'untraced'
  AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
  AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
GROUP BY caller, host, port
ORDER BY calls DESC, caller, host, port
LIMIT coalesce($limit::BIGINT, 50)
