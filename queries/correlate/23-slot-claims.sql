-- Question:  which waiting thread was woken when the answer to this call had been read?
-- Input:     unsure_calls; call_places, open_places; call_ends; blocking_pools; holds; thread_moves (forks, exits, wakes that a thread caused)
-- Assumes:   in a pool whose threads answer the requests that they read, a thread that waits for a call made by others (a client
--            library's own threads) sleeps until the answer has been read, and is then woken by the reader, or by a thread that the
--            reader woke for it. What a thread does between two wakes, it does for what it was woken for.
-- Known false matches: a wake in between that had another reason, such as a lock handed over, within the moments between the
--            reading of the answer and the wake. Wakes are missing when the thread was not asleep yet: then nothing is claimed.
-- Local to a node.

-- @needs work

-- @name slot_answers
-- Until when the reader's wakes belong to this answer: it reads the next, or a while has passed.
SELECT
  d.span_id AS span_id, d.thread_id AS thread_id, d.begun_ns AS begun_ns, d.end_ns AS end_ns,
  least(d.end_ns + 50000000, coalesce(lead(d.end_ns) OVER (PARTITION BY d.thread_id ORDER BY d.end_ns, d.span_id), d.end_ns + 50000000)) AS until_ns
FROM call_ends d
JOIN blocking_pools b ON b.process_id = d.process_id

-- @needs work, blocking_pools

-- @name pool_wakes
-- What a woken thread does until it is woken again belongs to this wake.
SELECT
  m.thread_id AS thread_id, m.target_thread_id AS target_thread_id, m.ts_ns AS ts_ns,
  least(m.ts_ns + 50000000, coalesce(lead(m.ts_ns) OVER (PARTITION BY m.target_thread_id ORDER BY m.ts_ns, m.thread_id), m.ts_ns + 50000000)) AS until_ns
FROM thread_moves m
JOIN blocking_pools b ON b.process_id = m.process_id
WHERE m.op = 'wake' AND m.ts_ns >= b.first_ns

-- @name relayed_wakes
-- The reader's wakes, and those of the threads that it woke; near: nothing else had woken that thread in between.
SELECT a.span_id AS span_id, a.begun_ns AS begun_ns, a.end_ns AS end_ns, w.target_thread_id AS thread_id, w.ts_ns AS ts_ns, TRUE AS near
FROM slot_answers a
JOIN pool_wakes w ON w.thread_id = a.thread_id AND w.ts_ns >= a.end_ns AND w.ts_ns < a.until_ns
UNION ALL
SELECT a.span_id AS span_id, a.begun_ns AS begun_ns, a.end_ns AS end_ns, n.target_thread_id AS thread_id, n.ts_ns AS ts_ns, n.ts_ns < w.until_ns AS near
FROM slot_answers a
JOIN pool_wakes w ON w.thread_id = a.thread_id AND w.ts_ns >= a.end_ns AND w.ts_ns < a.until_ns
JOIN pool_wakes n ON n.thread_id = w.target_thread_id AND n.ts_ns > w.ts_ns AND n.ts_ns < w.ts_ns + 5000000

-- @name slots
-- Of the woken threads those that were at work on a request since before the call.
SELECT r.span_id AS span_id, h.span_id AS candidate_span_id, r.thread_id AS thread_id, min(r.ts_ns) AS woken_ns, max(CASE WHEN r.near THEN 1 ELSE 0 END) AS near, max(r.end_ns) AS end_ns
FROM relayed_wakes r
JOIN holds h ON h.thread_id = r.thread_id AND h.from_ns <= r.begun_ns AND h.to_ns > r.ts_ns
GROUP BY r.span_id, h.span_id, r.thread_id

-- @name near_slots
-- Each wake ends one call (the last one read before it), each call ends with one wake.
SELECT
  n.span_id AS span_id, n.candidate_span_id AS candidate_span_id, n.thread_id AS thread_id, n.woken_ns AS woken_ns,
  count(*) OVER (PARTITION BY n.span_id) AS wakes,
  CAST(row_number() OVER (PARTITION BY n.thread_id, n.woken_ns ORDER BY n.end_ns DESC, n.span_id) AS BIGINT) AS last_call
FROM slots n
WHERE n.near = 1

-- @name pool_owners
-- Calls whose request is known, or of which only one thread was woken.
SELECT d.span_id AS span_id, o.owner AS owner, o.woken AS woken, d.begun_ns AS begun_ns, d.end_ns AS end_ns
FROM call_ends d
JOIN blocking_pools b ON b.process_id = d.process_id
JOIN (
  SELECT n.span_id AS span_id, n.candidate_span_id AS owner, TRUE AS woken FROM near_slots n WHERE n.wakes = 1 AND n.last_call = 1
  UNION ALL
  SELECT k.span_id AS span_id, k.owner AS owner, FALSE AS woken FROM known_owners k
) o ON o.span_id = d.span_id

-- @name sure_calls
-- A thread that waits for one call cannot make another: where two of them overlap, one is wrong.
SELECT o.span_id AS span_id, o.owner AS owner, o.begun_ns AS begun_ns, o.end_ns AS end_ns
FROM pool_owners o
WHERE NOT o.woken OR NOT EXISTS (SELECT 1 FROM pool_owners x WHERE x.owner = o.owner AND x.span_id <> o.span_id AND x.begun_ns < o.end_ns AND x.end_ns > o.begun_ns)

-- @name free_slots
-- For the rest: of the threads that were woken, or else of all at work, those that waited for nothing else from the call's beginning
-- to its end.
SELECT b.span_id AS span_id, b.candidate_span_id AS candidate_span_id, count(*) OVER (PARTITION BY b.span_id) AS free
FROM (
  SELECT c.span_id AS span_id, k.span_id AS candidate_span_id, n.span_id IS NOT NULL AS woken, count(n.span_id) OVER (PARTITION BY c.span_id) AS all_woken
  FROM call_places c
  JOIN blocking_pools p ON p.process_id = c.process_id
  JOIN open_places k ON k.process_id = c.process_id AND k.width = c.width AND k.piece_ns = c.piece_ns
    AND k.request_end_ns <= c.at_ns AND k.answer_ns >= c.end_ns
  LEFT JOIN (SELECT n.span_id AS span_id, n.candidate_span_id AS candidate_span_id FROM slots n GROUP BY n.span_id, n.candidate_span_id) n ON n.span_id = c.span_id AND n.candidate_span_id = k.span_id
  LEFT JOIN sure_calls s ON s.span_id = c.span_id
  WHERE s.span_id IS NULL AND c.answered
    AND NOT EXISTS (SELECT 1 FROM sure_calls o WHERE o.owner = k.span_id AND o.begun_ns < c.end_ns AND o.end_ns > c.at_ns)
) b
WHERE b.woken OR b.all_woken = 0

-- @name asked
-- Who had woken the thread that wrote the call, or the one that woke it, right before.
SELECT c.span_id AS span_id, w.thread_id AS thread_id
FROM (SELECT f.span_id AS span_id FROM free_slots f WHERE f.free > 1 GROUP BY f.span_id) f
JOIN unsure_calls c ON c.span_id = f.span_id
JOIN pool_wakes w ON w.target_thread_id = c.thread_id AND w.ts_ns <= c.at_ns AND w.until_ns > c.at_ns
UNION
SELECT c.span_id AS span_id, v.thread_id AS thread_id
FROM (SELECT f.span_id AS span_id FROM free_slots f WHERE f.free > 1 GROUP BY f.span_id) f
JOIN unsure_calls c ON c.span_id = f.span_id
JOIN pool_wakes w ON w.target_thread_id = c.thread_id AND w.ts_ns <= c.at_ns AND w.until_ns > c.at_ns
JOIN pool_wakes v ON v.target_thread_id = w.thread_id AND v.ts_ns <= w.ts_ns AND v.until_ns > w.ts_ns

-- @name slot_claims
-- One that is left: it. Of several that are, the one that asked for the call.
SELECT c.span_id AS span_id, s.candidate_span_id AS candidate_span_id, 'slot' AS evidence, max(s.score) AS score, c.fresh AS at_connect, FALSE AS doubt
FROM (
  SELECT o.span_id AS span_id, o.owner AS candidate_span_id, CAST(0.99 AS DOUBLE) AS score FROM sure_calls o
  UNION ALL
  SELECT
    b.span_id AS span_id, b.candidate_span_id AS candidate_span_id,
    CASE
      WHEN b.free = 1 THEN CAST(0.9 AS DOUBLE)
      WHEN b.asked_by AND b.all_asked = 1 THEN CAST(0.8 AS DOUBLE)
      ELSE CAST(0.5 AS DOUBLE) / b.free
    END AS score
  FROM (
    SELECT
      f.span_id AS span_id, f.candidate_span_id AS candidate_span_id, f.free AS free, q.span_id IS NOT NULL AS asked_by,
      count(q.span_id) OVER (PARTITION BY f.span_id) AS all_asked
    FROM free_slots f
    JOIN work k ON k.span_id = f.candidate_span_id
    LEFT JOIN asked q ON q.span_id = f.span_id AND q.thread_id = k.reader_thread_id
  ) b
  WHERE b.free <= 16
) s
JOIN unsure_calls c ON c.span_id = s.span_id
GROUP BY c.span_id, s.candidate_span_id, c.fresh
