// Messages by the million, made in SQL: a thread per connection, A -> B -> D and A -> C, kept-alive connections, 14 messages a request.
import type { DuckDBConnection } from '@duckdb/node-api';
import { START_NS } from './simulated-services.ts';

/** Spans of a request: place in the tree, caller's place (null = outside), offsets in us from the request's start. */
const SPANS = [
  { place: 0, role: 'server', conn: 0, from: 0, to: 900, thread: 0 },
  { place: 1, role: 'client', conn: 1, from: 100, to: 500, thread: 0 },
  { place: 2, role: 'server', conn: 1, from: 150, to: 450, thread: 1 },
  { place: 3, role: 'client', conn: 2, from: 200, to: 400, thread: 1 },
  { place: 4, role: 'server', conn: 2, from: 250, to: 350, thread: 2 },
  { place: 5, role: 'client', conn: 3, from: 600, to: 800, thread: 0 },
  { place: 6, role: 'server', conn: 3, from: 650, to: 750, thread: 3 },
] as const;
export const MESSAGES_A_REQUEST = SPANS.length * 2;

/** Requests `first` to `first + count - 1`, as a SELECT with the columns of stored.messages. Each of `chains` serves one request a millisecond. */
export function messagesSql(first: number, count: number, chains: number, apply_no = 1n): string {
  const spans = SPANS.map((s) => `(${s.place}, '${s.role}', ${s.conn}, ${s.from}, ${s.to}, ${s.thread})`).join(', ');
  const id = (expression: string): string => `CAST(hash(${expression}) >> 1 AS BIGINT)`;
  return `
    SELECT 'node-' || CAST(thread % 2 AS VARCHAR) AS node, 'boot' AS boot_id, CAST(1 AS BIGINT) AS run_id, CAST(${apply_no} AS BIGINT) AS apply_no,
      ts_ns, end_ts_ns, ts_ns AS mono_ns, ${id("chain * 64 + conn * 4 + CASE WHEN role = 'server' THEN 1 ELSE 2 END + 17")} AS socket_id, ${id('chain * 64 + conn * 4 + 1000003')} AS conn_id, CAST(NULL AS BIGINT) AS peer_socket_id,
      CAST(thread + 100 AS BIGINT) AS process_id, 100 + thread AS pid, role, CASE WHEN (role = 'server') = (kind = 'request') THEN 'in' ELSE 'out' END AS direction, kind, 'http' AS protocol, n AS exchange_no,
      n * 100 AS stream_offset, n * 100 + 100 AS end_offset, CAST(100 AS BIGINT) AS head_bytes, chain * 64 + thread + 1 AS first_thread_id, 1 AS first_tid, CAST(0 AS BIGINT) AS first_turn, chain * 64 + thread + 1 AS last_thread_id, 1 AS last_tid, CAST(0 AS BIGINT) AS last_turn,
      CAST(NULL AS BIGINT) AS task_id, CAST(NULL AS BIGINT) AS parent_task_id, 'worker' AS comm, 5 AS fd, CAST(1 AS BIGINT) AS cgroup_id, CAST(1 AS BIGINT) AS netns, '10.0.0.1' AS local_ip, 8000 AS local_port, '10.0.0.2' AS remote_ip, 40000 AS remote_port,
      CAST(NULL AS BIGINT) AS connect_ts_ns, CAST(NULL AS BIGINT) AS connect_thread_id, CAST(NULL AS BIGINT) AS connect_turn, CASE WHEN kind = 'request' THEN 'GET' END AS method, CASE WHEN kind = 'request' THEN '/orders/' || CAST(number AS VARCHAR) || '/items' END AS path,
      CASE WHEN kind = 'response' THEN 200 END AS status, 'shop' AS host, '1.1' AS http_version, CAST(100 AS BIGINT) AS content_length, CAST(NULL AS VARCHAR) AS traceparent, CAST(NULL AS VARCHAR) AS request_id, CAST(NULL AS INTEGER) AS errno,
      CASE WHEN kind = 'request' THEN 'no_body' ELSE 'length' END AS end_reason, TRUE AS complete, FALSE AS partial
    FROM (
      SELECT s.*, k.kind, number, chain, n, CASE WHEN k.kind = 'request' THEN start + s.from_us * 1000 ELSE start + s.to_us * 1000 - 2000 END AS ts_ns, CASE WHEN k.kind = 'request' THEN start + s.from_us * 1000 + 1000 ELSE start + s.to_us * 1000 END AS end_ts_ns
      FROM (SELECT range AS number, range % ${chains} AS chain, range // ${chains} AS n, ${START_NS} + range // ${chains} * 1000000 + range % ${chains} * 7 AS start FROM range(${first}, ${first + count})),
        (VALUES ${spans}) s(place, role, conn, from_us, to_us, thread), (VALUES ('request'), ('response')) k(kind)
    )`;
}

export async function createStored(connection: DuckDBConnection): Promise<void> {
  await connection.run(`CREATE SCHEMA IF NOT EXISTS stored; CREATE TABLE stored.messages AS ${messagesSql(0, 0, 1)}`);
}
