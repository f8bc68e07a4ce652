-- DuckDB's own form of one step of ../20-thread-claims.sql, with the same rows: two ASOF joins instead of a window over a union.

-- @needs numbered_holds

-- @name moment_counts
SELECT m.span_id AS span_id, m.at_connect AS at_connect, m.thread_id AS thread_id, m.at_ns AS at_ns, t.place AS taken, coalesce(g.let_go, 0) AS let_go
FROM call_moments m
ASOF JOIN (
  SELECT h.thread_id AS thread_id, h.from_ns AS from_ns, max(h.place) AS place FROM numbered_holds h GROUP BY h.thread_id, h.from_ns
) t ON t.thread_id = m.thread_id AND t.from_ns <= m.at_ns
ASOF LEFT JOIN (
  SELECT h.thread_id AS thread_id, h.to_ns AS to_ns, CAST(row_number() OVER (PARTITION BY h.thread_id ORDER BY h.to_ns, h.span_id) AS BIGINT) AS let_go FROM numbered_holds h
) g ON g.thread_id = m.thread_id AND g.to_ns <= m.at_ns
WHERE t.place > coalesce(g.let_go, 0)
