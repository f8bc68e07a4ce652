-- Question: Which calls are made again after they failed, and does that help?
-- Assumes: a retry is made by the same request, to the same server, with the same method and path, after the call before it failed or
--   was never answered. Calls that run at the same time are no retries of each other.
-- Can get wrong: calls whose cause is not known are left out (uncertain-links tells how many). A client that polls, and accepts errors, seems to
--   retry. A connection that was refused had no path yet, so that only another refusal counts as its retry.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only calls of this service
--   $limit INTEGER = 20: at most so many rows
WITH attempts AS (
  SELECT trace_id, parent_span_id, service_name, server_address || ':' || server_port AS server, span_name, url_path, start_ns, end_ns,
    status = 'error' OR (attributes->>'answered') = 'false' AS failed
  FROM spans
  WHERE kind = 'client' AND parent_span_id IS NOT NULL
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
), ordered AS (
  SELECT *, lag(failed) OVER attempt AND lag(end_ns) OVER attempt <= start_ns AS is_retry, lag(end_ns) OVER attempt AS failed_ns, lead(start_ns) OVER attempt IS NULL AS is_last
  FROM attempts
  WINDOW attempt AS (PARTITION BY parent_span_id, server, span_name, url_path ORDER BY start_ns, end_ns)
)
SELECT service_name AS caller, server, span_name AS operation, count(DISTINCT parent_span_id) AS requests_that_retry, count(*) AS retries,
  count(*) FILTER (NOT failed) AS retries_that_helped, count(*) FILTER (failed AND is_last) AS given_up,
  round(quantile_cont(start_ns - failed_ns, 0.5) / 1e6, 3) AS median_pause_ms, min(trace_id) AS example_trace_id
FROM ordered
WHERE is_retry
GROUP BY caller, server, operation
ORDER BY retries DESC, caller, server, operation
LIMIT coalesce($limit::BIGINT, 20)
