-- Question: Which requests make many alike calls, one after another, where one would do?
-- Assumes: alike are calls of one request to one server by the same operation, whatever is in the places of {id}; one after another means that
--   each began when the one before had ended. (Calls that run at once cost connections, but little time.)
-- Can get wrong: what reads a page at a time, or works off a queue, does so on purpose. Calls to a database whose protocol is not understood
--   are all alike. Calls whose cause is not known are left out.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only requests to this service
--   $at_least INTEGER = 5: so many calls in one request
--   $limit INTEGER = 20: at most so many rows
WITH calls AS (
  SELECT parent_span_id, server_address || ':' || server_port AS server, span_name, duration_ns,
    coalesce(lag(end_ns) OVER (PARTITION BY parent_span_id, server_address, server_port, span_name ORDER BY start_ns, end_ns) <= start_ns, true) AS in_turn
  FROM spans
  WHERE kind = 'client' AND parent_span_id IS NOT NULL AND span_name <> 'connect'
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
), loops AS (
  SELECT parent_span_id, server, span_name, count(*) AS calls, sum(duration_ns) AS calls_ns
  FROM calls
  WHERE in_turn
  GROUP BY ALL
  HAVING count(*) >= coalesce($at_least::INTEGER, 5)
)
SELECT cause.service_name AS service, cause.span_name AS operation, loops.server AS called_server, loops.span_name AS called_operation, count(*) AS requests,
  quantile_disc(loops.calls, 0.5) AS median_calls, max(loops.calls) AS most_calls, round(avg(loops.calls_ns / greatest(cause.duration_ns, 1)), 3) AS share_of_request,
  arg_max(cause.trace_id, loops.calls) AS example_trace_id
FROM loops
JOIN spans AS cause ON cause.span_id = loops.parent_span_id
GROUP BY ALL
ORDER BY sum(loops.calls) DESC, service, operation, called_operation
LIMIT coalesce($limit::BIGINT, 20)
