-- Question: Which calls had to wait because all connections of their pool were busy?
-- Assumes: a process's connections to one server are a pool, as large as the most calls that it ever had under way there. A call waited when it began on a
--   connection at once after another request's call on it had ended, all others were busy, and its own request had been there before that.
-- Can get wrong: the request may have had other work until then, so that waited_at_most_ms is an upper bound. A client that hands its only
--   connection on from request to request is a pool of one. A pool without a limit meets its own peak now and then: a few calls of many that took the
--   last connection say nothing. Calls whose cause is not known are left out.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only calls of this service
--   $at_once_ms DOUBLE = 1: so soon after the call before
--   $limit INTEGER = 20: at most so many rows
WITH calls AS (
  SELECT trace_id, span_id, parent_span_id, process_id, service_name, server_address || ':' || server_port AS server, socket_id, start_ns, end_ns
  FROM spans
  WHERE kind = 'client' AND span_name <> 'connect'
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
), steps AS (
  SELECT process_id, server, span_id, start_ns AS at_ns, 1 AS change FROM calls
  UNION ALL
  SELECT process_id, server, NULL, end_ns, -1 FROM calls
), busy AS (
  SELECT process_id, server, span_id, sum(change) OVER (PARTITION BY process_id, server ORDER BY at_ns, change, span_id ROWS UNBOUNDED PRECEDING) AS busy FROM steps
), sized AS (
  SELECT process_id, server, span_id, busy = max(busy) OVER (PARTITION BY process_id, server) AS all_busy, max(busy) OVER (PARTITION BY process_id, server) AS pool_size FROM busy
), successive AS (
  SELECT *, lag(end_ns) OVER turn AS freed_ns, lag(parent_span_id) OVER turn AS freed_by, lag(end_ns) OVER (PARTITION BY parent_span_id ORDER BY end_ns) AS own_before_ns
  FROM calls
  WINDOW turn AS (PARTITION BY socket_id ORDER BY start_ns, end_ns)
), judged AS (
  SELECT c.trace_id, c.service_name, c.server, z.pool_size, z.all_busy, c.start_ns - greatest(r.start_ns, CASE WHEN c.own_before_ns <= c.start_ns THEN c.own_before_ns ELSE r.start_ns END) AS waited_ns,
    z.all_busy AND c.freed_by <> c.parent_span_id AND c.start_ns - c.freed_ns BETWEEN 0 AND coalesce($at_once_ms::DOUBLE, 1) * 1e6
      AND greatest(r.start_ns, CASE WHEN c.own_before_ns <= c.start_ns THEN c.own_before_ns ELSE r.start_ns END) < c.freed_ns AS waited
  FROM successive AS c
  JOIN sized AS z ON z.process_id = c.process_id AND z.server = c.server AND z.span_id = c.span_id
  LEFT JOIN spans AS r ON r.span_id = c.parent_span_id
)
SELECT service_name AS caller, server, max(pool_size) AS pool_size, count(*) AS calls, count(*) FILTER (all_busy) AS calls_that_took_the_last, count(*) FILTER (waited) AS calls_that_waited,
  round(quantile_cont(waited_ns, 0.5) FILTER (waited) / 1e6, 3) AS median_waited_at_most_ms, round(max(waited_ns) FILTER (waited) / 1e6, 3) AS waited_at_most_ms,
  arg_max(trace_id, waited_ns) FILTER (waited) AS example_trace_id
FROM judged
GROUP BY caller, server
HAVING calls_that_waited > 0
ORDER BY calls_that_waited DESC, caller, server
LIMIT coalesce($limit::BIGINT, 20)
