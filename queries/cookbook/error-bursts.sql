-- Question: In which minutes did a service fail far more than it usually does?
-- Assumes: usual is the median number of errors in the minutes in which the service had requests.
-- Can get wrong: a service that fails always has no bursts. A burst over the turn of a minute is cut in two. More requests bring more errors:
--   see error_rate.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only this service
--   $at_least INTEGER = 5: errors in a minute
--   $times DOUBLE = 5: times the usual number
--   $limit INTEGER = 50: at most so many rows
WITH minutes AS (
  SELECT service_name, start_ns // 60000000000 AS minute, count(*) AS requests, count(*) FILTER (status = 'error') AS errors, mode(span_name) FILTER (status = 'error') AS most_failing_operation,
    min(trace_id) FILTER (status = 'error') AS example_trace_id
  FROM spans
  WHERE kind = 'server'
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
  GROUP BY service_name, minute
), usual AS (
  SELECT *, quantile_cont(errors, 0.5) OVER (PARTITION BY service_name) AS usual_errors FROM minutes
)
SELECT service_name AS service, make_timestamp_ns(minute * 60000000000) AS minute_start, requests, errors, round(errors / requests, 4) AS error_rate, usual_errors, most_failing_operation, example_trace_id
FROM usual
WHERE errors >= greatest(coalesce($at_least::INTEGER, 5), usual_errors * coalesce($times::DOUBLE, 5))
ORDER BY minute_start, service
LIMIT coalesce($limit::BIGINT, 50)
