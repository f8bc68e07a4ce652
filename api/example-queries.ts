// Questions to start from, shown by GET /api/v1/schema. Each runs as it stands.
export interface ExampleQuery {
  readonly title: string;
  readonly sql: string;
}

export const EXAMPLE_QUERIES: readonly ExampleQuery[] = [
  {
    title: 'The slowest traces of the last hour',
    sql: `SELECT trace_id, root_service, root_name, duration_ns / 1e6 AS ms, span_count
FROM traces
WHERE start_time > (now() AT TIME ZONE 'UTC') - INTERVAL 1 HOUR
ORDER BY duration_ns DESC
LIMIT 20`,
  },
  {
    title: 'Requests, errors and latency of each operation',
    sql: `SELECT service_name, span_name, count(*) AS requests, count(*) FILTER (WHERE status = 'error') AS errors,
       quantile_cont(duration_ns, 0.5) / 1e6 AS p50_ms, quantile_cont(duration_ns, 0.99) / 1e6 AS p99_ms
FROM spans
WHERE kind = 'server'
GROUP BY ALL
ORDER BY requests DESC`,
  },
  {
    title: 'Who calls whom',
    sql: `SELECT client.service_name AS client, coalesce(server.service_name, client.server_address) AS server, count(*) AS calls, avg(client.duration_ns) / 1e6 AS mean_ms
FROM spans AS client
LEFT JOIN spans AS server ON server.parent_span_id = client.span_id
WHERE client.kind = 'client'
GROUP BY ALL
ORDER BY calls DESC`,
  },
  {
    title: 'Calls whose parent is not certain, and who may have made them',
    sql: `SELECT s.trace_id, s.span_id, s.service_name, s.span_name, l.candidate_span_id, l.evidence, l.score
FROM spans AS s
JOIN span_links AS l ON l.span_id = s.span_id
WHERE s.parent_span_id IS NULL AND s.kind = 'client' AND NOT l.chosen
ORDER BY s.start_time DESC, l.score DESC
LIMIT 50`,
  },
  {
    title: 'What was lost, and why',
    sql: `SELECT cause, count(*) AS times, sum(events_lost)::BIGINT AS events_lost, min(from_ts) AS first, max(to_ts) AS last
FROM losses
GROUP BY cause
ORDER BY events_lost DESC NULLS LAST`,
  },
  {
    title: 'Threads by what they moved over sockets',
    sql: `SELECT comm, op, count(*) AS calls, sum(bytes)::BIGINT AS bytes
FROM socket_events
WHERE op IN ('read', 'write')
GROUP BY ALL
ORDER BY bytes DESC
LIMIT 20`,
  },
];
