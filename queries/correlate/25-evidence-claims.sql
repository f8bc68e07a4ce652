-- Question:  which candidates does the evidence name, whatever its kind?
-- Input:     the claims of every kind: (span_id, candidate_span_id, evidence, score, at_connect, doubt); evidence_off
-- Assumes:   nothing of its own.
-- Known false matches: those of the evidence.
-- Local to a node.

-- @name evidence_claims
-- Kinds of evidence may be switched off, to see what each contributes.
SELECT c.span_id AS span_id, c.candidate_span_id AS candidate_span_id, c.evidence AS evidence, c.score AS score, c.at_connect AS at_connect, c.doubt AS doubt
FROM (
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt FROM thread_claims t
  UNION ALL
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt FROM header_claims t
  UNION ALL
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt FROM task_claims t
  UNION ALL
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt FROM responder_claims t
  UNION ALL
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt FROM birth_claims t
  UNION ALL
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt FROM hand_back_claims t
  UNION ALL
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt FROM turn_claims t
  UNION ALL
  SELECT t.span_id AS span_id, t.candidate_span_id AS candidate_span_id, t.evidence AS evidence, t.score AS score, t.at_connect AS at_connect, t.doubt AS doubt FROM slot_claims t
) c
LEFT JOIN evidence_off x ON x.evidence = c.evidence
WHERE x.evidence IS NULL
