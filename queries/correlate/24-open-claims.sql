-- Question:  which requests could have caused a call that nothing else decides?
-- Input:     unsure_calls; work; open_places, call_places; loop_calls; lag_calls; processes; known_own, known_servers; limits
-- Assumes:   what a process calls, it calls for a request that it has read, and answers that once the call has ended. The only such
--            request is the cause, unless the process also calls on its own account: seen from its service's calls while none was
--            open, which are remembered. Processes of its name that serve nothing (queue workers, cron jobs) say nothing of it.
-- Known false matches: timers and other background work, while one request is open, of a service that was not seen at it before; a
--            request that stays open for long (a stream, a long poll) while others come and go too fast to be seen.
-- Local to a node.

-- @needs unsure_calls

-- @name held_calls
-- Undecided for now: requests are open that may have caused them, or what happened around them may not all have landed.
SELECT c.span_id AS span_id
FROM unsure_calls c
CROSS JOIN limits l
LEFT JOIN (
  SELECT w.process_id AS process_id, min(w.ts_ns) AS ts_ns
  FROM work w
  CROSS JOIN limits m
  WHERE w.free_ns IS NULL OR w.free_ns > m.cut_ns
  GROUP BY w.process_id
) k ON k.process_id = c.process_id AND k.ts_ns <= c.at_ns
WHERE c.at_ns > l.cut_ns - l.decide_limit_ns AND (k.process_id IS NOT NULL OR c.at_ns > l.cut_ns - l.settle_ns)
GROUP BY c.span_id

-- @needs work

-- @name open_pairs
-- The requests that were open from the call's beginning to its end, once the call's time has come: thousands may be open, in each cycle until then.
SELECT c.span_id AS span_id, k.span_id AS candidate_span_id, k.request_end_ns AS request_end_ns
FROM (SELECT p.* FROM call_places p LEFT JOIN held_calls h ON h.span_id = p.span_id WHERE h.span_id IS NULL) c
JOIN open_places k ON k.process_id = c.process_id AND k.width = c.width AND k.piece_ns = c.piece_ns
  AND k.request_end_ns <= c.at_ns AND (k.free_ns IS NULL OR k.free_ns > c.at_ns)
  AND (k.answer_ns IS NULL OR NOT c.answered OR k.answer_ns >= c.end_ns)

-- @needs unsure_calls

-- @name open_counts
-- How many they were.
SELECT c.span_id AS span_id, c.process_id AS process_id, coalesce(k.open, 0) AS open
FROM unsure_calls c
LEFT JOIN (SELECT p.span_id AS span_id, count(*) AS open FROM open_pairs p GROUP BY p.span_id) k ON k.span_id = c.span_id
LEFT JOIN held_calls h ON h.span_id = c.span_id
WHERE h.span_id IS NULL

-- @name serving
-- Processes that have read requests, now or within the last hour.
SELECT s.process_id AS process_id
FROM (
  SELECT w.process_id AS process_id FROM work w
  UNION ALL
  SELECT k.process_id AS process_id FROM known_servers k
) s
GROUP BY s.process_id

-- @name own_sums
-- How many such calls the serving processes of a service have made, and how many of them while nobody waited for it; and those of each
-- process that serves nothing so far. Now, and as far as is remembered.
SELECT s.counted AS counted, sum(s.calls) AS calls, sum(s.own) AS own
FROM (
  SELECT
    CASE WHEN v.process_id IS NOT NULL AND p.service_name IS NOT NULL THEN p.service_name ELSE CAST(o.process_id AS VARCHAR) END AS counted,
    CAST(1 AS DOUBLE) AS calls, CASE WHEN o.open = 0 THEN CAST(1 AS DOUBLE) ELSE CAST(0 AS DOUBLE) END AS own
  FROM open_counts o
  LEFT JOIN serving v ON v.process_id = o.process_id
  LEFT JOIN processes p ON p.process_id = o.process_id
  UNION ALL
  SELECT k.counted AS counted, k.calls AS calls, k.own AS own
  FROM known_own k
) s
WHERE s.counted IS NOT NULL
GROUP BY s.counted

-- @name own_account
-- The share of a process's undecided calls that its service made on its own account, or itself before it served.
SELECT c.process_id AS process_id, sum(s.own) / sum(s.calls) AS share
FROM (
  SELECT o.process_id AS process_id, p.service_name AS counted FROM open_counts o JOIN processes p ON p.process_id = o.process_id
  UNION
  SELECT o.process_id AS process_id, CAST(o.process_id AS VARCHAR) AS counted FROM open_counts o
) c
JOIN own_sums s ON s.counted = c.counted
GROUP BY c.process_id

-- @needs work

-- @name open_claims
-- The only one, unless it has been open for 10 s; else each a part of what is left to doubt: not enough to be chosen, but kept, the newest 16.
SELECT c.span_id AS span_id, b.candidate_span_id AS candidate_span_id, 'open' AS evidence,
  CASE
    WHEN o.open = 1 AND c.at_ns - b.request_end_ns < 10000000000 THEN CAST(0.95 AS DOUBLE) * (1 - a.share)
    WHEN o.open = 1 THEN CAST(0.4 AS DOUBLE)
    ELSE CAST(0.5 AS DOUBLE) / o.open
  END AS score,
  c.fresh AS at_connect, FALSE AS doubt
FROM (
  SELECT k.span_id AS span_id, k.candidate_span_id AS candidate_span_id, k.request_end_ns AS request_end_ns, CAST(row_number() OVER (PARTITION BY k.span_id ORDER BY k.request_end_ns DESC, k.candidate_span_id) AS BIGINT) AS newest
  FROM open_pairs k
) b
JOIN unsure_calls c ON c.span_id = b.span_id
JOIN open_counts o ON o.span_id = b.span_id
JOIN own_account a ON a.process_id = o.process_id
WHERE b.newest <= 16

-- @needs work, turn_threads

-- @name young_calls
-- Too few of the service's calls to this callee were seen to know its habits, and there is something to know.
SELECT c.span_id AS span_id
FROM loop_calls c
JOIN (
  SELECT t.service AS service, t.callee_ip AS callee_ip, t.callee_port AS callee_port, sum(t.calls) AS calls
  FROM lag_calls t
  GROUP BY t.service, t.callee_ip, t.callee_port
) t ON t.service = c.service AND t.callee_ip = c.callee_ip AND t.callee_port = c.callee_port
JOIN open_counts o ON o.span_id = c.span_id
WHERE t.calls < 50 AND o.open > 0
