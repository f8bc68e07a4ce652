-- Question:  which request and which response belong together, at each end of each connection?
-- Input:     messages; closes (run_id, socket_id, by_process, close_ns), of a socket up to two: closed by its process, and gone in the kernel;
--            run_ends (run_id, node, run_end_ns), of runs that have ended; limits (cut_ns, open_limit_ns, quiet_limit_ns, reset_limit_ns, ...), one row
-- Assumes:   HTTP/1 answers in order, so the parser's exchange_no pairs them; bytes that nobody understood are answered before the
--            next ones are sent, and their answer is over when nothing came for the quiet limit. A server whose client has reset the
--            connection works on until it closes it too.
-- Known false matches: a server that speaks first, or unasked, in a protocol that is not understood, seems to answer the request before.
-- Local to a node.

-- @name told_requests @within
-- Only what the steps ask for: other texts stay with the messages, and come in when a span is stored. Some rows stood for a request while it was open.
-- span_id is arithmetic on (connection, position of the request's first byte, kind): either end computes the other's.
SELECT
  q.run_id AS run_id, q.node AS node, q.socket_id AS socket_id, q.exchange_no AS exchange_no, q.kind AS kind, q.protocol AS protocol,
  q.role = 'server' AS is_server,
  ((q.conn % 2147483629 * 1103515245 + q.place % 1000000007 * 69069 + CASE WHEN q.kind = 'connect' THEN 31337 WHEN q.role = 'server' THEN 7919 ELSE 104729 END) % 2147483647) * 4294967296
    + (q.conn % 4294967291 * 1073741789 + q.place % 2147483629 * 1073741827 + CASE WHEN q.kind = 'connect' THEN 27644437 WHEN q.role = 'server' THEN 1299709 ELSE 15485863 END) % 4294967291 AS span_id,
  ((q.conn % 2147483629 * 1103515245 + q.place % 1000000007 * 69069 + CASE WHEN q.kind = 'connect' THEN 24593 WHEN q.role = 'server' THEN 104729 ELSE 7919 END) % 2147483647) * 4294967296
    + (q.conn % 4294967291 * 1073741789 + q.place % 2147483629 * 1073741827 + CASE WHEN q.kind = 'connect' THEN 49979687 WHEN q.role = 'server' THEN 15485863 ELSE 1299709 END) % 4294967291 AS peer_span_id,
  q.process_id AS process_id, q.first_thread_id AS first_thread_id, q.last_thread_id AS last_thread_id,
  q.ts_ns AS ts_ns, q.end_ts_ns AS request_end_ns, q.end_reason AS request_end_reason, q.partial AS request_open,
  q.connect_ts_ns AS connect_ts_ns, q.connect_thread_id AS connect_thread_id, q.task_id AS task_id, q.parent_task_id AS parent_task_id,
  q.first_turn AS first_turn, q.connect_turn AS connect_turn, q.remote_ip AS remote_ip, q.remote_port AS remote_port,
  q.complete AND NOT q.partial AS request_complete, q.apply_no AS apply_no
FROM (
  SELECT m.*, coalesce(m.conn_id, m.socket_id) AS conn, CASE WHEN m.kind = 'connect' THEN m.ts_ns ELSE m.stream_offset END AS place
  FROM messages m
  WHERE m.role IS NOT NULL AND (m.kind = 'request' OR (m.kind = 'connect' AND NOT m.partial))
) q

-- @name outdated @inline
-- Of a request that was open when it was told: the finished row is there, or a newer one.
SELECT p.run_id AS run_id, p.socket_id AS socket_id, p.exchange_no AS exchange_no, p.apply_no AS apply_no
FROM told_requests p
JOIN told_requests n ON n.socket_id = p.socket_id AND n.exchange_no = p.exchange_no AND n.run_id = p.run_id
WHERE p.request_open AND n.kind = 'request' AND (NOT n.request_open OR n.apply_no > p.apply_no)

-- @name requests @inline
SELECT w.* FROM told_requests w WHERE NOT w.request_open
UNION ALL
SELECT o.*
FROM told_requests o
LEFT JOIN outdated d ON d.socket_id = o.socket_id AND d.exchange_no = o.exchange_no AND d.run_id = o.run_id AND d.apply_no = o.apply_no
WHERE o.request_open AND d.socket_id IS NULL

-- @name seen_twice @inline
-- The same socket watched by two collectors at once: the earlier one's rows count.
SELECT r.span_id AS span_id, min(r.run_id) AS run_id
FROM requests r
GROUP BY r.span_id
HAVING min(r.run_id) <> max(r.run_id)

-- @name own_requests @within
SELECT q.*
FROM requests q
LEFT JOIN seen_twice t ON t.span_id = q.span_id
WHERE t.span_id IS NULL OR t.run_id = q.run_id

-- @name responses @within
SELECT
  a.run_id AS run_id, a.socket_id AS socket_id, a.exchange_no AS exchange_no, 'request' AS answers,
  min(a.ts_ns) AS answer_ns,
  max(CASE WHEN a.partial THEN NULL ELSE a.end_ts_ns END) AS answer_end_ns,
  max(CASE WHEN a.partial THEN NULL ELSE a.end_reason END) AS answer_end_reason,
  max(CASE WHEN a.partial THEN NULL ELSE a.first_thread_id END) AS answer_first_thread_id,
  max(CASE WHEN a.partial THEN NULL ELSE a.last_thread_id END) AS answer_thread_id,
  max(CASE WHEN a.partial OR NOT a.complete THEN 0 ELSE 1 END) AS answer_whole,
  max(CASE WHEN a.partial THEN NULL ELSE a.last_turn END) AS answer_turn,
  max(CASE WHEN a.partial THEN NULL ELSE a.task_id END) AS answer_task_id,
  max(a.end_ts_ns) AS answer_seen_ns,
  max(a.status) AS answer_status, max(a.errno) AS answer_errno, max(a.end_offset - a.stream_offset) AS answer_bytes,
  coalesce(max(CASE WHEN a.partial THEN NULL WHEN a.complete THEN 1 ELSE 0 END), min(CASE WHEN a.complete THEN 1 ELSE 0 END)) AS answer_complete
FROM messages a
WHERE a.kind = 'response' AND a.exchange_no >= 0
GROUP BY a.run_id, a.socket_id, a.exchange_no

-- @name unanswered @within
SELECT q.span_id AS span_id, q.run_id AS run_id, q.socket_id AS socket_id, q.exchange_no AS exchange_no
FROM own_requests q
LEFT JOIN responses a ON a.socket_id = q.socket_id AND a.exchange_no = q.exchange_no AND a.run_id = q.run_id
WHERE q.kind = 'request' AND (a.answer_ns IS NULL OR (q.protocol IS NOT NULL AND a.answer_end_ns IS NULL))

-- @name overtaken @inline
-- A later request on the socket was answered: this one's answer was lost.
SELECT p.span_id AS span_id, min(n.ts_ns) AS next_ns
FROM unanswered p
JOIN own_requests n ON n.socket_id = p.socket_id AND n.run_id = p.run_id AND n.exchange_no > p.exchange_no
JOIN responses a ON a.socket_id = n.socket_id AND a.exchange_no = n.exchange_no AND a.run_id = n.run_id
WHERE n.kind = 'request'
GROUP BY p.span_id

-- @name exchanges
-- Without a response an exchange ends when the next one on its socket is answered, when the socket closes, or when watching ends. A server
-- that was reset goes on until it closes, or for as long as the limit says: not every close is seen.
-- What is open for longer than the limit is given up, whatever may still come.
SELECT
  e.run_id AS run_id, e.node AS node, e.socket_id AS socket_id, e.exchange_no AS exchange_no, e.kind AS kind, e.protocol AS protocol,
  e.is_server AS is_server, e.span_id AS span_id, e.peer_span_id AS peer_span_id, e.process_id AS process_id,
  e.first_thread_id AS first_thread_id, e.last_thread_id AS last_thread_id, e.ts_ns AS ts_ns, e.request_end_ns AS request_end_ns, e.request_open AS request_open,
  NOT e.request_open AND e.protocol IS NOT NULL AND e.request_end_reason IN ('length', 'chunked', 'no_body') AS request_whole,
  e.connect_ts_ns AS connect_ts_ns, e.connect_thread_id AS connect_thread_id, e.task_id AS task_id, e.parent_task_id AS parent_task_id,
  e.first_turn AS first_turn, e.connect_turn AS connect_turn, e.remote_ip AS remote_ip, e.remote_port AS remote_port, e.request_complete AS request_complete, e.apply_no AS apply_no, e.answer_ns AS answer_ns,
  -- When the server was done with it. Of bytes that nobody understood only the first of the answer is known to belong to it. An answer whose
  -- end is not known (its head was longer than what is captured) has ended with what was written last.
  CASE
    WHEN e.answer_ns IS NOT NULL AND e.protocol IS NULL THEN e.answer_ns
    WHEN e.answer_ns IS NOT NULL AND e.answer_end_ns IS NULL THEN e.answer_seen_ns
    WHEN e.answer_end_ns IS NOT NULL AND e.answer_end_reason = 'close' AND e.answer_whole = 1 AND e.close_ns > e.answer_end_ns THEN e.close_ns
    WHEN e.end_ns > e.given_up_ns THEN e.given_up_ns
    ELSE e.end_ns
  END AS free_ns,
  CASE WHEN e.end_ns > e.given_up_ns THEN e.given_up_ns ELSE e.end_ns END AS end_ns,
  CASE WHEN e.end_ns > e.given_up_ns THEN 'open' ELSE e.end_reason END AS end_reason,
  e.kind = 'request' AND (e.answer_end_ns IS NOT NULL OR e.end_reason = 'quiet') AND e.end_ns <= e.given_up_ns AS answered,
  e.answer_status AS answer_status, e.answer_errno AS answer_errno, e.answer_bytes AS answer_bytes, e.answer_complete AS answer_complete,
  e.answer_first_thread_id AS answer_first_thread_id, e.answer_thread_id AS answer_thread_id, e.answer_turn AS answer_turn, e.answer_task_id AS answer_task_id,
  e.answer_end_ns IS NOT NULL AS answer_ended
FROM (
  SELECT
    p.*, a.answer_ns AS answer_ns, a.answer_end_ns AS answer_end_ns, a.answer_end_reason AS answer_end_reason, a.answer_whole AS answer_whole, a.answer_seen_ns AS answer_seen_ns, a.answer_first_thread_id AS answer_first_thread_id, a.answer_thread_id AS answer_thread_id,
    a.answer_turn AS answer_turn, a.answer_task_id AS answer_task_id,
    a.answer_status AS answer_status, a.answer_errno AS answer_errno, a.answer_bytes AS answer_bytes, a.answer_complete AS answer_complete,
    CASE WHEN g.close_ns IS NULL OR c.close_ns < g.close_ns THEN c.close_ns ELSE g.close_ns END AS close_ns, p.ts_ns + l.open_limit_ns AS given_up_ns,
    CASE
      WHEN p.kind = 'connect' THEN p.request_end_ns
      WHEN a.answer_end_ns IS NOT NULL THEN a.answer_end_ns
      WHEN p.protocol IS NULL AND a.answer_seen_ns + l.quiet_limit_ns <= l.cut_ns THEN a.answer_seen_ns
      WHEN n.next_ns IS NOT NULL THEN CASE WHEN n.next_ns < p.request_end_ns THEN p.request_end_ns ELSE n.next_ns END
      WHEN c.close_ns IS NOT NULL AND (g.close_ns IS NULL OR c.close_ns < g.close_ns OR (p.is_server AND c.close_ns <= g.close_ns + l.reset_limit_ns)) THEN CASE WHEN c.close_ns < p.request_end_ns THEN p.request_end_ns ELSE c.close_ns END
      WHEN g.close_ns IS NOT NULL AND p.is_server AND (r.run_end_ns IS NULL OR r.run_end_ns > g.close_ns + l.reset_limit_ns) THEN g.close_ns + l.reset_limit_ns
      WHEN g.close_ns IS NOT NULL AND NOT p.is_server THEN CASE WHEN g.close_ns < p.request_end_ns THEN p.request_end_ns ELSE g.close_ns END
      WHEN r.run_end_ns IS NOT NULL THEN CASE WHEN r.run_end_ns < p.request_end_ns THEN p.request_end_ns ELSE r.run_end_ns END
      WHEN p.ts_ns + l.open_limit_ns <= l.cut_ns THEN p.ts_ns + l.open_limit_ns
      ELSE NULL
    END AS end_ns,
    CASE
      WHEN p.kind = 'connect' THEN p.request_end_reason
      WHEN a.answer_end_ns IS NOT NULL THEN a.answer_end_reason
      WHEN p.protocol IS NULL AND a.answer_seen_ns + l.quiet_limit_ns <= l.cut_ns THEN 'quiet'
      WHEN n.next_ns IS NOT NULL THEN 'gap'
      WHEN c.close_ns IS NOT NULL OR g.close_ns IS NOT NULL THEN 'close'
      WHEN r.run_end_ns IS NOT NULL THEN 'stop'
      ELSE 'open'
    END AS end_reason
  FROM own_requests p
  LEFT JOIN responses a ON a.socket_id = p.socket_id AND a.exchange_no = p.exchange_no AND a.run_id = p.run_id AND a.answers = p.kind
  LEFT JOIN closes c ON c.socket_id = p.socket_id AND c.run_id = p.run_id AND c.by_process
  LEFT JOIN closes g ON g.socket_id = p.socket_id AND g.run_id = p.run_id AND NOT g.by_process
  LEFT JOIN run_ends r ON r.run_id = p.run_id AND r.node = p.node
  LEFT JOIN overtaken n ON n.span_id = p.span_id
  CROSS JOIN limits l
) e
