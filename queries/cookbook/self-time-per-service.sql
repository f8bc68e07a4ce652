-- Question: In which service is the time spent, when the time that it waits for its calls is not counted?
-- Assumes: a request's own time is its duration without the times at which at least one of its calls was under way; calls at the same
--   time count once. What a call takes beyond its server's time is network, queue, or a server that is not traced (waiting_outside_ms).
-- Can get wrong: a request that works on while it waits seems to wait only. Calls whose cause is not known stay in the own time of who made them.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only this service
--   $limit INTEGER = 20: at most so many rows
WITH requests AS (
  SELECT span_id, service_name, start_ns, end_ns, duration_ns
  FROM spans
  WHERE kind = 'server'
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
), calls AS (
  SELECT r.span_id, greatest(c.start_ns, r.start_ns) AS from_ns, least(c.end_ns, r.end_ns) AS to_ns, c.duration_ns - coalesce(s.duration_ns, 0) AS outside_ns
  FROM requests AS r
  JOIN spans AS c ON c.parent_span_id = r.span_id AND c.kind = 'client'
  LEFT JOIN spans AS s ON s.parent_span_id = c.span_id AND s.kind = 'server'
), covered AS (
  -- Each call adds what none before it has covered.
  SELECT *, greatest(from_ns, coalesce(max(to_ns) OVER (PARTITION BY span_id ORDER BY from_ns, to_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), from_ns)) AS new_from_ns FROM calls
), waits AS (
  SELECT span_id, sum(greatest(to_ns - new_from_ns, 0)) AS waiting_ns, sum(outside_ns) AS outside_ns FROM covered GROUP BY span_id
)
SELECT r.service_name AS service, count(*) AS requests, round(sum(r.duration_ns) / 1e6, 3) AS total_ms, round(sum(r.duration_ns - coalesce(w.waiting_ns, 0)) / 1e6, 3) AS self_ms,
  round(sum(r.duration_ns - coalesce(w.waiting_ns, 0)) / sum(sum(r.duration_ns - coalesce(w.waiting_ns, 0))) OVER (), 4) AS share_of_all_self_time,
  round(sum(coalesce(w.waiting_ns, 0)) / 1e6, 3) AS waiting_ms, round(sum(coalesce(w.outside_ns, 0)) / 1e6, 3) AS waiting_outside_ms
FROM requests AS r
LEFT JOIN waits AS w ON w.span_id = r.span_id
GROUP BY service
ORDER BY self_ms DESC, service
LIMIT coalesce($limit::BIGINT, 20)
