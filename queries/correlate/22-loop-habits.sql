-- Question:  what does a program's event loop always do between a read and the call that follows from it?
-- Input:     unsure_calls; weighed_processes; work; call_ends; exchanges; undecided; processes; lags (0, 1, 2, ...); and of earlier cycles
--            known_lags, known_lag_calls, known_lag_orders, known_flushes
-- Assumes:   a loop's turn ends when it waits for events again, and a program takes the same number of turns from the read that
--            triggers a call to the call itself: a constant for each service, callee, kind of read (a request, or the answer of
--            another call), and for calls that have to connect first. It is learned from how many calls each number would explain.
--            Whether it calls right after each read, or keeps what it writes until the end of the turn, and whether a pool gives out
--            first what came back last, are habits too.
-- Known false matches: reads that trigger nothing in a turn in which others do, if equally many calls come from elsewhere. Timers and
--            locks between read and call leave no constant: no number explains 9 in 10 calls, and nothing is claimed.
-- Local to a node.

-- @needs work

-- @name loop_calls
SELECT
  c.span_id AS span_id, c.thread_id AS thread_id, c.at_ns AS at_ns, c.fresh AS fresh, c.turn AS turn,
  c.socket_id AS socket_id, c.exchange_no AS exchange_no, coalesce(p.service_name, CAST(c.process_id AS VARCHAR)) AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port
FROM unsure_calls c
JOIN weighed_processes w ON w.process_id = c.process_id
LEFT JOIN processes p ON p.process_id = c.process_id
WHERE c.turn > 0 AND c.task_id IS NULL AND NOT c.request_open

-- @name habit_calls
-- What is learned from: all calls of these processes that are not decided yet, sure or not.
SELECT
  e.span_id AS span_id, e.process_id AS process_id, CASE WHEN e.connect_ts_ns IS NOT NULL AND e.ts_ns - e.connect_ts_ns <= l.pool_limit_ns THEN e.connect_thread_id ELSE e.first_thread_id END AS thread_id,
  CASE WHEN e.connect_ts_ns IS NOT NULL AND e.ts_ns - e.connect_ts_ns <= l.pool_limit_ns THEN e.connect_turn ELSE e.first_turn END AS turn,
  CASE WHEN e.connect_ts_ns IS NOT NULL AND e.ts_ns - e.connect_ts_ns <= l.pool_limit_ns THEN e.connect_ts_ns ELSE e.ts_ns END AS at_ns,
  e.connect_ts_ns IS NOT NULL AND e.ts_ns - e.connect_ts_ns <= l.pool_limit_ns AS fresh, e.socket_id AS socket_id, e.exchange_no AS exchange_no, e.task_id AS task_id,
  coalesce(p.service_name, CAST(e.process_id AS VARCHAR)) AS service, coalesce(e.remote_ip, 'unix') AS callee_ip, coalesce(e.remote_port, 0) AS callee_port
FROM exchanges e
JOIN weighed_processes b ON b.process_id = e.process_id
JOIN undecided u ON u.span_id = e.span_id
LEFT JOIN processes p ON p.process_id = e.process_id
CROSS JOIN limits l
WHERE NOT e.is_server AND e.kind = 'request' AND NOT e.request_open

-- @name turn_threads
-- From which turn on reads can matter: as many turns back as a rule may say.
SELECT c.thread_id AS thread_id, min(c.turn) - max(l.lag) AS first_turn
FROM (
  SELECT o.thread_id AS thread_id, o.turn AS turn FROM loop_calls o
  UNION ALL
  SELECT h.thread_id AS thread_id, h.turn AS turn FROM habit_calls h WHERE h.turn > 0
) c
CROSS JOIN (SELECT max(n.lag) AS lag FROM lags n) l
GROUP BY c.thread_id

-- @needs work, turn_threads

-- @name loop_reads
-- What may trigger a call. source_ip null: a request.
SELECT k.span_id AS span_id, k.reader_thread_id AS thread_id, k.read_turn AS turn, k.request_end_ns AS at_ns, '' AS source_ip, 0 AS source_port
FROM work k
JOIN turn_threads t ON t.thread_id = k.reader_thread_id AND t.first_turn <= k.read_turn
UNION ALL
SELECT d.span_id AS span_id, d.thread_id AS thread_id, d.turn AS turn, d.end_ns AS at_ns, d.callee_ip AS source_ip, d.callee_port AS source_port
FROM call_ends d
JOIN turn_threads t ON t.thread_id = d.thread_id AND t.first_turn <= d.turn

-- @name call_groups
SELECT c.service AS service, c.thread_id AS thread_id, c.turn AS turn, c.callee_ip AS callee_ip, c.callee_port AS callee_port, c.fresh AS fresh, count(*) AS calls
FROM habit_calls c
WHERE c.turn > 0
GROUP BY c.service, c.thread_id, c.turn, c.callee_ip, c.callee_port, c.fresh

-- @name read_groups @within
SELECT r.thread_id AS thread_id, r.turn AS turn, r.source_ip AS source_ip, r.source_port AS source_port, count(*) AS reads
FROM loop_reads r
GROUP BY r.thread_id, r.turn, r.source_ip, r.source_port

-- @name lag_counts
-- How many calls each number of turns after each kind of read would explain.
SELECT
  c.service AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port, c.fresh AS fresh, r.source_ip AS source_ip, r.source_port AS source_port, l.lag AS lag,
  CAST(sum(CASE WHEN r.reads < c.calls THEN r.reads ELSE c.calls END) AS BIGINT) AS explained
FROM call_groups c
CROSS JOIN lags l
JOIN read_groups r ON r.thread_id = c.thread_id AND r.turn = c.turn - l.lag
GROUP BY c.service, c.callee_ip, c.callee_port, c.fresh, r.source_ip, r.source_port, l.lag

-- @needs work

-- @name lag_sums
-- With what earlier cycles saw.
SELECT s.service AS service, s.callee_ip AS callee_ip, s.callee_port AS callee_port, s.fresh AS fresh, s.source_ip AS source_ip, s.source_port AS source_port, s.lag AS lag, sum(s.explained) AS explained
FROM (
  SELECT n.service AS service, n.callee_ip AS callee_ip, n.callee_port AS callee_port, n.fresh AS fresh, n.source_ip AS source_ip, n.source_port AS source_port, n.lag AS lag, CAST(n.explained AS DOUBLE) AS explained
  FROM lag_counts n
  UNION ALL
  SELECT k.service AS service, k.callee_ip AS callee_ip, k.callee_port AS callee_port, k.fresh AS fresh, k.source_ip AS source_ip, k.source_port AS source_port, k.lag AS lag, k.explained AS explained
  FROM known_lags k
) s
GROUP BY s.service, s.callee_ip, s.callee_port, s.fresh, s.source_ip, s.source_port, s.lag

-- @name lag_calls
SELECT s.service AS service, s.callee_ip AS callee_ip, s.callee_port AS callee_port, s.fresh AS fresh, sum(s.calls) AS calls
FROM (
  SELECT c.service AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port, c.fresh AS fresh, CAST(c.calls AS DOUBLE) AS calls
  FROM call_groups c
  UNION ALL
  SELECT k.service AS service, k.callee_ip AS callee_ip, k.callee_port AS callee_port, k.fresh AS fresh, k.calls AS calls
  FROM known_lag_calls k
) s
GROUP BY s.service, s.callee_ip, s.callee_port, s.fresh

-- @name lag_explanations
-- Those good enough, and whether the best one stands out.
SELECT
  b.service AS service, b.callee_ip AS callee_ip, b.callee_port AS callee_port, b.fresh AS fresh, b.source_ip AS source_ip, b.source_port AS source_port, b.lag AS lag,
  b.coverage AS coverage, b.place = 1 AND b.coverage - coalesce(b.next_coverage, 0) >= 0.02 AS clear
FROM (
  SELECT
    n.service AS service, n.callee_ip AS callee_ip, n.callee_port AS callee_port, n.fresh AS fresh, n.source_ip AS source_ip, n.source_port AS source_port, n.lag AS lag,
    n.explained / t.calls AS coverage,
    CAST(row_number() OVER (PARTITION BY n.service, n.callee_ip, n.callee_port, n.fresh ORDER BY n.explained DESC, n.lag, n.source_ip, n.source_port) AS BIGINT) AS place,
    max(n.explained / t.calls) OVER (PARTITION BY n.service, n.callee_ip, n.callee_port, n.fresh) AS best_coverage,
    lead(n.explained / t.calls) OVER (PARTITION BY n.service, n.callee_ip, n.callee_port, n.fresh ORDER BY n.explained DESC, n.lag, n.source_ip, n.source_port) AS next_coverage
  FROM lag_sums n
  JOIN lag_calls t ON t.service = n.service AND t.callee_ip = n.callee_ip AND t.callee_port = n.callee_port AND t.fresh = n.fresh
) b
WHERE b.coverage >= 0.9 AND b.coverage > b.best_coverage - 0.02

-- @name lag_rules
-- The best explanation, if it stands out; else, of equally good ones, the one that has the trigger of the callee's other calls: a program
-- opens few connections, and at its start all at once.
SELECT e.service AS service, e.callee_ip AS callee_ip, e.callee_port AS callee_port, e.fresh AS fresh, e.source_ip AS source_ip, e.source_port AS source_port, e.lag AS lag, e.coverage AS coverage
FROM lag_explanations e
WHERE e.clear
UNION ALL
SELECT b.service AS service, b.callee_ip AS callee_ip, b.callee_port AS callee_port, b.fresh AS fresh, b.source_ip AS source_ip, b.source_port AS source_port, b.lag AS lag, b.coverage AS coverage
FROM (
  SELECT e.*, count(*) OVER (PARTITION BY e.service, e.callee_ip, e.callee_port, e.fresh) AS matching
  FROM lag_explanations e
  JOIN lag_explanations o ON o.service = e.service AND o.callee_ip = e.callee_ip AND o.callee_port = e.callee_port AND o.fresh <> e.fresh AND o.source_ip = e.source_ip AND o.source_port = e.source_port
  LEFT JOIN (SELECT x.service AS service, x.callee_ip AS callee_ip, x.callee_port AS callee_port, x.fresh AS fresh FROM lag_explanations x WHERE x.clear) k
    ON k.service = e.service AND k.callee_ip = e.callee_ip AND k.callee_port = e.callee_port AND k.fresh = e.fresh
  WHERE o.clear AND k.service IS NULL
) b
WHERE b.matching = 1

-- @needs work, turn_threads

-- @name placed_reads
-- Within its turn, and how many there were.
SELECT
  r.span_id AS span_id, r.thread_id AS thread_id, r.turn AS turn, r.source_ip AS source_ip, r.source_port AS source_port, r.at_ns AS at_ns,
  CAST(row_number() OVER (PARTITION BY r.thread_id, r.turn, r.source_ip, r.source_port ORDER BY r.at_ns, r.span_id) AS BIGINT) AS place,
  CAST(count(*) OVER (PARTITION BY r.thread_id, r.turn, r.source_ip, r.source_port) AS BIGINT) AS places
FROM loop_reads r

-- @name turn_calls
-- With those whose request is known without this: each has taken its place among the reads of its turn.
SELECT c.span_id AS span_id, c.thread_id AS thread_id, c.at_ns AS at_ns, c.fresh AS fresh, c.turn AS turn, c.socket_id AS socket_id, c.exchange_no AS exchange_no, c.service AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port
FROM loop_calls c
UNION ALL
SELECT h.span_id AS span_id, h.thread_id AS thread_id, h.at_ns AS at_ns, h.fresh AS fresh, h.turn AS turn, h.socket_id AS socket_id, h.exchange_no AS exchange_no, h.service AS service, h.callee_ip AS callee_ip, h.callee_port AS callee_port
FROM habit_calls h
JOIN (SELECT o.thread_id AS thread_id FROM loop_calls o GROUP BY o.thread_id) t ON t.thread_id = h.thread_id
LEFT JOIN loop_calls c ON c.span_id = h.span_id
WHERE c.span_id IS NULL AND h.turn > 0 AND h.task_id IS NULL

-- @name placed_calls
-- Calls that the same reads explain, in order. Where those that have to connect first take another number of turns, time does not order
-- them; mostly the kept connections are taken first.
SELECT
  b.*,
  CAST(row_number() OVER (PARTITION BY b.thread_id, b.read_turn, b.source_ip, b.source_port, b.callee_ip, b.callee_port ORDER BY b.lag, b.at_ns, b.span_id) AS BIGINT) AS place,
  CAST(count(*) OVER (PARTITION BY b.thread_id, b.read_turn, b.source_ip, b.source_port, b.callee_ip, b.callee_port) AS BIGINT) AS places,
  min(b.lag) OVER (PARTITION BY b.thread_id, b.read_turn, b.source_ip, b.source_port, b.callee_ip, b.callee_port) <> max(b.lag) OVER (PARTITION BY b.thread_id, b.read_turn, b.source_ip, b.source_port, b.callee_ip, b.callee_port) AS crossed
FROM (
  SELECT
    c.span_id AS span_id, c.thread_id AS thread_id, c.turn - u.lag AS read_turn, c.turn AS turn, u.lag AS lag, u.source_ip AS source_ip, u.source_port AS source_port,
    c.service AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port, u.coverage AS coverage, c.at_ns AS at_ns, c.fresh AS fresh, c.socket_id AS socket_id,
    c.exchange_no AS exchange_no
  FROM turn_calls c
  JOIN lag_rules u ON u.service = c.service AND u.callee_ip = c.callee_ip AND u.callee_port = c.callee_port AND u.fresh = c.fresh
) b

-- @needs work

-- @name flushes
-- Turns with several calls on kept connections: how long from the read before them to the first, and between them.
SELECT s.service AS service, sum(s.before_ns) AS before_ns, sum(s.between_ns) AS between_ns
FROM (
  SELECT g.service AS service, CAST((g.calls - 1) * (g.first_ns - max(r.at_ns)) AS DOUBLE) AS before_ns, CAST(g.last_ns - g.first_ns AS DOUBLE) AS between_ns
  FROM (
    SELECT c.service AS service, c.thread_id AS thread_id, c.turn AS turn, min(c.at_ns) AS first_ns, max(c.at_ns) AS last_ns, count(*) AS calls
    FROM placed_calls c
    WHERE NOT c.fresh
    GROUP BY c.service, c.thread_id, c.turn
    HAVING count(*) > 2
  ) g
  JOIN loop_reads r ON r.thread_id = g.thread_id AND r.turn = g.turn AND r.at_ns < g.first_ns
  GROUP BY g.service, g.thread_id, g.turn, g.first_ns, g.last_ns, g.calls
  UNION ALL
  SELECT k.service AS service, k.before_ns AS before_ns, k.between_ns AS between_ns
  FROM known_flushes k
) s
GROUP BY s.service

-- @name deferring
-- Services that keep what they write until the end of the turn and then send all of it at once, in any order (uvloop does): much
-- goes on before the first call, and next to nothing between them.
SELECT f.service AS service
FROM flushes f
WHERE f.between_ns < 0.3 * f.before_ns

-- @needs work, deferring

-- @name idle_connections
-- In such services, the connections that were taken out of a pool again: since when each had lain there.
SELECT c.span_id AS span_id, c.service AS service, c.thread_id AS thread_id, c.callee_ip AS callee_ip, c.callee_port AS callee_port, c.turn AS turn, d.end_ns AS released_ns, c.at_ns AS at_ns
FROM turn_calls c
JOIN deferring f ON f.service = c.service
JOIN call_ends d ON d.socket_id = c.socket_id AND d.exchange_no = c.exchange_no - 1
WHERE NOT c.fresh

-- @name stack_pools
-- Pools that give out first what came back last, seen from how often a connection was taken while one that came back later was left.
SELECT b.service AS service, b.callee_ip AS callee_ip, b.callee_port AS callee_port, 1 - sum(b.passed_over) / count(*) AS share
FROM (
  SELECT
    c.service AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port, c.span_id AS span_id,
    CAST(max(CASE WHEN o.released_ns > c.released_ns THEN 1 ELSE 0 END) AS DOUBLE) AS passed_over
  FROM idle_connections c
  JOIN idle_connections o ON o.thread_id = c.thread_id AND o.callee_ip = c.callee_ip AND o.callee_port = c.callee_port AND o.turn > c.turn AND o.turn <= c.turn + 50
  JOIN placed_calls p ON p.span_id = c.span_id
  JOIN (SELECT r.thread_id AS thread_id, r.turn AS turn, r.source_ip AS source_ip, r.source_port AS source_port, min(r.at_ns) AS at_ns FROM loop_reads r GROUP BY r.thread_id, r.turn, r.source_ip, r.source_port) g
    ON g.thread_id = p.thread_id AND g.turn = p.read_turn AND g.source_ip = p.source_ip AND g.source_port = p.source_port
  WHERE o.released_ns < g.at_ns
  GROUP BY c.service, c.callee_ip, c.callee_port, c.span_id
) b
GROUP BY b.service, b.callee_ip, b.callee_port
HAVING sum(b.passed_over) <= 0.1 * count(*)

-- @needs work, placed_calls

-- @name called_at_once
-- In the read's own turn: of the reads before the call, the last one.
SELECT b.span_id AS span_id, b.read_span_id AS read_span_id, b.service AS service, b.callee_ip AS callee_ip, b.callee_port AS callee_port, b.is_request AS is_request, b.score AS score, b.fresh AS fresh, b.several AS several, b.in_place AS in_place
FROM (
  SELECT
    c.span_id AS span_id, r.span_id AS read_span_id, c.service AS service, c.callee_ip AS callee_ip, c.callee_port AS callee_port,
    r.source_ip = '' AS is_request, c.coverage AS score, c.fresh AS fresh, c.places = r.places AND c.places > 1 AS several, c.place = r.place AS in_place,
    CAST(row_number() OVER (PARTITION BY c.span_id ORDER BY r.at_ns DESC, r.span_id) AS BIGINT) AS last
  FROM placed_calls c
  JOIN placed_reads r ON r.thread_id = c.thread_id AND r.turn = c.read_turn AND r.source_ip = c.source_ip AND r.source_port = c.source_port
  WHERE c.lag = 0 AND r.at_ns <= c.at_ns
) b
WHERE b.last = 1

-- @needs work

-- @name lag_orders
-- Does the program call right after each read (as Node.js does), or read all, then call? Turns with equally many of both tell.
SELECT s.service AS service, s.callee_ip AS callee_ip, s.callee_port AS callee_port, s.fresh AS fresh, sum(s.calls) AS calls, sum(s.at_once) AS at_once
FROM (
  SELECT o.service AS service, o.callee_ip AS callee_ip, o.callee_port AS callee_port, o.fresh AS fresh, CAST(1 AS DOUBLE) AS calls, CASE WHEN o.in_place THEN CAST(1 AS DOUBLE) ELSE CAST(0 AS DOUBLE) END AS at_once
  FROM called_at_once o
  WHERE o.several
  UNION ALL
  SELECT k.service AS service, k.callee_ip AS callee_ip, k.callee_port AS callee_port, k.fresh AS fresh, k.calls AS calls, k.at_once AS at_once
  FROM known_lag_orders k
) s
GROUP BY s.service, s.callee_ip, s.callee_port, s.fresh

-- @needs work, turn_threads

-- @name several_loops
-- Processes that run more than one loop: what one of them reads, another may call for, and numbers of turns are no constants.
SELECT c.service AS service
FROM (SELECT h.service AS service, h.process_id AS process_id, count(DISTINCT h.thread_id) AS threads FROM habit_calls h WHERE h.turn > 0 GROUP BY h.service, h.process_id) c
GROUP BY c.service
HAVING max(c.threads) > 1
