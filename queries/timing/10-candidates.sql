-- Question:  which requests may have caused each call, by time alone?
-- Input:     timing_calls (call_id, service, process, callee, operation, start_tick, end_tick), timing_requests (request_id, service,
--            process, operation, start_tick, end_tick, caller_id: the call that sent it), timing_allowed (call_id, request_id, evidence): for calls that have rows there,
--            only those requests, with what else speaks for them
-- Assumes:   a request is worked on by one process, and its calls start after it was read and before it is answered.
-- Known false matches: all requests that are open at the same time; the resolver weighs them.
-- Local to a process.

-- @name numbered_requests
-- In order of start, each service from 0.
SELECT
  r.request_id AS request_id, r.service AS service, r.process AS process, r.operation AS operation, r.start_tick AS start_tick, r.end_tick AS end_tick, r.caller_id AS caller_id,
  CAST(row_number() OVER (PARTITION BY r.service ORDER BY r.start_tick, r.request_id) - 1 AS INTEGER) AS request_no
FROM timing_requests r

-- @name numbered_calls
SELECT
  c.call_id AS call_id, c.service AS service, c.process AS process, c.callee AS callee, c.operation AS operation, c.start_tick AS start_tick, c.end_tick AS end_tick,
  CAST(row_number() OVER (PARTITION BY c.service ORDER BY c.start_tick, c.call_id) - 1 AS INTEGER) AS call_no
FROM timing_calls c

-- @name candidates
-- The newest first: when there are too many, the oldest are dropped.
SELECT
  c.service AS service, c.call_no AS call_no, r.request_no AS request_no, CAST(0 AS DOUBLE) AS evidence
FROM numbered_calls c
JOIN numbered_requests r ON r.service = c.service AND r.process = c.process AND r.start_tick <= c.start_tick AND r.end_tick >= c.start_tick
LEFT JOIN (SELECT DISTINCT a.call_id AS call_id FROM timing_allowed a) k ON k.call_id = c.call_id
WHERE k.call_id IS NULL
UNION ALL
SELECT c.service AS service, c.call_no AS call_no, r.request_no AS request_no, a.evidence AS evidence
FROM timing_allowed a
JOIN numbered_calls c ON c.call_id = a.call_id
JOIN numbered_requests r ON r.request_id = a.request_id AND r.service = c.service
