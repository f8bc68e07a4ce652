-- Question: Which operations are slowest, and how slow are they as a rule and at worst?
-- Assumes: an operation is a method with the path's varying parts as {id}; its time is the server's, from the request's first byte to the
--   last byte of the answer.
-- Can get wrong: an answer that is streamed for long is long without being slow. Requests that were never answered count up to where they ended.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only this service
--   $at_least INTEGER = 1: so many requests
--   $limit INTEGER = 20: at most so many rows
SELECT service_name AS service, span_name AS operation, count(*) AS requests, count(*) FILTER (status = 'error') AS errors,
  round(quantile_cont(duration_ns, 0.5) / 1e6, 3) AS p50_ms, round(quantile_cont(duration_ns, 0.95) / 1e6, 3) AS p95_ms, round(quantile_cont(duration_ns, 0.99) / 1e6, 3) AS p99_ms,
  round(max(duration_ns) / 1e6, 3) AS max_ms, arg_max(trace_id, duration_ns) AS slowest_trace_id
FROM spans
WHERE kind = 'server'
  AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
  AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
GROUP BY service, operation
HAVING count(*) >= coalesce($at_least::INTEGER, 1)
ORDER BY p99_ms DESC, requests DESC, service, operation
LIMIT coalesce($limit::BIGINT, 20)
