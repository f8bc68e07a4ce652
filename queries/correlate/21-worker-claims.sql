-- Question:  which request was a thread working on that had not read one itself?
-- Input:     exchanges; undecided; holds; moment_counts; thread_claims; messages; known_work: requests of earlier cycles;
--            handed_on: processes whose threads say little; passing_threads: threads that read requests which others answer; closes;
--            thread_moves (op, thread_id, target_thread_id, ts_ns): forks, exits, and wakes that a thread caused
-- Assumes:   a worker serves one request at a time, waits for its calls, and either writes the response itself (then what it called
--            since the response before belongs to this request), or wakes the thread that read the request and waits for it. A thread
--            that was started while its parent held one request, and calls while that is unanswered, works for it.
-- Known false matches: a call of a worker's own between two requests is taken for a part of the next one, if that had been read by
--            then; and so is one for a request that is never answered, where another thread than the worker closes that connection. A
--            thread whose parent held a request when it was started may by chance do other work before that is answered.
--            A goroutine that an earlier request on the same connection has started, and that goes on, is taken to work for the later one.
-- Local to a node.

-- @name unsure_calls
-- Calls of threads that held no request, or more than one. A fresh connection's call was made when it called connect.
SELECT
  c.span_id AS span_id, c.process_id AS process_id, c.run_id AS run_id, c.socket_id AS socket_id, c.exchange_no AS exchange_no,
  c.kind AS kind, c.fresh AS fresh, CASE WHEN c.fresh THEN c.connect_thread_id ELSE c.first_thread_id END AS thread_id,
  CASE WHEN c.fresh THEN c.connect_ts_ns ELSE c.ts_ns END AS at_ns, c.ts_ns AS ts_ns, c.end_ns AS end_ns, c.answered AS answered,
  h.span_id IS NOT NULL AS holds_some,
  CASE WHEN c.fresh THEN c.connect_turn ELSE c.first_turn END AS turn, c.task_id AS task_id, c.parent_task_id AS parent_task_id,
  coalesce(c.remote_ip, 'unix') AS callee_ip, coalesce(c.remote_port, 0) AS callee_port, c.request_open AS request_open
FROM (
  SELECT
    e.*, e.kind = 'request' AND e.connect_thread_id IS NOT NULL AND e.ts_ns - e.connect_ts_ns <= l.pool_limit_ns AS fresh
  FROM exchanges e
  JOIN undecided u ON u.span_id = e.span_id
  CROSS JOIN limits l
  WHERE NOT e.is_server AND e.first_thread_id IS NOT NULL
) c
LEFT JOIN (
  SELECT t.span_id AS span_id FROM thread_claims t CROSS JOIN limits l WHERE t.score > l.threshold OR t.doubt GROUP BY t.span_id
) s ON s.span_id = c.span_id
LEFT JOIN (SELECT m.span_id AS span_id FROM moment_counts m GROUP BY m.span_id) h ON h.span_id = c.span_id
WHERE s.span_id IS NULL

-- @name header_calls
-- Calls that carry an id of their trace or request, sure or not: they also show how often the other evidence is right.
SELECT e.span_id AS span_id, e.process_id AS process_id, e.ts_ns AS ts_ns, q.traceparent AS traceparent, q.request_id AS request_id
FROM exchanges e
JOIN undecided u ON u.span_id = e.span_id
JOIN messages q ON q.socket_id = e.socket_id AND q.exchange_no = e.exchange_no AND q.run_id = e.run_id AND q.kind = 'request' AND NOT q.partial
WHERE NOT e.is_server AND (q.traceparent IS NOT NULL OR q.request_id IS NOT NULL)

-- @name unsure_processes
SELECT c.process_id AS process_id, min(c.at_ns) AS first_ns
FROM (
  SELECT n.process_id AS process_id, n.at_ns AS at_ns FROM unsure_calls n
  UNION ALL
  SELECT h.process_id AS process_id, h.ts_ns AS at_ns FROM header_calls h
) c
WHERE c.process_id IS NOT NULL
GROUP BY c.process_id

-- @needs unsure_processes

-- @name unsure_requests
SELECT e.span_id AS span_id
FROM exchanges e
JOIN unsure_processes p ON p.process_id = e.process_id
WHERE e.is_server
UNION ALL
SELECT k.span_id AS span_id
FROM known_work k
JOIN unsure_processes p ON p.process_id = k.process_id

-- @needs unsure_requests

-- @name new_work
-- The requests of these processes: who read them, who answered.
SELECT
  e.span_id AS span_id, e.process_id AS process_id, e.ts_ns AS ts_ns, e.request_end_ns AS request_end_ns, e.free_ns AS free_ns,
  e.last_thread_id AS reader_thread_id, q.last_turn AS read_turn, e.answer_first_thread_id AS answer_thread_id, e.answer_ns AS answer_ns,
  q.traceparent AS traceparent, q.request_id AS request_id, e.answer_task_id AS task_id, q.task_id AS reader_task_id,
  q.method AS method, q.path AS path
FROM exchanges e
JOIN unsure_processes p ON p.process_id = e.process_id
LEFT JOIN messages q ON q.socket_id = e.socket_id AND q.exchange_no = e.exchange_no AND q.run_id = e.run_id AND q.kind = 'request' AND NOT q.partial
WHERE e.is_server

-- @needs unsure_processes

-- @name work @view
-- And those of earlier cycles.
SELECT n.*
FROM new_work n
UNION ALL
SELECT
  k.span_id AS span_id, k.process_id AS process_id, k.ts_ns AS ts_ns, k.request_end_ns AS request_end_ns, k.free_ns AS free_ns,
  k.reader_thread_id AS reader_thread_id, k.read_turn AS read_turn, k.answer_thread_id AS answer_thread_id, k.answer_ns AS answer_ns,
  k.traceparent AS traceparent, k.request_id AS request_id, k.task_id AS task_id, k.reader_task_id AS reader_task_id,
  k.method AS method, k.path AS path
FROM known_work k
JOIN unsure_processes p ON p.process_id = k.process_id

-- @name weighed_processes
-- Those of them that have requests, or wake threads which may have some. What others call is nobody's, and teaches nothing.
SELECT p.process_id AS process_id
FROM unsure_processes p
JOIN (
  SELECT k.process_id AS process_id FROM work k
  UNION
  SELECT m.process_id AS process_id FROM thread_moves m WHERE m.op = 'wake' AND m.thread_id <> m.target_thread_id
) k ON k.process_id = p.process_id

-- @needs unsure_calls

-- @name birth_claims
-- A thread that has ended before the answer lived for that request alone; one that goes on may be a pool's, and take another's work.
SELECT b.span_id AS span_id, b.candidate_span_id AS candidate_span_id, 'birth' AS evidence,
  CASE WHEN x.thread_id IS NOT NULL THEN CAST(0.99 AS DOUBLE) ELSE CAST(0.5 AS DOUBLE) END / b.held AS score, b.fresh AS at_connect, FALSE AS doubt
FROM (
  SELECT
    c.span_id AS span_id, h.span_id AS candidate_span_id, c.fresh AS fresh, c.thread_id AS thread_id, h.to_ns AS to_ns, c.at_ns AS at_ns,
    count(*) OVER (PARTITION BY c.span_id) AS held
  FROM unsure_calls c
  JOIN thread_moves f ON f.target_thread_id = c.thread_id AND f.op = 'fork' AND f.ts_ns <= c.at_ns
  JOIN holds h ON h.thread_id = f.thread_id AND h.from_ns <= f.ts_ns AND h.to_ns > f.ts_ns
  LEFT JOIN handed_on p ON p.process_id = c.process_id
  WHERE NOT c.holds_some AND p.process_id IS NULL
) b
LEFT JOIN (SELECT m.thread_id AS thread_id, min(m.ts_ns) AS ts_ns FROM thread_moves m WHERE m.op = 'exit' GROUP BY m.thread_id) x ON x.thread_id = b.thread_id AND x.ts_ns <= b.to_ns
WHERE b.to_ns > b.at_ns

-- @needs weighed_processes

-- @name new_call_ends
-- When the threads of these processes had read the answers to their calls.
SELECT e.span_id AS span_id, e.process_id AS process_id, e.socket_id AS socket_id, e.exchange_no AS exchange_no, e.answer_thread_id AS thread_id, e.answer_turn AS turn, e.ts_ns AS begun_ns, e.end_ns AS end_ns,
  coalesce(e.remote_ip, 'unix') AS callee_ip, coalesce(e.remote_port, 0) AS callee_port
FROM exchanges e
JOIN weighed_processes p ON p.process_id = e.process_id
WHERE NOT e.is_server AND e.answered AND e.answer_ended AND NOT e.request_open

-- @name call_ends @view
SELECT n.*
FROM new_call_ends n
UNION ALL
SELECT k.span_id AS span_id, k.process_id AS process_id, k.socket_id AS socket_id, k.exchange_no AS exchange_no, k.thread_id AS thread_id, k.turn AS turn, k.begun_ns AS begun_ns, k.end_ns AS end_ns, k.callee_ip AS callee_ip, k.callee_port AS callee_port
FROM known_call_ends k
JOIN weighed_processes p ON p.process_id = k.process_id

-- @name waited_holds @within
-- Of the holds that are known, those that one of these calls could be for: they lasted until one had been answered. Who holds several at a
-- time waits for none of them.
SELECT
  b.span_id AS span_id, b.thread_id AS thread_id, b.from_ns AS from_ns, b.to_ns AS to_ns,
  coalesce(b.before_to_ns <= b.from_ns, TRUE) AND coalesce(b.next_from_ns >= b.to_ns, TRUE) AS waits
FROM (
  SELECT
    h.span_id AS span_id, h.thread_id AS thread_id, h.from_ns AS from_ns, h.to_ns AS to_ns,
    max(h.to_ns) OVER (PARTITION BY h.thread_id ORDER BY h.from_ns, h.span_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_to_ns,
    lead(h.from_ns) OVER (PARTITION BY h.thread_id ORDER BY h.from_ns, h.span_id) AS next_from_ns
  FROM holds h
  WHERE h.from_ns < h.to_ns AND h.to_ns >= (SELECT min(c.end_ns) FROM unsure_calls c)
) b

-- @name waited_calls @within
-- And the calls that ended within them, at the earliest.
SELECT d.thread_id AS thread_id, d.begun_ns AS begun_ns, d.end_ns AS end_ns
FROM call_ends d
WHERE d.begun_ns > (SELECT min(h.from_ns) FROM waited_holds h)

-- @name waking_workers @within
-- Who woke a waiting reader after having made a call, and read its answer, since the request: one of them hands the result back, with
-- its last wake.
SELECT h.span_id AS span_id, m.thread_id AS worker_thread_id, h.from_ns AS from_ns, h.to_ns AS to_ns, h.waits AS waits, min(m.ts_ns) AS first_ns, max(m.ts_ns) AS at_ns
FROM (SELECT d.thread_id AS thread_id, min(d.end_ns) AS first_ns FROM waited_calls d GROUP BY d.thread_id) t
JOIN thread_moves m ON m.thread_id = t.thread_id AND m.op = 'wake' AND m.ts_ns >= t.first_ns
JOIN waited_holds h ON h.thread_id = m.target_thread_id AND h.from_ns <= m.ts_ns AND h.to_ns > m.ts_ns
WHERE m.thread_id <> m.target_thread_id
  AND EXISTS (SELECT 1 FROM waited_calls d WHERE d.thread_id = m.thread_id AND d.begun_ns > h.from_ns AND d.end_ns <= m.ts_ns)
GROUP BY h.span_id, m.thread_id, h.from_ns, h.to_ns, h.waits

-- @name hand_backs
-- Interpreters with a lock wake threads at random, but a reader that sleeps until its result is there is first woken by that.
SELECT b.span_id AS span_id, b.worker_thread_id AS worker_thread_id, b.from_ns AS from_ns, b.to_ns AS to_ns, b.waits AS waits, b.at_ns AS at_ns
FROM (
  SELECT w.*, CAST(row_number() OVER (PARTITION BY w.span_id ORDER BY w.first_ns, w.worker_thread_id) AS BIGINT) AS place
  FROM waking_workers w
) b
WHERE b.place = 1

-- @needs hand_backs

-- @name job_calls
-- What a worker called until its hand-back belongs to that job; what it called since, and before the reader had answered, to the same
-- (a reader that was awake already is not woken again), or to its next job.
SELECT
  b.span_id AS span_id, b.candidate_span_id AS candidate_span_id, b.waits AS waits, b.after AS after, b.fresh AS fresh, b.at_ns AS at_ns, d.callee_ip AS callee_ip, d.callee_port AS callee_port,
  count(*) OVER (PARTITION BY b.span_id) AS jobs
FROM (
  SELECT
    c.span_id AS span_id, h.span_id AS candidate_span_id, h.waits AS waits, h.at_ns < c.end_ns AS after, c.fresh AS fresh, c.at_ns AS at_ns, h.from_ns AS from_ns,
    CAST(row_number() OVER (PARTITION BY c.span_id, h.at_ns < c.end_ns ORDER BY CASE WHEN h.at_ns < c.end_ns THEN -h.at_ns ELSE h.at_ns END, h.span_id) AS BIGINT) AS place
  FROM unsure_calls c
  JOIN hand_backs h ON h.worker_thread_id = c.thread_id AND h.to_ns >= c.end_ns
  LEFT JOIN handed_on p ON p.process_id = c.process_id
  WHERE NOT c.holds_some AND p.process_id IS NULL
) b
JOIN call_ends d ON d.span_id = b.span_id
WHERE b.place = 1 AND b.from_ns <= b.at_ns

-- @name hand_back_claims
-- Where both could be: a job that called this callee before does not again, a job that does later did not yet.
SELECT
  j.span_id AS span_id, j.candidate_span_id AS candidate_span_id, 'hand_back' AS evidence,
  CASE
    WHEN NOT j.waits THEN CAST(0.45 AS DOUBLE)
    WHEN j.jobs = 1 THEN CAST(0.97 AS DOUBLE)
    WHEN j.after AND e.span_id IS NULL AND l.span_id IS NOT NULL THEN CAST(0.9 AS DOUBLE)
    WHEN NOT j.after AND e.span_id IS NOT NULL AND l.span_id IS NULL THEN CAST(0.9 AS DOUBLE)
    ELSE CAST(0.45 AS DOUBLE)
  END AS score,
  j.fresh AS at_connect, FALSE AS doubt
FROM job_calls j
LEFT JOIN (
  SELECT j.span_id AS span_id
  FROM job_calls j
  JOIN job_calls o ON o.candidate_span_id = j.candidate_span_id AND o.callee_ip = j.callee_ip AND o.callee_port = j.callee_port AND o.at_ns < j.at_ns AND NOT o.after
  WHERE j.after AND j.jobs > 1
  GROUP BY j.span_id
) e ON e.span_id = j.span_id
LEFT JOIN (
  SELECT j.span_id AS span_id
  FROM job_calls j
  JOIN job_calls o ON o.candidate_span_id = j.candidate_span_id AND o.callee_ip = j.callee_ip AND o.callee_port = j.callee_port AND o.at_ns > j.at_ns AND NOT o.after
  WHERE NOT j.after AND j.jobs > 1
  GROUP BY j.span_id
) l ON l.span_id = j.span_id

-- @needs work

-- @name open_work
-- Those that were not answered yet when the first of these calls was made: what else is known of may be ten times as much. width: of
-- the piece of time in which they are looked for, longer than they were open.
SELECT
  b.span_id AS span_id, b.process_id AS process_id, b.ts_ns AS ts_ns, b.request_end_ns AS request_end_ns, b.free_ns AS free_ns,
  b.reader_thread_id AS reader_thread_id, b.answer_thread_id AS answer_thread_id, b.answer_ns AS answer_ns, b.traceparent AS traceparent, b.request_id AS request_id,
  b.task_id AS task_id, b.reader_task_id AS reader_task_id,
  CASE
    WHEN b.open_ns < 1048576 THEN 1048576
    WHEN b.open_ns < 8388608 THEN 8388608
    WHEN b.open_ns < 67108864 THEN 67108864
    WHEN b.open_ns < 536870912 THEN 536870912
    WHEN b.open_ns < 4294967296 THEN 4294967296
    WHEN b.open_ns < 34359738368 THEN 34359738368
    ELSE 4611686018427387904
  END AS width
FROM (
  SELECT k.*, CASE WHEN k.free_ns IS NOT NULL AND k.answer_ns > k.free_ns THEN k.answer_ns ELSE k.free_ns END - k.ts_ns AS open_ns
  FROM work k
  JOIN unsure_processes p ON p.process_id = k.process_id
  WHERE k.free_ns IS NULL OR k.free_ns >= p.first_ns OR k.answer_ns >= p.first_ns
) b

-- @name open_places @view
-- The pieces of time in which a request was open, two at most. Who asks which ones were open at a moment looks in the piece of each
-- width around it, and compares times there: all requests of a process with all its calls would be pairs by the square.
SELECT k.*, k.ts_ns - k.ts_ns % k.width + n.later * k.width AS piece_ns
FROM open_work k
CROSS JOIN (SELECT 0 AS later UNION ALL SELECT 1 AS later) n
WHERE n.later = 0 OR k.width < 4611686018427387904

-- @name open_widths
SELECT k.process_id AS process_id, k.width AS width
FROM open_work k
GROUP BY k.process_id, k.width

-- @needs work, header_calls

-- @name header_places @within
-- Where to look for the requests of these calls.
SELECT c.span_id AS span_id, c.process_id AS process_id, c.ts_ns AS ts_ns, c.traceparent AS traceparent, c.request_id AS request_id, w.width AS width, c.ts_ns - c.ts_ns % w.width AS piece_ns
FROM header_calls c
JOIN open_widths w ON w.process_id = c.process_id

-- @name header_claims
-- A program that passes its caller's ids on says itself what belongs together.
SELECT b.span_id AS span_id, b.candidate_span_id AS candidate_span_id, 'header' AS evidence, CAST(1 AS DOUBLE) / b.candidates AS score, FALSE AS at_connect, FALSE AS doubt
FROM (
  SELECT c.span_id AS span_id, k.span_id AS candidate_span_id, count(*) OVER (PARTITION BY c.span_id) AS candidates
  FROM header_places c
  JOIN open_places k ON k.process_id = c.process_id AND k.width = c.width AND k.piece_ns = c.piece_ns AND k.ts_ns <= c.ts_ns AND (k.free_ns IS NULL OR k.free_ns > c.ts_ns)
    AND (substr(k.traceparent, 4, 32) = substr(c.traceparent, 4, 32) OR k.request_id = c.request_id)
) b

-- @needs work

-- @name task_places @within
SELECT c.span_id AS span_id, c.process_id AS process_id, c.ts_ns AS ts_ns, c.fresh AS fresh, c.task_id AS task_id, c.parent_task_id AS parent_task_id, w.width AS width, c.ts_ns - c.ts_ns % w.width AS piece_ns
FROM unsure_calls c
JOIN open_widths w ON w.process_id = c.process_id
WHERE c.kind = 'request' AND NOT c.request_open AND (c.task_id IS NOT NULL OR c.parent_task_id IS NOT NULL)

-- @name task_claims
-- A task (a goroutine) that calls is the one that read the request and answers it, or was started by that one; the newest such request. Not one that was
-- started by who started that one: main starts those that serve, and those that work on the program's own account.
SELECT b.span_id AS span_id, b.candidate_span_id AS candidate_span_id, 'task' AS evidence, CAST(0.99 AS DOUBLE) AS score, b.fresh AS at_connect, FALSE AS doubt
FROM (
  SELECT
    c.span_id AS span_id, k.span_id AS candidate_span_id, c.fresh AS fresh,
    CAST(row_number() OVER (PARTITION BY c.span_id ORDER BY CASE WHEN c.task_id = k.task_id OR c.task_id = k.reader_task_id THEN 0 ELSE 1 END, k.ts_ns DESC, k.span_id) AS BIGINT) AS place
  FROM task_places c
  JOIN open_places k ON k.process_id = c.process_id AND k.width = c.width AND k.piece_ns = c.piece_ns AND k.ts_ns <= c.ts_ns AND (k.free_ns IS NULL OR k.free_ns > c.ts_ns)
  WHERE c.task_id IN (k.task_id, k.reader_task_id) OR c.parent_task_id IN (k.task_id, k.reader_task_id)
) b
WHERE b.place = 1

-- @name call_places
SELECT c.span_id AS span_id, c.process_id AS process_id, c.at_ns AS at_ns, c.end_ns AS end_ns, c.answered AS answered, w.width AS width, c.at_ns - c.at_ns % w.width AS piece_ns
FROM unsure_calls c
JOIN open_widths w ON w.process_id = c.process_id

-- @name next_answers @within
-- What the calling thread answered next, and when it next closed a connection that was for requests.
SELECT w.span_id AS span_id, w.thread_id AS thread_id, w.answer_ns AS answer_ns, w.close_ns AS close_ns
FROM (
  SELECT
    c.step AS step, c.span_id AS span_id, c.thread_id AS thread_id,
    min(c.answer_ns) OVER (PARTITION BY c.thread_id ORDER BY c.at_ns, c.step, c.span_id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS answer_ns,
    min(c.close_ns) OVER (PARTITION BY c.thread_id ORDER BY c.at_ns, c.step, c.span_id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS close_ns
  FROM (
    SELECT u.span_id AS span_id, u.thread_id AS thread_id, u.at_ns AS at_ns, 0 AS step, CAST(NULL AS BIGINT) AS answer_ns, CAST(NULL AS BIGINT) AS close_ns FROM unsure_calls u WHERE NOT u.holds_some
    UNION ALL
    SELECT k.span_id AS span_id, k.answer_thread_id AS thread_id, k.answer_ns AS at_ns, 1 AS step, k.answer_ns AS answer_ns, CAST(NULL AS BIGINT) AS close_ns FROM open_work k WHERE k.answer_ns IS NOT NULL
    UNION ALL
    SELECT s.socket_id AS span_id, s.thread_id AS thread_id, s.close_ns AS at_ns, 1 AS step, CAST(NULL AS BIGINT) AS answer_ns, s.close_ns AS close_ns
    FROM closes s
    JOIN (SELECT u.thread_id AS thread_id, min(u.at_ns) AS first_ns FROM unsure_calls u WHERE NOT u.holds_some GROUP BY u.thread_id) t ON t.thread_id = s.thread_id AND s.close_ns >= t.first_ns
  ) c
) w
WHERE w.step = 0 AND w.answer_ns IS NOT NULL

-- @name responder_claims
-- A worker that closes a connection before it answers may have called for a request that nobody waits for any more; one that reads requests for others
-- may answer for others too. Of several that one write answers (pipelined ones) it may have been any.
SELECT n.span_id AS span_id, k.span_id AS candidate_span_id, 'responder' AS evidence,
  CASE WHEN n.close_ns < n.answer_ns OR r.thread_id IS NOT NULL THEN CAST(0.45 AS DOUBLE) ELSE CAST(0.99 AS DOUBLE) END / count(*) OVER (PARTITION BY n.span_id) AS score, c.fresh AS at_connect, FALSE AS doubt
FROM next_answers n
JOIN unsure_calls c ON c.span_id = n.span_id
JOIN open_work k ON k.answer_thread_id = n.thread_id AND k.answer_ns = n.answer_ns
LEFT JOIN handed_on p ON p.process_id = c.process_id
LEFT JOIN passing_threads r ON r.thread_id = n.thread_id
WHERE k.ts_ns <= c.at_ns AND c.end_ns <= n.answer_ns AND p.process_id IS NULL
