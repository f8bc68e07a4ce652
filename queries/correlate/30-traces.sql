-- Question:  which trace does each span belong to?
-- Input:     exchanges, claims (chosen ones), decided (span_id, parent_span_id, trace_hi, trace_lo of earlier cycles)
-- Assumes:   span ids are arithmetic on the connection's own id, so both ends agree without a join on addresses.
-- Known false matches: none known; two connections with equal initial sequence numbers at both ends would collide (2^-64).
-- Global: works on ids alone, whatever node they come from.

-- @name edges
-- A server span's parent is the client span at the connection's other end, where that end was seen; a client span's parent is
-- the server span that its thread worked on. What an earlier cycle has decided stays.
SELECT
  e.span_id AS span_id,
  e.is_server AS is_server,
  e.call_ns AS start_ns,
  CASE WHEN d.span_id IS NOT NULL THEN d.parent_span_id WHEN e.is_server THEN p.span_id ELSE c.candidate_span_id END AS parent_span_id,
  d.trace_hi AS known_hi,
  d.trace_lo AS known_lo
FROM exchanges e
LEFT JOIN decided d ON d.span_id = e.span_id
LEFT JOIN (SELECT x.span_id AS span_id FROM exchanges x WHERE NOT x.is_server UNION SELECT y.span_id AS span_id FROM decided y) p ON p.span_id = e.peer_span_id
LEFT JOIN claims c ON c.span_id = e.span_id AND c.chosen

-- @name heads
-- Each span points at its parent; a root, and one whose trace is known, points at itself.
SELECT
  e.span_id AS span_id,
  CASE WHEN e.known_lo IS NOT NULL OR e.parent_span_id IS NULL THEN e.span_id WHEN p.span_id IS NOT NULL THEN e.parent_span_id ELSE e.span_id END AS head,
  CASE WHEN e.known_lo IS NOT NULL THEN e.known_hi WHEN e.parent_span_id IS NULL THEN e.start_ns WHEN p.span_id IS NOT NULL THEN NULL WHEN d.span_id IS NOT NULL THEN d.trace_hi ELSE e.start_ns END AS hi,
  CASE WHEN e.known_lo IS NOT NULL THEN e.known_lo WHEN e.parent_span_id IS NULL THEN e.span_id WHEN p.span_id IS NOT NULL THEN NULL WHEN d.span_id IS NOT NULL THEN d.trace_lo ELSE e.span_id END AS lo
FROM edges e
LEFT JOIN edges p ON p.span_id = e.parent_span_id
LEFT JOIN decided d ON d.span_id = e.parent_span_id

-- @name heads @repeat
-- Pointer jumping: each round doubles the distance, until every span points at the head of its chain.
SELECT
  h.span_id AS span_id,
  n.head AS head,
  h.hi AS hi,
  h.lo AS lo
FROM heads h
JOIN heads n ON n.span_id = h.head

-- @name trace_ids
SELECT
  h.span_id AS span_id,
  r.hi AS trace_hi,
  r.lo AS trace_lo
FROM heads h
JOIN heads r ON r.span_id = h.head
