-- Question:  what is left for timing to weigh, and what is it to learn from?
-- Input:     unsure_calls; evidence_claims; open_claims; open_counts; held_calls; work; call_ends; decided; processes; limits (threshold)
-- Assumes:   a service does the same steps for requests of one operation, after delays that have a distribution. Calls that nothing else
--            decides are weighed together with the calls around them: ../timing/ does that, and makes timing_claims.
-- Known false matches: where everything overlaps, delays say little; then the service as a whole is said to be unresolved.
-- Local to a node.

-- @needs work

-- @name settled_calls
SELECT b.span_id AS span_id, b.candidate_span_id AS candidate_span_id
FROM (
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, CAST(row_number() OVER (PARTITION BY t.span_id ORDER BY t.score DESC, t.candidate_span_id) AS BIGINT) AS place
  FROM (
    SELECT e.span_id AS span_id, e.candidate_span_id AS candidate_span_id, e.score AS score FROM evidence_claims e
    UNION ALL
    SELECT o.span_id AS span_id, o.candidate_span_id AS candidate_span_id, o.score AS score FROM open_claims o
  ) t
  CROSS JOIN limits l
  WHERE t.score > l.threshold
) b
WHERE b.place = 1

-- @name doubtful_calls
-- Calls that several requests may have caused, that nothing decides, and whose time has come.
SELECT c.span_id AS span_id, c.process_id AS process_id, coalesce(p.service_name, CAST(c.process_id AS VARCHAR)) AS service, c.at_ns AS at_ns, c.fresh AS fresh
FROM unsure_calls c
JOIN open_counts o ON o.span_id = c.span_id
LEFT JOIN settled_calls s ON s.span_id = c.span_id
LEFT JOIN held_calls h ON h.span_id = c.span_id
LEFT JOIN processes p ON p.process_id = c.process_id
WHERE o.open > 1 AND c.kind = 'request' AND s.span_id IS NULL AND h.span_id IS NULL

-- @needs doubtful_calls

-- @name doubtful_since
SELECT d.service AS service, min(d.at_ns) AS first_ns
FROM doubtful_calls d
GROUP BY d.service

-- @name timing_seen_requests
-- Of those services, the requests since then, and 300 before.
SELECT b.request_id AS request_id, b.service AS service, b.process_id AS process_id, b.method AS method, b.path AS path, b.start_ns AS start_ns, b.end_ns AS end_ns
FROM (
  SELECT
    k.span_id AS request_id, s.service AS service, k.process_id AS process_id, k.method AS method, k.path AS path, k.request_end_ns AS start_ns, k.answer_ns AS end_ns,
    CAST(row_number() OVER (PARTITION BY s.service ORDER BY CASE WHEN k.request_end_ns < s.first_ns THEN 0 ELSE 1 END, k.request_end_ns DESC, k.span_id) AS BIGINT) AS nth,
    k.request_end_ns < s.first_ns AS before
  FROM work k
  LEFT JOIN processes p ON p.process_id = k.process_id
  JOIN doubtful_since s ON s.service = coalesce(p.service_name, CAST(k.process_id AS VARCHAR))
  WHERE k.request_end_ns IS NOT NULL
) b
WHERE NOT b.before OR b.nth <= 300

-- @name timing_seen_calls
-- Calls that were answered. request_id: what they are known to belong to.
SELECT
  d.span_id AS call_id, s.service AS service, d.process_id AS process_id, d.callee_ip AS callee_ip, d.callee_port AS callee_port, d.begun_ns AS start_ns, d.end_ns AS end_ns,
  coalesce(u.candidate_span_id, k.parent_span_id) AS request_id, x.span_id IS NOT NULL AS doubtful
FROM call_ends d
LEFT JOIN processes p ON p.process_id = d.process_id
JOIN doubtful_since s ON s.service = coalesce(p.service_name, CAST(d.process_id AS VARCHAR))
JOIN (SELECT r.service AS service, min(r.start_ns) AS start_ns FROM timing_seen_requests r GROUP BY r.service) f ON f.service = s.service AND f.start_ns <= d.begun_ns
LEFT JOIN settled_calls u ON u.span_id = d.span_id
LEFT JOIN decided k ON k.span_id = d.span_id
LEFT JOIN doubtful_calls x ON x.span_id = d.span_id

-- @name timing_hints
-- What other evidence says of the doubtful ones, where one of those that it names is likely right.
SELECT e.span_id AS call_id, e.candidate_span_id AS request_id, max(e.score) AS score
FROM evidence_claims e
JOIN doubtful_calls d ON d.span_id = e.span_id
JOIN (SELECT t.span_id AS span_id FROM evidence_claims t GROUP BY t.span_id HAVING sum(t.score) >= 0.8) s ON s.span_id = e.span_id
GROUP BY e.span_id, e.candidate_span_id
