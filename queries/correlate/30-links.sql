-- Question:  which candidate is the parent?
-- Input:     exchanges; undecided; evidence_claims; open_claims; timing_claims (span_id, candidate_span_id, score, at_connect), which are
--            computed from 26-timing-input.sql; held_calls; limits (threshold)
-- Assumes:   kinds of evidence that name the same candidate confirm each other; the strongest counts.
-- Known false matches: those of the evidence. At or below the threshold no parent is chosen, nor where two candidates are equally likely: a missing link is
--            better than a wrong one.
-- Local to a node.

-- @name claims
-- That a request was open is said only of those of which nothing better is known.
SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt
FROM evidence_claims t
UNION ALL
SELECT o.span_id AS span_id, o.candidate_span_id AS candidate_span_id, o.evidence AS evidence, o.score AS score, o.at_connect AS at_connect, o.doubt AS doubt
FROM open_claims o
LEFT JOIN evidence_claims t ON t.span_id = o.span_id AND t.candidate_span_id = o.candidate_span_id AND t.score >= o.score
LEFT JOIN timing_claims w ON w.span_id = o.span_id AND w.candidate_span_id = o.candidate_span_id
LEFT JOIN evidence_off x ON x.evidence = o.evidence
WHERE t.span_id IS NULL AND w.span_id IS NULL AND x.evidence IS NULL
UNION ALL
SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, 'timing' AS evidence, t.score AS score, t.at_connect AS at_connect, FALSE AS doubt
FROM timing_claims t
LEFT JOIN evidence_off x ON x.evidence = 'timing'
WHERE x.evidence IS NULL

-- @name ranked_claims
-- Of equal scores, what the program says itself comes first, then its tasks. tied: two candidates have equal claims to be the first.
SELECT
  b.span_id AS span_id, b.candidate_span_id AS candidate_span_id, b.evidence AS evidence, b.score AS score, b.at_connect AS at_connect, b.doubt AS doubt,
  CAST(row_number() OVER (PARTITION BY b.span_id ORDER BY b.score DESC, b.kind, b.candidate_span_id, b.evidence) AS BIGINT) AS place,
  min(b.candidate_span_id) OVER (PARTITION BY b.span_id, b.score, b.kind) <> max(b.candidate_span_id) OVER (PARTITION BY b.span_id, b.score, b.kind) AS tied
FROM (
  SELECT c.*, CASE c.evidence WHEN 'header' THEN 0 WHEN 'task' THEN 1 ELSE 2 END AS kind
  FROM claims c
) b

-- @name full_requests
-- Requests that have caused as many calls as a trace may hold: streams, long polls, batch jobs.
SELECT r.candidate_span_id AS candidate_span_id, coalesce(max(k.calls), 0) AS calls
FROM ranked_claims r
CROSS JOIN limits l
LEFT JOIN known_call_counts k ON k.span_id = r.candidate_span_id
WHERE r.place = 1 AND r.score > l.threshold AND NOT r.tied
GROUP BY r.candidate_span_id, l.call_limit
HAVING count(*) + coalesce(max(k.calls), 0) > l.call_limit

-- @name split_calls
-- Their later calls begin traces of their own, and say so by a candidate of the kind 'split'.
SELECT b.span_id AS span_id
FROM (
  SELECT r.span_id AS span_id, f.calls + row_number() OVER (PARTITION BY r.candidate_span_id ORDER BY e.ts_ns, r.span_id) AS nth, l.call_limit AS call_limit
  FROM ranked_claims r
  JOIN full_requests f ON f.candidate_span_id = r.candidate_span_id
  JOIN exchanges e ON e.span_id = r.span_id
  CROSS JOIN limits l
  WHERE r.place = 1 AND r.score > l.threshold AND NOT r.tied
) b
WHERE b.nth > b.call_limit

-- @name links
SELECT
  r.span_id AS span_id, r.candidate_span_id AS candidate_span_id, r.evidence AS evidence, r.score AS score,
  r.place = 1 AND r.score > l.threshold AND NOT r.tied AND s.span_id IS NULL AS chosen,
  r.at_connect AS at_connect, r.doubt AS doubt
FROM ranked_claims r
CROSS JOIN limits l
LEFT JOIN split_calls s ON s.span_id = r.span_id
UNION ALL
SELECT r.span_id AS span_id, r.candidate_span_id AS candidate_span_id, 'split' AS evidence, r.score AS score, FALSE AS chosen, r.at_connect AS at_connect, FALSE AS doubt
FROM ranked_claims r
JOIN split_calls s ON s.span_id = r.span_id
WHERE r.place = 1

-- @name waiting_calls
-- Calls that are not decided yet: what may still come (an answer, a better claim) could change whose they are, and a span once stored is not changed.
SELECT c.span_id AS span_id
FROM unsure_calls c
CROSS JOIN limits l
LEFT JOIN held_calls h ON h.span_id = c.span_id
LEFT JOIN young_calls y ON y.span_id = c.span_id
LEFT JOIN links s ON s.span_id = c.span_id AND s.chosen
WHERE h.span_id IS NOT NULL OR (c.at_ns > l.cut_ns - l.decide_limit_ns AND y.span_id IS NOT NULL AND s.span_id IS NULL)
GROUP BY c.span_id
