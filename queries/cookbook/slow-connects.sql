-- Question: Where does connecting take long, and where the wait for the first byte of the answer?
-- Assumes: a call that opened its connection begins when connect was called, after DNS; connecting lasts until the first byte of the request.
--   The first byte of the answer is counted from the call's beginning, so that a connect before it counts too.
-- Can get wrong: a connection that is opened ahead of need seems slow to connect. An answer that comes in one piece has its first byte at its end: a
--   slow server looks like a slow network. Where nothing is understood (TLS), the handshake is a call of its own.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only calls of this service
--   $slower_than_ms DOUBLE = 10: connects or first bytes that take longer are slow
--   $limit INTEGER = 20: at most so many rows
WITH calls AS (
  SELECT trace_id, service_name, server_address || ':' || server_port AS server, CAST(attributes->>'connect_duration_ns' AS BIGINT) / 1e6 AS connect_ms,
    CAST(attributes->>'time_to_first_byte_ns' AS BIGINT) / 1e6 AS first_byte_ms
  FROM spans
  WHERE kind = 'client'
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
)
SELECT service_name AS caller, server, count(*) AS calls, count(connect_ms) AS connects, count(*) FILTER (connect_ms > coalesce($slower_than_ms::DOUBLE, 10)) AS slow_connects,
  round(quantile_cont(connect_ms, 0.95), 3) AS p95_connect_ms, count(*) FILTER (first_byte_ms > coalesce($slower_than_ms::DOUBLE, 10)) AS slow_first_bytes,
  round(quantile_cont(first_byte_ms, 0.5), 3) AS p50_first_byte_ms, round(quantile_cont(first_byte_ms, 0.95), 3) AS p95_first_byte_ms,
  arg_max(trace_id, greatest(coalesce(connect_ms, 0), coalesce(first_byte_ms, 0))) AS slowest_trace_id
FROM calls
GROUP BY caller, server
HAVING slow_connects + slow_first_bytes > 0
ORDER BY slow_connects DESC, slow_first_bytes DESC, caller, server
LIMIT coalesce($limit::BIGINT, 20)
