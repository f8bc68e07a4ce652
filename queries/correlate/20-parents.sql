-- Question:  which request, still unanswered, was the thread working on that made this call?
-- Input:     exchanges
-- Assumes:   a thread that has read a request and makes a call before that request is answered makes it for that request.
--            This is so for a thread or process per connection, and for any worker that handles one request at a time.
-- Known false matches: an event loop, or a thread that reads for others, holds several unanswered requests: there, more than one
--            candidate stands, each with score 1/n, and below the threshold no parent is chosen. A program that makes calls of its
--            own accord on a thread that happens to hold one request is linked to that request.
-- Local to a node.

-- @name candidates
-- tier 1: no byte of the answer was written yet; tier 2: the answer had begun (a proxy that streams)
SELECT
  k.span_id AS span_id,
  s.span_id AS candidate_span_id,
  CASE WHEN s.answer_ns IS NULL OR s.answer_ns > k.call_ns THEN 1 ELSE 2 END AS tier,
  k.call_ns AS call_ns,
  s.ts_ns AS read_ns
FROM exchanges k
JOIN exchanges s
  ON s.is_server AND NOT k.is_server
 AND s.process_id = k.process_id
 AND s.first_thread_id = k.call_thread_id
 AND s.ts_ns <= k.call_ns
 AND (s.answer_end_ns IS NULL OR NOT s.answered OR s.answer_end_ns > k.call_ns)
 AND (s.end_ns IS NULL OR s.end_ns > k.call_ns)

-- @name ranked_candidates
SELECT
  c.*,
  CAST(count(*) OVER (PARTITION BY c.span_id, c.tier) AS BIGINT) AS equals,
  CAST(count(*) OVER (PARTITION BY c.span_id) AS BIGINT) AS total,
  CAST(min(c.tier) OVER (PARTITION BY c.span_id) AS BIGINT) AS best_tier
FROM candidates c

-- @name claims
SELECT
  r.span_id AS span_id,
  r.candidate_span_id AS candidate_span_id,
  'thread' AS evidence,
  CASE WHEN r.tier = r.best_tier THEN CAST(1.0 AS DOUBLE) / r.equals ELSE CAST(0.0 AS DOUBLE) END AS score,
  r.tier = r.best_tier AND r.equals = 1 AS chosen,
  r.total AS total
FROM ranked_candidates r
