-- Question: What is new, gone, slower or faster since yesterday: services, operations, and who calls whom?
-- Assumes: as long a time before $at is compared with the time after it, $hours at each side. Slower and faster speak of the median.
-- Can get wrong: what is rare may be absent from one side by chance, and where nothing was captured on one side everything is new or gone.
--   Services that are not traced are known by address, so that a changed address looks like another service.
-- Parameters:
--   $at TIMESTAMP = $hours before the newest span: the moment that is looked at, UTC
--   $hours DOUBLE = 24: so long before it and after it
--   $factor DOUBLE = 1.5: median so many times longer or shorter
--   $at_least INTEGER = 5: requests on each side before a median counts
--   $limit INTEGER = 100: at most so many rows
WITH moment AS (
  SELECT coalesce(epoch_ns($at::TIMESTAMP_NS), max(start_ns) - CAST(coalesce($hours::DOUBLE, 24) * 3600e9 AS BIGINT)) AS at_ns FROM spans
), seen AS (
  SELECT 'service' AS what, service_name AS name, start_ns, duration_ns FROM spans WHERE kind = 'server'
  UNION ALL
  SELECT 'operation', service_name || ': ' || span_name, start_ns, duration_ns FROM spans WHERE kind = 'server'
  UNION ALL
  SELECT 'call', call.service_name || ' -> ' || coalesce(callee.service_name, call.server_address || ':' || call.server_port), call.start_ns, call.duration_ns
  FROM spans AS call
  LEFT JOIN spans AS callee ON callee.parent_span_id = call.span_id AND callee.kind = 'server'
  WHERE call.kind = 'client'
), sides AS (
  SELECT what, name, duration_ns, start_ns - (SELECT at_ns FROM moment) AS after_ns FROM seen WHERE name IS NOT NULL
), compared AS (
  SELECT what, name, count(*) FILTER (after_ns < 0) AS before, count(*) FILTER (after_ns >= 0) AS after,
    quantile_cont(duration_ns, 0.5) FILTER (after_ns < 0) / 1e6 AS p50_ms_before, quantile_cont(duration_ns, 0.5) FILTER (after_ns >= 0) / 1e6 AS p50_ms_after
  FROM sides
  WHERE abs(after_ns) <= coalesce($hours::DOUBLE, 24) * 3600e9
  GROUP BY what, name
), judged AS (
  SELECT *, CASE WHEN before = 0 THEN 'new' WHEN after = 0 THEN 'gone' WHEN least(before, after) < coalesce($at_least::INTEGER, 5) THEN NULL
    WHEN p50_ms_after >= p50_ms_before * coalesce($factor::DOUBLE, 1.5) THEN 'slower' WHEN p50_ms_before >= p50_ms_after * coalesce($factor::DOUBLE, 1.5) THEN 'faster' END AS change
  FROM compared
)
SELECT change, what, name, before, after, round(p50_ms_before, 3) AS p50_ms_before, round(p50_ms_after, 3) AS p50_ms_after
FROM judged
WHERE change IS NOT NULL
ORDER BY change, what DESC, greatest(before, after) DESC, name
LIMIT coalesce($limit::BIGINT, 100)
