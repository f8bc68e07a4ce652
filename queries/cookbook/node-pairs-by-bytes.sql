-- Question: Which pairs of nodes exchange the most bytes?
-- Assumes: a connection has the same conn_id at both ends; where one end is not traced, its address stands for its node. What the client
--   wrote is what the server read, so that one end's account is enough.
-- Can get wrong: bytes of lost events are missing, and so are those that TCP sent twice. Behind NAT, many machines share an address.
-- Parameters:
--   $start TIMESTAMP = the beginning of what is stored: only what was moved at or after it, UTC
--   $end TIMESTAMP = the end of what is stored: only what was moved before it, UTC
--   $within BOOLEAN = false: also what stays on its node
--   $limit INTEGER = 50: at most so many rows
WITH ends AS (
  SELECT conn_id, role, max(node) AS node, max(remote_ip) AS remote_ip, sum(bytes) FILTER (op = 'write') AS written, sum(bytes) FILTER (op = 'read') AS read
  FROM socket_events
  WHERE op IN ('read', 'write') AND layer = 'socket' AND conn_id IS NOT NULL AND role IS NOT NULL
    AND ts >= coalesce($start::TIMESTAMP_NS, '1970-01-01') AND ts < coalesce($end::TIMESTAMP_NS, '2262-01-01')
  GROUP BY conn_id, role
), connections AS (
  SELECT coalesce(client.node, server.remote_ip) AS client_node, coalesce(server.node, client.remote_ip) AS server_node,
    greatest(coalesce(client.written, 0), coalesce(server.read, 0)) AS to_server, greatest(coalesce(client.read, 0), coalesce(server.written, 0)) AS to_client
  FROM (SELECT * FROM ends WHERE role = 'client') AS client
  FULL JOIN (SELECT * FROM ends WHERE role = 'server') AS server ON server.conn_id = client.conn_id
)
SELECT client_node, server_node, count(*) AS connections, CAST(sum(to_server) AS BIGINT) AS bytes_to_server, CAST(sum(to_client) AS BIGINT) AS bytes_to_client
FROM connections
WHERE client_node <> server_node OR coalesce($within::BOOLEAN, false)
GROUP BY client_node, server_node
ORDER BY sum(to_server + to_client) DESC, client_node, server_node
LIMIT coalesce($limit::BIGINT, 50)
