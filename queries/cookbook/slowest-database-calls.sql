-- Question: Which calls to databases are slowest, and who makes them?
-- Assumes: a database is known by its port. Its protocol need not be understood: what is sent until the answer is over counts as one call.
-- Can get wrong: a database on another port is missed (give $port); something else on such a port is taken for one. A driver that
--   sends several statements at once makes one call of them, and a transaction is not seen at all.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only calls of this service
--   $port INTEGER = the usual ports of databases: only calls to this port
--   $limit INTEGER = 20: at most so many rows
WITH known(port, database) AS (
  VALUES (5432, 'PostgreSQL'), (6432, 'PgBouncer'), (3306, 'MySQL'), (1433, 'SQL Server'), (1521, 'Oracle'), (27017, 'MongoDB'), (6379, 'Redis'), (11211, 'Memcached'),
    (9042, 'Cassandra'), (9200, 'Elasticsearch'), (8123, 'ClickHouse'), (9000, 'ClickHouse'), (5984, 'CouchDB'), (26257, 'CockroachDB'), (4000, 'TiDB')
), calls AS (
  SELECT s.*, coalesce(known.database, 'port ' || s.server_port) AS database
  FROM spans AS s
  LEFT JOIN known ON known.port = s.server_port
  WHERE kind = 'client' AND span_name <> 'connect'
    AND CASE WHEN $port::INTEGER IS NULL THEN known.port IS NOT NULL ELSE s.server_port = $port::INTEGER END
    AND start_time >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND start_time < coalesce($end::TIMESTAMP_NS, '2262-01-01')
    AND ($service::VARCHAR IS NULL OR service_name = $service::VARCHAR)
)
SELECT service_name AS caller, database, server_address || ':' || server_port AS server, count(*) AS calls, count(*) FILTER (status = 'error') AS errors,
  round(quantile_cont(duration_ns, 0.5) / 1e6, 3) AS p50_ms, round(quantile_cont(duration_ns, 0.95) / 1e6, 3) AS p95_ms, round(max(duration_ns) / 1e6, 3) AS max_ms,
  round(sum(duration_ns) / 1e6, 3) AS total_ms, arg_max(trace_id, duration_ns) AS slowest_trace_id
FROM calls
GROUP BY caller, database, server
ORDER BY p95_ms DESC, calls DESC, caller, server
LIMIT coalesce($limit::BIGINT, 20)
