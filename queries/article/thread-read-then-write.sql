-- Question: which request caused which, by what threads did with sockets alone?
-- Input:    socket_events and processes, as the kernel told them; nothing parsed.
-- Assumes:  a thread that has read a request from one socket, and writes to another while that request is unanswered, makes this call
--           for that request. One end sends, then the other: so what was sent before a read (other_offset) numbers the requests of a
--           connection, and both ends agree on conn_id and byte positions.
-- Known false matches: threads that work on several requests at once (event loops, pools that hand work over) show their latest one
--           here, right or wrong. What tracehouse makes of the same events knows better, and says when it does not: queries/correlate.
WITH requests AS (
  -- Read by a server: the bytes of a connection that arrived before the next answer went out.
  SELECT
    socket_id, conn_id, process_id, arg_min(thread_id, ts) AS thread_id, min(ts) AS read_ts,
    min(stream_offset) AS first_byte, max(stream_offset + bytes) AS read_to
  FROM socket_events
  WHERE role = 'server' AND op = 'read' AND bytes > 0
  GROUP BY socket_id, conn_id, process_id, other_offset
), answers AS (
  SELECT socket_id, other_offset AS read_to, max(ts) AS answered_ts
  FROM socket_events
  WHERE role = 'server' AND op = 'write' AND bytes > 0
  GROUP BY socket_id, other_offset
), held AS (
  SELECT requests.*, coalesce(answered_ts, 'infinity'::TIMESTAMP_NS) AS answered_ts FROM requests LEFT JOIN answers USING (socket_id, read_to)
), calls AS (
  -- Written by a client: likewise.
  SELECT conn_id, process_id, arg_min(thread_id, ts) AS thread_id, min(ts) AS write_ts, min(stream_offset) AS first_byte
  FROM socket_events
  WHERE role = 'client' AND op = 'write' AND bytes > 0
  GROUP BY socket_id, conn_id, process_id, other_offset
), caused AS (
  -- The join that is the idea: same thread, read before the write, not answered by then.
  SELECT cause.conn_id AS cause_conn_id, cause.first_byte AS cause_first_byte, cause.process_id, call.conn_id, call.first_byte, call.write_ts
  FROM calls AS call ASOF JOIN held AS cause ON cause.thread_id = call.thread_id AND cause.read_ts <= call.write_ts
  WHERE cause.answered_ts > call.write_ts
), names AS (
  SELECT process_id, any_value(service_name) AS service_name FROM processes GROUP BY process_id
)
-- The same bytes at the connection's other end are the request that this call arrived as.
SELECT caller.service_name AS caller, callee.service_name AS callee, count(*) AS calls, median(epoch_ns(effect.read_ts) - epoch_ns(caused.write_ts)) // 1000 AS median_us
FROM caused
JOIN requests AS effect ON effect.conn_id = caused.conn_id AND effect.first_byte = caused.first_byte
LEFT JOIN names AS caller ON caller.process_id = caused.process_id
LEFT JOIN names AS callee ON callee.process_id = effect.process_id
GROUP BY ALL
ORDER BY calls DESC, caller, callee
