-- Question: Who talks to whom across network namespaces?
-- Assumes: both ends are traced; a connection has the same conn_id at both, whatever lies between. Containers and pods have a network
--   namespace each; its number means something on its node only.
-- Can get wrong: containers that share the host's network are not told apart. A process that moved to another namespace after
--   its start is shown where it was first.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what began at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what began before it, UTC
--   $service VARCHAR = all: only connections with this service at one of their ends
--   $limit INTEGER = 50: at most so many rows
WITH ends AS (
  SELECT s.conn_id, s.role, s.node, p.netns, p.service_name, s.bytes_read, s.bytes_written
  FROM sockets AS s
  JOIN processes AS p ON p.process_id = s.process_id
  WHERE s.conn_id IS NOT NULL
    AND coalesce(s.opened_at, '1970-01-01') >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND coalesce(s.opened_at, '1970-01-01') < coalesce($end::TIMESTAMP_NS, '2262-01-01')
)
SELECT client.node AS client_node, client.netns AS client_netns, client.service_name AS client, server.node AS server_node, server.netns AS server_netns,
  server.service_name AS server, count(*) AS connections, CAST(sum(client.bytes_written) AS BIGINT) AS bytes_to_server, CAST(sum(client.bytes_read) AS BIGINT) AS bytes_to_client
FROM ends AS client
JOIN ends AS server ON server.conn_id = client.conn_id AND server.role = 'server'
WHERE client.role = 'client' AND (client.node <> server.node OR client.netns <> server.netns)
  AND ($service::VARCHAR IS NULL OR client.service_name = $service::VARCHAR OR server.service_name = $service::VARCHAR)
GROUP BY ALL
ORDER BY connections DESC, client, server, client_netns, server_netns
LIMIT coalesce($limit::BIGINT, 50)
