-- Question: What was lost on which node, why, and how many traces does it cut?
-- Assumes: a span that is not complete, on the node and in the time of a loss, was cut by it. Losses that overlap count as one time.
-- Can get wrong: where several causes meet, each counts the same traces. A loss can hide whole spans; those are in no count.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only losses that end at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only losses that begin before it, UTC
--   $node VARCHAR = all: only this node
WITH lost AS (
  SELECT node, cause, epoch_ns(from_ts) AS from_ns, epoch_ns(to_ts) AS to_ns, events_lost
  FROM losses
  WHERE to_ts >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND from_ts < coalesce($end::TIMESTAMP_NS, '2262-01-01') AND ($node::VARCHAR IS NULL OR node = $node::VARCHAR)
), begun AS (
  -- Overlapping losses become one stretch, so that the last stretch that began before a span's end decides.
  SELECT *, coalesce(from_ns > max(to_ns) OVER (PARTITION BY node, cause ORDER BY from_ns, to_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true) AS begins FROM lost
), numbered AS (
  SELECT *, count(*) FILTER (begins) OVER (PARTITION BY node, cause ORDER BY from_ns, to_ns) AS stretch FROM begun
), stretches AS (
  SELECT node, cause, stretch, min(from_ns) AS from_ns, max(to_ns) AS to_ns FROM numbered GROUP BY node, cause, stretch
), causes AS (
  SELECT node, cause, count(*) AS losses, CAST(sum(events_lost) AS BIGINT) AS events_lost, min(from_ns) AS from_ns, max(to_ns) AS to_ns FROM lost GROUP BY node, cause
), cut AS (
  SELECT s.node, c.cause, s.trace_id, s.start_ns, s.end_ns FROM spans AS s JOIN causes AS c ON c.node = s.node WHERE NOT s.complete
), hits AS (
  SELECT cut.node, cut.cause, cut.trace_id
  FROM cut
  ASOF JOIN stretches AS l ON l.node = cut.node AND l.cause = cut.cause AND l.from_ns <= cut.end_ns
  WHERE l.to_ns >= cut.start_ns
), counted AS (
  SELECT node, cause, count(*) AS spans_cut, count(DISTINCT trace_id) AS traces_cut, min(trace_id) AS example_trace_id FROM hits GROUP BY node, cause
), whole AS (
  SELECT node, count(DISTINCT trace_id) AS traces FROM spans GROUP BY node
)
SELECT c.node, c.cause, c.losses, c.events_lost, make_timestamp_ns(c.from_ns) AS first, make_timestamp_ns(c.to_ns) AS last, coalesce(n.spans_cut, 0) AS spans_cut, coalesce(n.traces_cut, 0) AS traces_cut,
  coalesce(w.traces, 0) AS traces_of_node, n.example_trace_id
FROM causes AS c
LEFT JOIN counted AS n ON n.node = c.node AND n.cause = c.cause
LEFT JOIN whole AS w ON w.node = c.node
ORDER BY traces_cut DESC, events_lost DESC NULLS LAST, c.node, c.cause
