-- Question:  in an event loop, which read made the program write this call?
-- Input:     unsure_calls; work; call_ends; messages; processes; lags (0, 1, 2, ...); known_lags of earlier cycles; decided; and
--            responder_claims, thread_claims: calls whose request is known otherwise
-- Assumes:   a loop's turn ends when it waits for events again, and a program takes the same number of turns from the read that
--            triggers a call to the call itself: a constant for each service, callee, and kind of read (a request, or the answer of
--            another call). It is learned from how many calls each number would explain. Within a turn, first come, first served; in
--            the very turn of the read, the read just before the call.
-- Known false matches: reads that trigger nothing in a turn in which others do. Timers and locks between read and call leave no
--            constant: no number explains 9 in 10 calls, and nothing is claimed.
-- Local to a node.

-- @name loop_calls
SELECT
  c.span_id AS span_id, c.thread_id AS thread_id, c.at_ns AS at_ns, c.fresh AS fresh, CASE WHEN c.fresh THEN q.connect_turn ELSE q.first_turn END AS turn,
  coalesce(p.service_name, CAST(c.process_id AS VARCHAR)) AS service, q.remote_ip AS callee_ip, q.remote_port AS callee_port
FROM unsure_calls c
JOIN messages q ON q.socket_id = c.socket_id AND q.exchange_no = c.exchange_no AND q.run_id = c.run_id AND q.kind = c.kind AND NOT q.partial
LEFT JOIN processes p ON p.process_id = c.process_id
WHERE CASE WHEN c.fresh THEN q.connect_turn ELSE q.first_turn END > 0

-- @name loop_reads
-- What may trigger a call. source_ip null: a request.
SELECT k.span_id AS span_id, k.reader_thread_id AS thread_id, k.read_turn AS turn, k.request_end_ns AS at_ns, '' AS source_ip, 0 AS source_port
FROM work k
WHERE k.read_turn IS NOT NULL
UNION ALL
SELECT d.span_id AS span_id, d.thread_id AS thread_id, d.turn AS turn, d.end_ns AS at_ns, d.callee_ip AS source_ip, d.callee_port AS source_port
FROM call_ends d
WHERE d.turn IS NOT NULL

-- @name habit_calls
-- What is learned from: all calls of these processes that are not decided yet, sure or not.
SELECT
  e.span_id AS span_id, CASE WHEN e.connect_ts_ns IS NOT NULL AND e.ts_ns - e.connect_ts_ns <= l.pool_limit_ns THEN e.connect_thread_id ELSE e.first_thread_id END AS thread_id,
  CASE WHEN e.connect_ts_ns IS NOT NULL AND e.ts_ns - e.connect_ts_ns <= l.pool_limit_ns THEN q.connect_turn ELSE q.first_turn END AS turn,
  coalesce(p.service_name, CAST(e.process_id AS VARCHAR)) AS service, q.remote_ip AS callee_ip, q.remote_port AS callee_port
FROM exchanges e
JOIN unsure_processes b ON b.process_id = e.process_id
JOIN undecided u ON u.span_id = e.span_id
JOIN messages q ON q.socket_id = e.socket_id AND q.exchange_no = e.exchange_no AND q.run_id = e.run_id AND q.kind = e.kind AND NOT q.partial
LEFT JOIN processes p ON p.process_id = e.process_id
CROSS JOIN limits l
WHERE NOT e.is_server AND e.kind = 'request'

-- @name call_groups
SELECT c.service AS service, c.thread_id AS thread_id, c.turn AS turn, c.callee_ip AS callee_ip, c.callee_port AS callee_port, count(*) AS calls
FROM habit_calls c
WHERE c.turn > 0
GROUP BY c.service, c.thread_id, c.turn, c.callee_ip, c.callee_port

-- @name read_groups
SELECT r.thread_id AS thread_id, r.turn AS turn, r.source_ip AS source_ip, r.source_port AS source_port, count(*) AS reads
FROM loop_reads r
GROUP BY r.thread_id, r.turn, r.source_ip, r.source_port

-- @name lag_counts
-- How many calls each number of turns after each kind of read would explain.
SELECT
  c.service AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port, r.source_ip AS source_ip, r.source_port AS source_port, l.lag AS lag,
  CAST(sum(CASE WHEN r.reads < c.calls THEN r.reads ELSE c.calls END) AS BIGINT) AS explained
FROM call_groups c
CROSS JOIN lags l
JOIN read_groups r ON r.thread_id = c.thread_id AND r.turn = c.turn - l.lag
GROUP BY c.service, c.callee_ip, c.callee_port, r.source_ip, r.source_port, l.lag

-- @name lag_sums
-- With what earlier cycles saw.
SELECT s.service AS service, s.callee_ip AS callee_ip, s.callee_port AS callee_port, s.source_ip AS source_ip, s.source_port AS source_port, s.lag AS lag, sum(s.explained) AS explained
FROM (
  SELECT n.service AS service, n.callee_ip AS callee_ip, n.callee_port AS callee_port, n.source_ip AS source_ip, n.source_port AS source_port, n.lag AS lag, CAST(n.explained AS DOUBLE) AS explained
  FROM lag_counts n
  UNION ALL
  SELECT k.service AS service, k.callee_ip AS callee_ip, k.callee_port AS callee_port, k.source_ip AS source_ip, k.source_port AS source_port, k.lag AS lag, k.explained AS explained
  FROM known_lags k
) s
GROUP BY s.service, s.callee_ip, s.callee_port, s.source_ip, s.source_port, s.lag

-- @name lag_calls
SELECT s.service AS service, s.callee_ip AS callee_ip, s.callee_port AS callee_port, sum(s.calls) AS calls
FROM (
  SELECT c.service AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port, CAST(c.calls AS DOUBLE) AS calls
  FROM call_groups c
  UNION ALL
  SELECT k.service AS service, k.callee_ip AS callee_ip, k.callee_port AS callee_port, k.calls AS calls
  FROM known_lag_calls k
) s
GROUP BY s.service, s.callee_ip, s.callee_port

-- @name lag_rules
-- The best explanation, if it is one.
SELECT b.service AS service, b.callee_ip AS callee_ip, b.callee_port AS callee_port, b.source_ip AS source_ip, b.source_port AS source_port, b.lag AS lag, b.coverage AS coverage
FROM (
  SELECT
    n.service AS service, n.callee_ip AS callee_ip, n.callee_port AS callee_port, n.source_ip AS source_ip, n.source_port AS source_port, n.lag AS lag,
    n.explained / t.calls AS coverage,
    CAST(row_number() OVER (PARTITION BY n.service, n.callee_ip, n.callee_port ORDER BY n.explained DESC, n.lag, n.source_ip, n.source_port) AS BIGINT) AS place
  FROM lag_sums n
  JOIN lag_calls t ON t.service = n.service AND t.callee_ip = n.callee_ip AND t.callee_port = n.callee_port
) b
WHERE b.place = 1 AND b.coverage >= 0.9

-- @name placed_reads
-- Within its turn, and how many there were.
SELECT
  r.span_id AS span_id, r.thread_id AS thread_id, r.turn AS turn, r.source_ip AS source_ip, r.source_port AS source_port, r.at_ns AS at_ns,
  CAST(row_number() OVER (PARTITION BY r.thread_id, r.turn, r.source_ip, r.source_port ORDER BY r.at_ns, r.span_id) AS BIGINT) AS place,
  CAST(count(*) OVER (PARTITION BY r.thread_id, r.turn, r.source_ip, r.source_port) AS BIGINT) AS places
FROM loop_reads r

-- @name placed_calls
SELECT
  c.span_id AS span_id, c.thread_id AS thread_id, c.turn - u.lag AS read_turn, u.lag AS lag, u.source_ip AS source_ip, u.source_port AS source_port,
  u.coverage AS coverage, c.at_ns AS at_ns, c.fresh AS fresh,
  CAST(row_number() OVER (PARTITION BY c.thread_id, c.turn, c.callee_ip, c.callee_port ORDER BY c.at_ns, c.span_id) AS BIGINT) AS place,
  CAST(count(*) OVER (PARTITION BY c.thread_id, c.turn, c.callee_ip, c.callee_port) AS BIGINT) AS places
FROM loop_calls c
JOIN lag_rules u ON u.service = c.service AND u.callee_ip = c.callee_ip AND u.callee_port = c.callee_port

-- @name turn_triggers
-- As many calls as reads: each its own. The read of the call's own turn that came last before it. Else any of them, each a part.
SELECT c.span_id AS span_id, r.span_id AS read_span_id, r.source_ip = '' AS is_request, c.coverage AS score, c.fresh AS fresh
FROM placed_calls c
JOIN placed_reads r ON r.thread_id = c.thread_id AND r.turn = c.read_turn AND r.source_ip = c.source_ip AND r.source_port = c.source_port
WHERE c.lag > 0 AND c.places = r.places AND c.place = r.place
UNION ALL
SELECT b.span_id AS span_id, b.read_span_id AS read_span_id, b.is_request AS is_request, b.score AS score, b.fresh AS fresh
FROM (
  SELECT
    c.span_id AS span_id, r.span_id AS read_span_id, r.source_ip = '' AS is_request, c.coverage AS score, c.fresh AS fresh,
    CAST(row_number() OVER (PARTITION BY c.span_id ORDER BY r.at_ns DESC, r.span_id) AS BIGINT) AS place
  FROM placed_calls c
  JOIN placed_reads r ON r.thread_id = c.thread_id AND r.turn = c.read_turn AND r.source_ip = c.source_ip AND r.source_port = c.source_port
  WHERE c.lag = 0 AND r.at_ns <= c.at_ns
) b
WHERE b.place = 1
UNION ALL
SELECT c.span_id AS span_id, r.span_id AS read_span_id, r.source_ip = '' AS is_request, c.coverage / r.places AS score, c.fresh AS fresh
FROM placed_calls c
JOIN placed_reads r ON r.thread_id = c.thread_id AND r.turn = c.read_turn AND r.source_ip = c.source_ip AND r.source_port = c.source_port
WHERE c.lag > 0 AND c.places <> r.places AND r.places <= 8

-- @name known_owners
-- Calls whose request is known without this.
SELECT d.span_id AS span_id, d.parent_span_id AS owner, CAST(1 AS DOUBLE) AS score
FROM decided d
WHERE d.parent_span_id IS NOT NULL
UNION ALL
SELECT t.span_id AS span_id, t.candidate_span_id AS owner, t.score AS score
FROM thread_claims t
LEFT JOIN decided d ON d.span_id = t.span_id
CROSS JOIN limits l
WHERE t.score > l.threshold AND d.span_id IS NULL

-- @name turn_owners
-- A call after another call's answer belongs to what that call belongs to. moved: owner is still such a call.
SELECT
  t.span_id AS span_id, CASE WHEN t.is_request OR k.span_id IS NULL THEN t.read_span_id ELSE k.owner END AS owner,
  t.score * CASE WHEN t.is_request OR k.span_id IS NULL THEN CAST(1 AS DOUBLE) ELSE k.score END AS score, t.fresh AS fresh,
  NOT t.is_request AND k.span_id IS NULL AS moved
FROM turn_triggers t
LEFT JOIN known_owners k ON k.span_id = t.read_span_id

-- @name turn_owners @repeat
SELECT
  o.span_id AS span_id, CASE WHEN o.moved THEN n.owner ELSE o.owner END AS owner, o.score * CASE WHEN o.moved THEN n.score ELSE CAST(1 AS DOUBLE) END AS score,
  o.fresh AS fresh, o.moved AND n.moved AS moved
FROM turn_owners o
LEFT JOIN turn_owners n ON o.moved AND n.span_id = o.owner
WHERE NOT o.moved OR n.span_id IS NOT NULL

-- @name turn_claims
-- Answered requests cause no more calls.
SELECT o.span_id AS span_id, o.owner AS candidate_span_id, 'turn' AS evidence, sum(o.score) AS score, max(CASE WHEN o.fresh THEN 1 ELSE 0 END) = 1 AS at_connect, FALSE AS doubt
FROM turn_owners o
JOIN unsure_calls c ON c.span_id = o.span_id
JOIN work k ON k.span_id = o.owner
WHERE NOT o.moved AND k.ts_ns <= c.at_ns AND (k.free_ns IS NULL OR k.free_ns > c.at_ns)
GROUP BY o.span_id, o.owner
