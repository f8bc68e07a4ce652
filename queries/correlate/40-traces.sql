-- Question:  which trace does each span belong to?
-- Input:     exchanges; undecided; limits (pool_limit_ns); links (chosen ones); decided_ends; decided (span_id, parent_span_id, trace_hi, trace_lo) of earlier cycles
-- Assumes:   span ids are arithmetic on the connection's own id, so both ends agree without a join on addresses.
-- Known false matches: two connections with equal initial sequence numbers at both ends would meet (2^-64).
-- Global: works on ids alone, whatever node they come from.

-- @name starts @within
-- A call begins with its connect, unless that was made ahead of need.
SELECT
  e.span_id AS span_id,
  CASE
    WHEN e.is_server OR e.connect_ts_ns IS NULL OR e.kind = 'connect' THEN e.ts_ns
    WHEN k.span_id IS NOT NULL AND k.at_connect THEN e.connect_ts_ns
    WHEN k.span_id IS NULL AND e.ts_ns - e.connect_ts_ns <= l.pool_limit_ns THEN e.connect_ts_ns
    ELSE e.ts_ns
  END AS start_ns
FROM exchanges e
JOIN undecided u ON u.span_id = e.span_id
LEFT JOIN links k ON k.span_id = e.span_id AND k.chosen
CROSS JOIN limits l

-- @name edges
-- A server span's parent is the client span at the connection's other end, where that end was seen; a client span's parent is the
-- server span that its evidence points at.
SELECT
  e.span_id AS span_id, s.start_ns AS start_ns,
  CASE WHEN NOT e.is_server THEN k.candidate_span_id WHEN p.span_id IS NOT NULL OR d.span_id IS NOT NULL THEN e.peer_span_id ELSE NULL END AS parent_span_id
FROM exchanges e
JOIN starts s ON s.span_id = e.span_id
LEFT JOIN links k ON k.span_id = e.span_id AND k.chosen
LEFT JOIN exchanges p ON p.span_id = e.peer_span_id
LEFT JOIN decided_ends d ON d.span_id = e.peer_span_id

-- @name heads
-- Each span points at its parent; a root, and one whose parent's trace is known, points at itself.
SELECT
  e.span_id AS span_id,
  CASE WHEN d.span_id IS NULL AND p.span_id IS NOT NULL THEN e.parent_span_id ELSE e.span_id END AS head,
  CASE WHEN d.span_id IS NOT NULL THEN d.trace_hi ELSE e.start_ns END AS trace_hi,
  CASE WHEN d.span_id IS NOT NULL THEN d.trace_lo ELSE e.span_id END AS trace_lo,
  w.span_id IS NULL AS ready,
  TRUE AS moved
FROM edges e
LEFT JOIN decided d ON d.span_id = e.parent_span_id
LEFT JOIN edges p ON p.span_id = e.parent_span_id
LEFT JOIN waiting_calls w ON w.span_id = e.span_id

-- @name heads @repeat
-- Pointer jumping: each round doubles the distance, until every span points at the head of its chain.
SELECT h.span_id AS span_id, n.head AS head, n.trace_hi AS trace_hi, n.trace_lo AS trace_lo, h.ready AND n.ready AS ready, n.head <> h.head OR (h.ready AND NOT n.ready) AS moved
FROM heads h
JOIN heads n ON n.span_id = h.head

-- @name decisions
-- What hangs on a call that has to wait waits with it.
SELECT e.span_id AS span_id, e.parent_span_id AS parent_span_id, e.start_ns AS start_ns, h.trace_hi AS trace_hi, h.trace_lo AS trace_lo
FROM edges e
JOIN heads h ON h.span_id = e.span_id
WHERE h.ready
