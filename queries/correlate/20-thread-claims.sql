-- Question:  which request was the calling thread working on?
-- Input:     exchanges; decided (span_id, ...) of earlier cycles; known_holds: of exchanges that earlier cycles are done with; known_passes,
--            known_lenders: what those showed of threads and processes; losses (node, from_ns, to_ns, cause); limits (pool_limit_ns)
-- Assumes:   a thread that has read a request and makes a call before that request is answered makes it for that request. This is so
--            for a thread or process per connection, and for any worker that handles one request at a time. A call on a fresh
--            connection belongs to what its thread worked on when it called connect, not at the first write; a connection that was made
--            ahead of need says nothing by that.
-- Known false matches: a call that a program makes of its own accord on a thread that happens to hold one request is taken for a part
--            of that request. An event loop or a thread that reads for others holds several: then each of them is a candidate with
--            score 1/n, and none is sure. Threads that work for each other (pools whose threads read requests for each other, event loops that
--            share their connections) hold one request and call for another: they count half, but only once enough of that was seen.
--            A loop that closes a connection as soon as its client has reset it, and still works on, seems free. Where events were lost since
--            the request was read, its answer and the reading of the next one may be among them: half the score.
-- Local to a node.

-- @name decided_ends
-- Of what earlier cycles decided: the exchanges themselves, and those at the other ends of their connections.
SELECT d.span_id AS span_id, d.parent_span_id AS parent_span_id, d.start_ns AS start_ns, d.stored AS stored
FROM decided d
WHERE d.span_id IN (SELECT e.span_id AS span_id FROM exchanges e UNION ALL SELECT e.peer_span_id AS span_id FROM exchanges e)

-- @name undecided
SELECT e.span_id AS span_id
FROM exchanges e
LEFT JOIN decided_ends d ON d.span_id = e.span_id
WHERE d.span_id IS NULL

-- @name answerers
-- How often calls and requests of a process were answered on another thread than made or read them.
SELECT
  e.process_id AS process_id, min(e.ts_ns) AS first_ns,
  CAST(sum(CASE WHEN e.is_server THEN 0 ELSE 1 END) AS BIGINT) AS calls,
  CAST(sum(CASE WHEN e.is_server OR e.answer_thread_id = e.last_thread_id THEN 0 ELSE 1 END) AS BIGINT) AS calls_elsewhere,
  CAST(sum(CASE WHEN e.is_server THEN 1 ELSE 0 END) AS BIGINT) AS requests,
  CAST(sum(CASE WHEN NOT e.is_server OR e.answer_thread_id = e.last_thread_id THEN 0 ELSE 1 END) AS BIGINT) AS requests_elsewhere
FROM exchanges e
WHERE e.answered AND e.process_id IS NOT NULL AND e.protocol IS NOT NULL
GROUP BY e.process_id

-- @name handed_on @view
-- Processes whose calls are often answered to another thread than made them, and whose requests by another than read them: what a
-- thread holds there says little about its calls.
SELECT a.process_id AS process_id
FROM answerers a
WHERE 10 * a.calls_elsewhere > a.calls AND 20 * a.requests_elsewhere > a.requests

-- @name new_passes
-- Threads that read requests which others answer. They may read on, and call for whatever they are given.
SELECT
  e.last_thread_id AS thread_id, count(*) AS taken,
  CAST(sum(CASE WHEN e.answer_first_thread_id <> e.last_thread_id THEN 1 ELSE 0 END) AS BIGINT) AS passed_on
FROM exchanges e
WHERE e.is_server AND e.answered AND e.protocol IS NOT NULL AND e.last_thread_id IS NOT NULL
GROUP BY e.last_thread_id
HAVING sum(CASE WHEN e.answer_first_thread_id <> e.last_thread_id THEN 1 ELSE 0 END) > 0

-- @name passing_threads
-- Those that do so with more than a quarter of what they read.
SELECT p.thread_id AS thread_id
FROM (
  SELECT n.thread_id AS thread_id, CAST(n.taken AS DOUBLE) AS taken, CAST(n.passed_on AS DOUBLE) AS passed_on FROM new_passes n
  UNION ALL
  SELECT k.thread_id AS thread_id, k.taken AS taken, k.passed_on AS passed_on FROM known_passes k
) p
GROUP BY p.thread_id
HAVING 4 * sum(p.passed_on) > sum(p.taken)

-- @name blocking_pools @view
-- Processes whose calls are so, but whose requests are answered by the threads that read them: these wait for the calls.
SELECT a.process_id AS process_id, a.first_ns AS first_ns
FROM answerers a
WHERE 10 * a.calls_elsewhere > a.calls AND 20 * a.requests_elsewhere <= a.requests

-- @name new_holds
-- A thread holds a request from reading it until it has been answered. Read to its end by another thread, it is that thread's from
-- then on. A pipelined request waits for the one before it.
SELECT
  s.span_id AS span_id,
  s.first_thread_id AS thread_id,
  CASE WHEN b.span_id IS NULL OR b.free_ns <= s.ts_ns THEN s.ts_ns ELSE coalesce(b.free_ns, 9000000000000000000) END AS from_ns,
  CASE
    WHEN s.request_whole AND s.last_thread_id <> s.first_thread_id AND (s.free_ns IS NULL OR s.request_end_ns < s.free_ns) THEN s.request_end_ns
    ELSE coalesce(s.free_ns, 9000000000000000000)
  END AS to_ns
FROM exchanges s
LEFT JOIN exchanges b ON b.socket_id = s.socket_id AND b.exchange_no = s.exchange_no - 1 AND b.run_id = s.run_id AND b.kind = 'request'
WHERE s.is_server AND s.first_thread_id IS NOT NULL
UNION ALL
SELECT
  s.span_id AS span_id,
  s.last_thread_id AS thread_id,
  CASE WHEN b.span_id IS NULL OR b.free_ns <= s.request_end_ns THEN s.request_end_ns ELSE coalesce(b.free_ns, 9000000000000000000) END AS from_ns,
  coalesce(s.free_ns, 9000000000000000000) AS to_ns
FROM exchanges s
LEFT JOIN exchanges b ON b.socket_id = s.socket_id AND b.exchange_no = s.exchange_no - 1 AND b.run_id = s.run_id AND b.kind = 'request'
WHERE s.is_server AND s.request_whole AND s.last_thread_id <> s.first_thread_id

-- @name holds @view
SELECT n.span_id AS span_id, n.thread_id AS thread_id, n.from_ns AS from_ns, n.to_ns AS to_ns
FROM new_holds n
UNION ALL
SELECT k.span_id AS span_id, k.thread_id AS thread_id, k.from_ns AS from_ns, k.to_ns AS to_ns
FROM known_holds k

-- @name call_moments
-- When a call shows what it belongs to: its first byte, and the connect before it.
SELECT e.span_id AS span_id, e.first_thread_id AS thread_id, e.ts_ns AS at_ns, FALSE AS at_connect
FROM exchanges e
JOIN undecided u ON u.span_id = e.span_id
WHERE NOT e.is_server AND e.first_thread_id IS NOT NULL
UNION ALL
SELECT e.span_id AS span_id, e.connect_thread_id AS thread_id, e.connect_ts_ns AS at_ns, TRUE AS at_connect
FROM exchanges e
JOIN undecided u ON u.span_id = e.span_id
WHERE NOT e.is_server AND e.kind = 'request' AND e.connect_thread_id IS NOT NULL

-- @name numbered_holds
-- Of the threads that make calls now, in the order in which they took the requests up.
SELECT
  h.thread_id AS thread_id, h.span_id AS span_id, h.from_ns AS from_ns, h.to_ns AS to_ns,
  CAST(row_number() OVER (PARTITION BY h.thread_id ORDER BY h.from_ns, h.span_id) AS BIGINT) AS place
FROM holds h
JOIN (
  SELECT m.thread_id AS thread_id, min(m.at_ns) AS first_ns, max(m.at_ns) AS last_ns FROM call_moments m GROUP BY m.thread_id
) t ON t.thread_id = h.thread_id AND h.from_ns <= t.last_ns AND h.to_ns > t.first_ns
WHERE h.from_ns < h.to_ns

-- @needs numbered_holds

-- @name moment_counts
-- How many requests the thread had taken up by then, and let go.
SELECT w.span_id AS span_id, w.at_connect AS at_connect, w.thread_id AS thread_id, w.at_ns AS at_ns, w.taken AS taken, w.let_go AS let_go
FROM (
  SELECT
    c.step AS step, c.span_id AS span_id, c.at_connect AS at_connect, c.thread_id AS thread_id, c.at_ns AS at_ns,
    CAST(sum(c.takes) OVER (PARTITION BY c.thread_id ORDER BY c.at_ns, c.step, c.span_id, c.at_connect ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS taken,
    CAST(sum(c.lets_go) OVER (PARTITION BY c.thread_id ORDER BY c.at_ns, c.step, c.span_id, c.at_connect ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS let_go
  FROM (
    SELECT h.thread_id AS thread_id, h.from_ns AS at_ns, 0 AS step, h.span_id AS span_id, FALSE AS at_connect, 1 AS takes, 0 AS lets_go FROM numbered_holds h
    UNION ALL
    SELECT h.thread_id AS thread_id, h.to_ns AS at_ns, 1 AS step, h.span_id AS span_id, FALSE AS at_connect, 0 AS takes, 1 AS lets_go FROM numbered_holds h
    UNION ALL
    SELECT m.thread_id AS thread_id, m.at_ns AS at_ns, 2 AS step, m.span_id AS span_id, m.at_connect AS at_connect, 0 AS takes, 0 AS lets_go FROM call_moments m
  ) c
) w
WHERE w.step = 2 AND w.taken > w.let_go

-- @needs call_moments

-- @name free_calls
-- Calls of threads that held nothing then.
SELECT m.span_id AS span_id, m.thread_id AS thread_id
FROM call_moments m
LEFT JOIN (SELECT c.span_id AS span_id FROM moment_counts c WHERE NOT c.at_connect) h ON h.span_id = m.span_id
WHERE NOT m.at_connect AND h.span_id IS NULL

-- @needs free_calls

-- @name readers_free_calls
-- Of those, the calls of threads that read requests at other times: for another thread, or on their own account. Who called is known of tasks.
SELECT f.span_id AS span_id, e.process_id AS process_id
FROM free_calls f
JOIN exchanges e ON e.span_id = f.span_id
JOIN (
  SELECT h.thread_id AS thread_id
  FROM holds h
  JOIN (SELECT c.thread_id AS thread_id FROM free_calls c GROUP BY c.thread_id) t ON t.thread_id = h.thread_id
  GROUP BY h.thread_id
) r ON r.thread_id = f.thread_id
WHERE e.answered AND e.task_id IS NULL

-- @needs call_moments

-- @name lending_processes @view
-- Those that may have threads which call for each other.
SELECT f.process_id AS process_id FROM readers_free_calls f
UNION
SELECT k.process_id AS process_id FROM known_lenders k

-- @needs lending_processes

-- @name call_holds
-- Each of their calls, as 1 in one of lent (the thread held nothing, another one held a request), alone (nobody held one), sure (the thread held
-- one; sure_alone: and no other thread) and several. What is passed on counts for nobody.
SELECT
  w.span_id AS span_id, w.process_id AS process_id,
  CAST(CASE WHEN w.held = 0 AND w.open > 0 THEN 1 ELSE 0 END AS DOUBLE) AS lent, CAST(CASE WHEN w.held = 0 AND w.open = 0 THEN 1 ELSE 0 END AS DOUBLE) AS alone,
  CAST(CASE WHEN w.held = 1 THEN 1 ELSE 0 END AS DOUBLE) AS sure, CAST(CASE WHEN w.held = 1 AND w.open <= 1 THEN 1 ELSE 0 END AS DOUBLE) AS sure_alone,
  CAST(CASE WHEN w.held > 1 THEN 1 ELSE 0 END AS DOUBLE) AS several
FROM (
  SELECT
    c.step AS step, c.span_id AS span_id, c.process_id AS process_id, c.held AS held,
    sum(c.opens) OVER (PARTITION BY c.process_id ORDER BY c.at_ns, c.step, c.span_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS open
  FROM (
    SELECT m.span_id AS span_id, e.process_id AS process_id, m.at_ns AS at_ns, 1 AS step, 0 AS opens, CASE WHEN f.span_id IS NULL THEN n.taken - n.let_go ELSE 0 END AS held
    FROM call_moments m
    JOIN exchanges e ON e.span_id = m.span_id
    JOIN lending_processes p ON p.process_id = e.process_id
    LEFT JOIN (SELECT t.* FROM moment_counts t WHERE NOT t.at_connect) n ON n.span_id = m.span_id
    LEFT JOIN readers_free_calls f ON f.span_id = m.span_id
    LEFT JOIN passing_threads w ON w.thread_id = m.thread_id
    WHERE NOT m.at_connect AND w.thread_id IS NULL AND (n.span_id IS NOT NULL OR f.span_id IS NOT NULL)
    UNION ALL
    SELECT s.span_id AS span_id, s.process_id AS process_id, CASE WHEN o.opens = 1 THEN s.ts_ns ELSE s.free_ns END AS at_ns, 0 AS step, o.opens AS opens, CAST(0 AS BIGINT) AS held
    FROM exchanges s
    JOIN lending_processes p ON p.process_id = s.process_id
    LEFT JOIN passing_threads w ON w.thread_id = s.last_thread_id
    CROSS JOIN (SELECT 1 AS opens UNION ALL SELECT -1 AS opens) o
    WHERE s.is_server AND w.thread_id IS NULL AND (o.opens = 1 OR s.free_ns IS NOT NULL)
  ) c
) w
WHERE w.step = 1

-- @name lenders
-- A thread that calls for others while it holds nothing does so too while it holds one request. Two signs. Threads hold several at a time: of the
-- calls that seem sure, as many are another's as lent ones there are, times how often one more is held; 1 in 50 is too many. Or the calls
-- that were made while nothing was held are all made beside another thread's request, where of calls on their own account many would not be.
SELECT s.process_id AS process_id
FROM (
  SELECT c.process_id AS process_id, c.lent AS lent, c.alone AS alone, c.sure AS sure, c.sure_alone AS sure_alone, c.several AS several FROM call_holds c
  UNION ALL
  SELECT k.process_id AS process_id, k.lent AS lent, k.alone AS alone, k.sure AS sure, k.sure_alone AS sure_alone, k.several AS several FROM known_lenders k
) s
GROUP BY s.process_id
HAVING 50 * sum(s.lent) * sum(s.several) > sum(s.sure) * sum(s.sure)
  OR (10 * sum(s.lent) > sum(s.sure) AND (sum(s.lent) + sum(s.alone)) * sum(s.sure_alone) > 5 * sum(s.sure)
    AND 4 * sum(s.alone) * sum(s.sure) < (sum(s.lent) + sum(s.alone)) * sum(s.sure_alone))

-- @needs losses

-- @name moment_losses
-- Up to when single events had been lost on the node, of what had been lost by then.
SELECT w.span_id AS span_id, w.at_connect AS at_connect, w.lost_to_ns AS lost_to_ns
FROM (
  SELECT
    c.step AS step, c.span_id AS span_id, c.at_connect AS at_connect,
    max(c.to_ns) OVER (PARTITION BY c.node ORDER BY c.at_ns, c.step, c.span_id, c.at_connect ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS lost_to_ns
  FROM (
    SELECT l.node AS node, l.from_ns AS at_ns, 0 AS step, l.to_ns AS span_id, FALSE AS at_connect, l.to_ns AS to_ns
    FROM losses l
    WHERE l.cause IN ('ring_full', 'hook_missed', 'undecodable', 'connection_shed', 'spool_full', 'not_received')
    UNION ALL
    SELECT e.node AS node, m.at_ns AS at_ns, 1 AS step, m.span_id AS span_id, m.at_connect AS at_connect, CAST(0 AS BIGINT) AS to_ns
    FROM call_moments m
    JOIN exchanges e ON e.span_id = m.span_id
    JOIN (SELECT l.node AS node FROM losses l GROUP BY l.node) n ON n.node = e.node
  ) c
) w
WHERE w.step = 1 AND w.lost_to_ns > 0

-- @needs moment_counts

-- @name moment_candidates @within
-- One request: sure. Several: those among the last 64 that the thread took up; an older one counts, but is not named.
SELECT m.span_id AS span_id, m.at_connect AS at_connect, h.span_id AS candidate_span_id, m.taken - m.let_go AS held,
  CASE WHEN l.lost_to_ns >= h.from_ns THEN 1 ELSE 0 END AS doubt
FROM moment_counts m
JOIN numbered_holds h ON h.thread_id = m.thread_id AND h.place = m.taken
LEFT JOIN moment_losses l ON l.span_id = m.span_id AND l.at_connect = m.at_connect
WHERE m.taken - m.let_go = 1 AND h.to_ns > m.at_ns
UNION ALL
SELECT m.span_id AS span_id, m.at_connect AS at_connect, h.span_id AS candidate_span_id, m.taken - m.let_go AS held,
  CASE WHEN l.lost_to_ns >= h.from_ns THEN 1 ELSE 0 END AS doubt
FROM (
  SELECT a.span_id AS span_id, a.at_connect AS at_connect, a.thread_id AS thread_id, a.at_ns AS at_ns, a.taken AS taken, a.let_go AS let_go, a.taken - a.taken % 64 - d.back AS block
  FROM moment_counts a
  LEFT JOIN numbered_holds n ON n.thread_id = a.thread_id AND n.place = a.taken AND n.to_ns > a.at_ns
  CROSS JOIN (SELECT 0 AS back UNION ALL SELECT 64 AS back) d
  WHERE a.taken - a.let_go > 1 OR n.span_id IS NULL
) m
JOIN numbered_holds h ON h.thread_id = m.thread_id AND h.place - h.place % 64 = m.block
LEFT JOIN moment_losses l ON l.span_id = m.span_id AND l.at_connect = m.at_connect
WHERE h.place <= m.taken AND h.place > m.taken - 64 AND h.to_ns > m.at_ns

-- @name moments_together @within
SELECT
  c.span_id AS span_id, c.candidate_span_id AS candidate_span_id,
  max(CASE WHEN c.at_connect THEN 1 ELSE 0 END) AS at_connect,
  max(CASE WHEN c.at_connect THEN 0 ELSE 1 END) AS at_write,
  CAST(max(CASE WHEN c.at_connect THEN c.held ELSE 0 END) AS BIGINT) AS held_at_connect,
  CAST(max(CASE WHEN c.at_connect THEN 0 ELSE c.held END) AS BIGINT) AS held_at_write,
  max(c.doubt) AS doubt
FROM moment_candidates c
GROUP BY c.span_id, c.candidate_span_id

-- @name thread_claims
-- A request that the thread held at both moments goes before one of a single moment. Moments that disagree leave it open. Where the
-- task is known that called, the thread says little; so it does where threads call for each other. A connect long ahead of the call may
-- confirm what the thread holds, no more.
SELECT
  t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, 'thread' AS evidence,
  CASE
    WHEN e.ts_ns - e.connect_ts_ns > l.pool_limit_ns AND t.at_write = 0 THEN CAST(0 AS DOUBLE)
    WHEN e.ts_ns - e.connect_ts_ns > l.pool_limit_ns THEN CAST(1 AS DOUBLE) / b.held_at_write
    WHEN b.held_at_both > 0 AND t.at_connect + t.at_write = 2 THEN CAST(1 AS DOUBLE) / b.held_at_both
    WHEN b.held_at_both > 0 THEN CAST(0 AS DOUBLE)
    ELSE CAST(1 AS DOUBLE) / (b.held_at_connect + b.held_at_write)
  END * CASE WHEN t.doubt = 1 OR coalesce(p.process_id, n.process_id, w.thread_id, k.thread_id, e.task_id) IS NOT NULL THEN CAST(0.5 AS DOUBLE) ELSE CAST(1 AS DOUBLE) END AS score,
  t.at_connect = 1 AS at_connect,
  t.doubt = 1 AS doubt
FROM moments_together t
JOIN (
  SELECT
    a.span_id AS span_id,
    CAST(sum(CASE WHEN a.at_connect + a.at_write = 2 THEN 1 ELSE 0 END) AS BIGINT) AS held_at_both,
    max(a.held_at_connect) AS held_at_connect, max(a.held_at_write) AS held_at_write
  FROM moments_together a
  GROUP BY a.span_id
) b ON b.span_id = t.span_id
JOIN exchanges e ON e.span_id = t.span_id
LEFT JOIN handed_on p ON p.process_id = e.process_id
LEFT JOIN lenders n ON n.process_id = e.process_id
LEFT JOIN passing_threads w ON w.thread_id = e.first_thread_id
LEFT JOIN passing_threads k ON k.thread_id = e.connect_thread_id
CROSS JOIN limits l
LEFT JOIN evidence_off x ON x.evidence = 'thread'
WHERE x.evidence IS NULL
