-- Question:  which request and which response belong together, at each end of each connection?
-- Input:     messages (the working set), closes (run_id, socket_id, close_ns), runs (run_id, run_end_ns, null while it lives)
-- Assumes:   HTTP/1 answers in order, so the parser's exchange_no pairs them; other protocols answer before the next request.
-- Known false matches: a server that pushes without being asked looks as if it answered the previous request.
-- Local to a node.

-- @name current_messages
-- The finished row of a message replaces the partial ones that stood for it while it was open; of those, the newest counts.
-- Only what the steps need: the texts are joined again when a span is stored.
SELECT
  m.run_id AS run_id, m.socket_id AS socket_id, m.kind AS kind, m.role AS role, m.exchange_no AS exchange_no, m.apply_no AS apply_no,
  m.partial AS partial, m.node AS node, m.process_id AS process_id, m.conn_id AS conn_id, m.protocol AS protocol, m.ts_ns AS ts_ns,
  m.end_ts_ns AS end_ts_ns, m.stream_offset AS stream_offset, m.end_offset AS end_offset, m.first_thread_id AS first_thread_id, m.connect_ts_ns AS connect_ts_ns, m.connect_thread_id AS connect_thread_id,
  m.status AS status, m.errno AS errno, m.end_reason AS end_reason, m.complete AS complete
FROM messages m
WHERE NOT m.partial
UNION ALL
SELECT
  m.run_id AS run_id, m.socket_id AS socket_id, m.kind AS kind, m.role AS role, m.exchange_no AS exchange_no, m.apply_no AS apply_no,
  m.partial AS partial, m.node AS node, m.process_id AS process_id, m.conn_id AS conn_id, m.protocol AS protocol, m.ts_ns AS ts_ns,
  m.end_ts_ns AS end_ts_ns, m.stream_offset AS stream_offset, m.end_offset AS end_offset, m.first_thread_id AS first_thread_id, m.connect_ts_ns AS connect_ts_ns, m.connect_thread_id AS connect_thread_id,
  m.status AS status, m.errno AS errno, m.end_reason AS end_reason, m.complete AS complete
FROM messages m
JOIN (
  SELECT b.run_id AS run_id, b.socket_id AS socket_id, b.kind AS kind, b.exchange_no AS exchange_no, max(b.apply_no) AS newest
  FROM messages b
  WHERE b.partial
  GROUP BY b.run_id, b.socket_id, b.kind, b.exchange_no
) n ON n.run_id = m.run_id AND n.socket_id = m.socket_id AND n.kind = m.kind AND n.exchange_no = m.exchange_no AND n.newest = m.apply_no
LEFT JOIN messages f ON f.run_id = m.run_id AND f.socket_id = m.socket_id AND f.kind = m.kind AND f.exchange_no = m.exchange_no AND NOT f.partial
WHERE m.partial AND f.socket_id IS NULL

-- @name pairs
-- span_id is arithmetic on (connection, position of the request's first byte, kind): either end computes the other's.
SELECT
  q.run_id AS run_id, q.socket_id AS socket_id, q.kind AS kind, q.role AS role, q.exchange_no AS exchange_no, q.apply_no AS apply_no,
  q.partial AS partial, q.node AS node, q.process_id AS process_id, q.conn_id AS conn_id, q.protocol AS protocol, q.ts_ns AS ts_ns,
  q.end_ts_ns AS end_ts_ns, q.stream_offset AS stream_offset, q.end_offset AS end_offset, q.first_thread_id AS first_thread_id, q.connect_ts_ns AS connect_ts_ns, q.connect_thread_id AS connect_thread_id,
  q.status AS status, q.errno AS errno, q.end_reason AS end_reason, q.complete AS complete,
  q.role = 'server' AS is_server,
  (((coalesce(q.conn_id, q.socket_id) % 2147483629) * 1103515245 + (q.stream_offset % 1000000007) * 69069 + CASE WHEN q.role = 'server' THEN 7919 ELSE 104729 END) % 2147483647) * 4294967296
    + ((coalesce(q.conn_id, q.socket_id) % 4294967291) * 1073741789 + (q.stream_offset % 2147483629) * 1073741827 + CASE WHEN q.role = 'server' THEN 1299709 ELSE 15485863 END) % 4294967291 AS span_id,
  (((coalesce(q.conn_id, q.socket_id) % 2147483629) * 1103515245 + (q.stream_offset % 1000000007) * 69069 + CASE WHEN q.role = 'server' THEN 104729 ELSE 7919 END) % 2147483647) * 4294967296
    + ((coalesce(q.conn_id, q.socket_id) % 4294967291) * 1073741789 + (q.stream_offset % 2147483629) * 1073741827 + CASE WHEN q.role = 'server' THEN 15485863 ELSE 1299709 END) % 4294967291 AS peer_span_id,
  -- a call on a fresh connection belongs to what its thread worked on when it connected
  CASE WHEN q.connect_ts_ns IS NULL THEN q.ts_ns ELSE q.connect_ts_ns END AS call_ns,
  CASE WHEN q.connect_ts_ns IS NULL THEN q.first_thread_id ELSE q.connect_thread_id END AS call_thread_id,
  a.ts_ns AS answer_ns,
  a.end_ts_ns AS answer_end_ns,
  a.status AS answer_status,
  a.end_reason AS answer_end_reason,
  a.complete AS answer_complete,
  a.errno AS answer_errno,
  a.end_offset - a.stream_offset AS answer_bytes,
  a.socket_id IS NOT NULL AND NOT a.partial AS answered,
  c.close_ns AS close_ns,
  r.run_end_ns AS run_end_ns
FROM current_messages q
LEFT JOIN current_messages a
  ON a.run_id = q.run_id AND a.socket_id = q.socket_id AND a.exchange_no = q.exchange_no AND a.kind = 'response'
LEFT JOIN closes c ON c.run_id = q.run_id AND c.socket_id = q.socket_id
LEFT JOIN runs r ON r.run_id = q.run_id
WHERE q.kind IN ('request', 'connect') AND q.role IS NOT NULL

-- @name exchanges
-- end_ns: the response's last byte; without one, when the socket closed, or when watching ended; null while it may still come.
SELECT
  p.*,
  CASE
    WHEN p.answered THEN p.answer_end_ns
    WHEN p.kind = 'connect' THEN p.end_ts_ns
    WHEN p.close_ns IS NOT NULL THEN CASE WHEN p.close_ns < p.call_ns THEN p.end_ts_ns ELSE p.close_ns END
    WHEN p.run_end_ns IS NOT NULL THEN CASE WHEN p.run_end_ns < p.end_ts_ns THEN p.end_ts_ns ELSE p.run_end_ns END
    ELSE NULL
  END AS end_ns
FROM pairs p
