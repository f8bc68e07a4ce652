-- Question: Which calls cannot be laid to one request for sure, by what evidence, and who else might have caused them?
-- Assumes: parent_confidence is how often such evidence is right. A call without a parent that has candidates is undecided: nothing spoke
--   clearly for one of them.
-- Can get wrong: confidence is about kinds of evidence, not about this call; evidence_precision tells how right each kind was here, where headers prove it.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only calls of this service
--   $below DOUBLE = 0.9: confidence under which a link counts as uncertain
--   $limit INTEGER = 20: at most so many rows
WITH others AS (
  -- One candidate may have several kinds of evidence: a row each, of which one is chosen.
  SELECT l.span_id, count(DISTINCT l.candidate_span_id) AS rejected, max(l.score) AS best_rejected
  FROM span_links AS l
  ANTI JOIN (FROM span_links WHERE chosen) AS c ON c.span_id = l.span_id AND c.candidate_span_id = l.candidate_span_id
  GROUP BY l.span_id
), uncertain AS (
  SELECT s.trace_id, s.span_id, s.service_name, coalesce(s.parent_evidence, 'undecided') AS evidence, s.parent_confidence, coalesce(o.rejected, 0) AS rejected, o.best_rejected
  FROM spans AS s
  LEFT JOIN others AS o ON o.span_id = s.span_id
  WHERE s.kind = 'client'
    AND (s.parent_confidence < coalesce($below::DOUBLE, 0.9) OR (s.parent_span_id IS NULL AND o.rejected > 0))
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
)
SELECT service_name AS service, evidence, count(*) AS calls, round(avg(parent_confidence), 3) AS mean_confidence, round(min(parent_confidence), 3) AS least_confidence,
  round(avg(rejected), 2) AS mean_rejected, round(max(best_rejected), 3) AS best_rejected_score, arg_min(trace_id, coalesce(parent_confidence, 0)) AS example_trace_id,
  arg_min(span_id, coalesce(parent_confidence, 0)) AS example_span_id
FROM uncertain
GROUP BY service, evidence
ORDER BY calls DESC, service, evidence
LIMIT coalesce($limit::BIGINT, 20)
