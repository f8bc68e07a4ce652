-- Question:  in an event loop, which read made the program write this call, and whose request is it then?
-- Input:     loop_calls, loop_reads, placed_calls, placed_reads, called_at_once (22-loop-habits.sql), and the habits: lag_orders, deferring, idle_connections,
--            stack_pools, several_loops; unsure_calls; blocking_pools; work; call_ends; decided; thread_claims
-- Assumes:   within a turn, first come, first served; where a program sends all at the end of the turn, the order is that of the pool's
--            connections, if it is a stack. A call after another call's answer belongs to what that call belongs to.
-- Known false matches: two reads of one turn whose calls change places: something between read and call that takes one of them longer.
--            Where nothing orders them, each of up to eight reads is claimed a part.
-- Local to a node.

-- @needs work, stack_pools

-- @name pool_steps
-- Such a pool as brackets: a connection that comes back opens one, a read that leads to a call closes the one that was opened last.
SELECT
  s.*,
  sum(s.step) OVER (PARTITION BY s.thread_id, s.turn, s.source_ip, s.source_port, s.callee_ip, s.callee_port ORDER BY s.at_ns, s.step DESC, s.span_id ROWS UNBOUNDED PRECEDING) AS height
FROM (
  SELECT c.thread_id AS thread_id, c.read_turn AS turn, c.source_ip AS source_ip, c.source_port AS source_port, c.callee_ip AS callee_ip, c.callee_port AS callee_port, i.released_ns AS at_ns, 1 AS step, c.span_id AS span_id, u.share * c.coverage AS score
  FROM placed_calls c
  JOIN idle_connections i ON i.span_id = c.span_id
  JOIN stack_pools u ON u.service = c.service AND u.callee_ip = c.callee_ip AND u.callee_port = c.callee_port
  UNION ALL
  SELECT g.thread_id AS thread_id, g.read_turn AS turn, g.source_ip AS source_ip, g.source_port AS source_port, g.callee_ip AS callee_ip, g.callee_port AS callee_port, r.at_ns AS at_ns, -1 AS step, r.span_id AS span_id, CAST(NULL AS DOUBLE) AS score
  FROM (
    SELECT c.thread_id AS thread_id, c.read_turn AS read_turn, c.source_ip AS source_ip, c.source_port AS source_port, c.callee_ip AS callee_ip, c.callee_port AS callee_port
    FROM placed_calls c
    JOIN stack_pools u ON u.service = c.service AND u.callee_ip = c.callee_ip AND u.callee_port = c.callee_port
    GROUP BY c.thread_id, c.read_turn, c.source_ip, c.source_port, c.callee_ip, c.callee_port
  ) g
  JOIN placed_reads r ON r.thread_id = g.thread_id AND r.turn = g.read_turn AND r.source_ip = g.source_ip AND r.source_port = g.source_port
) s

-- @name pool_matches
-- A read that found nothing in the pool is as low as no step was before it.
SELECT m.span_id AS span_id, m.read_span_id AS read_span_id, m.score AS score
FROM (
  SELECT
    l.step AS step, l.span_id AS read_span_id,
    lag(l.span_id) OVER (PARTITION BY l.thread_id, l.turn, l.source_ip, l.source_port, l.callee_ip, l.callee_port, l.level ORDER BY l.at_ns, l.step DESC, l.span_id) AS span_id,
    lag(l.step) OVER (PARTITION BY l.thread_id, l.turn, l.source_ip, l.source_port, l.callee_ip, l.callee_port, l.level ORDER BY l.at_ns, l.step DESC, l.span_id) AS opened,
    lag(l.score) OVER (PARTITION BY l.thread_id, l.turn, l.source_ip, l.source_port, l.callee_ip, l.callee_port, l.level ORDER BY l.at_ns, l.step DESC, l.span_id) AS score
  FROM (SELECT s.*, CASE WHEN s.step = 1 THEN s.height ELSE s.height + 1 END AS level FROM pool_steps s) l
) m
WHERE m.step = -1 AND m.opened = 1
UNION ALL
SELECT f.span_id AS span_id, n.read_span_id AS read_span_id, f.score AS score
FROM (
  SELECT
    c.span_id AS span_id, c.thread_id AS thread_id, c.read_turn AS turn, c.source_ip AS source_ip, c.source_port AS source_port, c.callee_ip AS callee_ip, c.callee_port AS callee_port, c.coverage AS score,
    CAST(row_number() OVER (PARTITION BY c.thread_id, c.read_turn, c.source_ip, c.source_port, c.callee_ip, c.callee_port ORDER BY c.at_ns, c.span_id) AS BIGINT) AS place
  FROM placed_calls c
  WHERE c.fresh
) f
JOIN (
  SELECT
    l.span_id AS read_span_id, l.thread_id AS thread_id, l.turn AS turn, l.source_ip AS source_ip, l.source_port AS source_port, l.callee_ip AS callee_ip, l.callee_port AS callee_port,
    CAST(row_number() OVER (PARTITION BY l.thread_id, l.turn, l.source_ip, l.source_port, l.callee_ip, l.callee_port ORDER BY l.at_ns, l.span_id) AS BIGINT) AS place
  FROM (
    SELECT s.*, min(s.height) OVER (PARTITION BY s.thread_id, s.turn, s.source_ip, s.source_port, s.callee_ip, s.callee_port ORDER BY s.at_ns, s.step DESC, s.span_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS lowest
    FROM pool_steps s
  ) l
  WHERE l.step = -1 AND l.height < 0 AND l.height < coalesce(l.lowest, 0)
) n ON n.thread_id = f.thread_id AND n.turn = f.turn AND n.source_ip = f.source_ip AND n.source_port = f.source_port AND n.callee_ip = f.callee_ip AND n.callee_port = f.callee_port AND n.place = f.place

-- @needs work, placed_calls

-- @name turn_places
-- What the order within the turn says. As many calls as reads: each its own. Else the last read before the call, if the program calls
-- at once; else any of them, each a part.
SELECT c.span_id AS span_id, r.span_id AS read_span_id, r.source_ip = '' AS is_request, c.fresh AS fresh,
  CASE
    WHEN r.places = 1 OR m.read_span_id = r.span_id THEN coalesce(m.score, c.coverage)
    WHEN f.service IS NULL THEN c.coverage * CASE WHEN c.crossed THEN CAST(0.85 AS DOUBLE) ELSE CAST(1 AS DOUBLE) END
    ELSE c.coverage / r.places
  END AS score
FROM placed_calls c
JOIN placed_reads r ON r.thread_id = c.thread_id AND r.turn = c.read_turn AND r.source_ip = c.source_ip AND r.source_port = c.source_port
LEFT JOIN lag_orders x ON x.service = c.service AND x.callee_ip = c.callee_ip AND x.callee_port = c.callee_port AND x.fresh = c.fresh
LEFT JOIN deferring f ON f.service = c.service
LEFT JOIN pool_matches m ON m.span_id = c.span_id
LEFT JOIN called_at_once o ON o.span_id = c.span_id
LEFT JOIN several_loops v ON v.service = c.service
WHERE CASE
  WHEN r.places = 1 THEN c.places = 1
  WHEN m.span_id IS NOT NULL THEN m.read_span_id = r.span_id
  WHEN f.service IS NOT NULL THEN r.places <= 8
  WHEN c.places = r.places THEN c.place = r.place AND r.at_ns <= c.at_ns
  WHEN v.service IS NOT NULL THEN FALSE
  WHEN c.lag = 0 AND coalesce(x.at_once >= 0.9 * x.calls, TRUE) THEN o.read_span_id = r.span_id
  ELSE FALSE
END

-- @name turn_triggers
SELECT t.span_id AS span_id, t.read_span_id AS read_span_id, t.is_request AS is_request, t.score AS score, t.fresh AS fresh
FROM turn_places t
JOIN loop_calls u ON u.span_id = t.span_id
UNION ALL
SELECT c.span_id AS span_id, r.span_id AS read_span_id, r.source_ip = '' AS is_request, c.coverage / r.places AS score, c.fresh AS fresh
FROM placed_calls c
JOIN loop_calls u ON u.span_id = c.span_id
JOIN placed_reads r ON r.thread_id = c.thread_id AND r.turn = c.read_turn AND r.source_ip = c.source_ip AND r.source_port = c.source_port
LEFT JOIN (SELECT t.span_id AS span_id FROM turn_places t GROUP BY t.span_id) s ON s.span_id = c.span_id
WHERE s.span_id IS NULL AND r.places <= 8

-- @needs work

-- @name own_calls
-- Whose owners matter: what triggered something here, and all of pools whose threads wait.
SELECT r.span_id AS span_id
FROM loop_reads r
WHERE r.source_ip <> ''
UNION
SELECT d.span_id AS span_id
FROM call_ends d
JOIN blocking_pools b ON b.process_id = d.process_id

-- @name known_owners
-- Calls whose request is known without this.
SELECT d.span_id AS span_id, d.parent_span_id AS owner, CAST(1 AS DOUBLE) AS score
FROM own_calls e
JOIN decided d ON d.span_id = e.span_id
WHERE d.parent_span_id IS NOT NULL
UNION ALL
SELECT t.span_id AS span_id, t.candidate_span_id AS owner, t.score AS score
FROM own_calls e
JOIN thread_claims t ON t.span_id = e.span_id
LEFT JOIN decided d ON d.span_id = t.span_id
CROSS JOIN limits l
WHERE t.score > l.threshold AND d.span_id IS NULL

-- @needs work, placed_calls

-- @name turn_owners
-- A call after another call's answer belongs to what that call belongs to. moved: owner is still such a call. One row for each owner
-- that a call may have: of calls with eight triggers each there are eight times as many ways back at every step.
SELECT w.span_id AS span_id, w.owner AS owner, sum(w.score) AS score, max(CASE WHEN w.fresh THEN 1 ELSE 0 END) = 1 AS fresh, w.moved AS moved
FROM (
  SELECT
    t.span_id AS span_id, CASE WHEN t.is_request OR k.span_id IS NULL THEN t.read_span_id ELSE k.owner END AS owner,
    t.score * CASE WHEN t.is_request OR k.span_id IS NULL THEN CAST(1 AS DOUBLE) ELSE k.score END AS score, t.fresh AS fresh,
    NOT t.is_request AND k.span_id IS NULL AS moved
  FROM turn_triggers t
  LEFT JOIN known_owners k ON k.span_id = t.read_span_id
) w
GROUP BY w.span_id, w.owner, w.moved

-- @name turn_owners @repeat
SELECT w.span_id AS span_id, w.owner AS owner, sum(w.score) AS score, max(CASE WHEN w.fresh THEN 1 ELSE 0 END) = 1 AS fresh, w.moved AS moved
FROM (
  SELECT
    o.span_id AS span_id, CASE WHEN o.moved THEN n.owner ELSE o.owner END AS owner, o.score * CASE WHEN o.moved THEN n.score ELSE CAST(1 AS DOUBLE) END AS score,
    o.fresh AS fresh, o.moved AND n.moved AS moved
  FROM turn_owners o
  LEFT JOIN turn_owners n ON n.span_id = CASE WHEN o.moved THEN o.owner ELSE NULL END
  WHERE NOT o.moved OR n.span_id IS NOT NULL
) w
GROUP BY w.span_id, w.owner, w.moved

-- @name turn_claims
-- Answered requests cause no more calls.
SELECT o.span_id AS span_id, o.owner AS candidate_span_id, 'turn' AS evidence, sum(o.score) AS score, max(CASE WHEN o.fresh THEN 1 ELSE 0 END) = 1 AS at_connect, FALSE AS doubt
FROM turn_owners o
JOIN unsure_calls c ON c.span_id = o.span_id
JOIN work k ON k.span_id = o.owner
WHERE NOT o.moved AND k.ts_ns <= c.at_ns AND (k.free_ns IS NULL OR k.free_ns > c.at_ns)
GROUP BY o.span_id, o.owner
