-- Question: Which operations fail how often, and which of their calls fails first?
-- Assumes: when a request fails, the first of its own calls that failed is the likeliest reason.
-- Can get wrong: a failed call may have been expected, and the request may fail for a reason of its own; alone_failed counts the failed requests
--   without any failed call. Follow the dependency's own rows to get to the bottom.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only this service
--   $limit INTEGER = 20: at most so many rows
WITH requests AS (
  SELECT span_id, trace_id, service_name, span_name, status
  FROM spans
  WHERE kind = 'server'
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
), failed_calls AS (
  SELECT call.parent_span_id, call.start_ns, call.span_name, coalesce(callee.service_name, call.attributes->>'host', call.server_address || ':' || call.server_port) AS dependency
  FROM spans AS call
  LEFT JOIN spans AS callee ON callee.parent_span_id = call.span_id AND callee.kind = 'server'
  WHERE call.kind = 'client' AND call.status = 'error' AND call.parent_span_id IS NOT NULL
), first_failed AS (
  SELECT parent_span_id, arg_min(dependency || ': ' || span_name, start_ns) AS call FROM failed_calls GROUP BY parent_span_id
)
SELECT r.service_name AS service, r.span_name AS operation, count(*) AS requests, count(*) FILTER (r.status = 'error') AS errors, round(count(*) FILTER (r.status = 'error') / count(*), 4) AS error_rate,
  mode(f.call) FILTER (r.status = 'error') AS first_failing_dependency, count(f.call) FILTER (r.status = 'error') AS with_failed_call,
  count(*) FILTER (r.status = 'error' AND f.call IS NULL) AS alone_failed, min(r.trace_id) FILTER (r.status = 'error') AS example_trace_id
FROM requests AS r
LEFT JOIN first_failed AS f ON f.parent_span_id = r.span_id
GROUP BY service, operation
HAVING errors > 0
ORDER BY errors DESC, service, operation
LIMIT coalesce($limit::BIGINT, 20)
