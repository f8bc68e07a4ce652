// A real warehouse whose public relations are filled by hand: every kind of span, link and loss that the API shows.
import { onTestFinished } from 'vitest';
import { Warehouse } from '../../ingest/warehouse.ts';
import { temporaryFolder } from './temporary-folder.ts';

export const NOW_NS = 1_790_000_000_000_000_000n;
const SECOND = 1_000_000_000n;

const hex16 = (value: bigint): string => value.toString(16).padStart(16, '0');
export const traceId = (n: number): string => hex16(NOW_NS - BigInt(n) * SECOND) + hex16(BigInt(n) * 16n + 1n);
export const spanId = (n: number, at: number): string => hex16(BigInt(n) * 16n + BigInt(at));
export const OLD_TRACE_ID = 'f'.repeat(32);
export const TRACES = 25;

const TABLES = `
CREATE TABLE live.f_traces (trace_id VARCHAR, root_service VARCHAR, root_name VARCHAR, start_time TIMESTAMP_NS, duration_ns BIGINT, span_count BIGINT, error_count BIGINT, services VARCHAR[], complete BOOLEAN);
CREATE TABLE live.f_spans (trace_id VARCHAR, span_id VARCHAR, parent_span_id VARCHAR, kind VARCHAR, service_name VARCHAR, span_name VARCHAR, start_time TIMESTAMP_NS, end_time TIMESTAMP_NS, duration_ns BIGINT, status VARCHAR,
  node VARCHAR, pid INTEGER, tid INTEGER, process_id BIGINT, thread_id BIGINT, comm VARCHAR, socket_id BIGINT, client_address VARCHAR, client_port INTEGER, server_address VARCHAR, server_port INTEGER,
  network_protocol_name VARCHAR, http_request_method VARCHAR, url_path VARCHAR, url_template VARCHAR, http_response_status_code INTEGER, bytes_in BIGINT, bytes_out BIGINT, attributes JSON,
  parent_evidence VARCHAR, parent_confidence DOUBLE, rule_version INTEGER, complete BOOLEAN);
CREATE TABLE live.f_span_links (span_id VARCHAR, candidate_span_id VARCHAR, evidence VARCHAR, score DOUBLE, chosen BOOLEAN, rule_version INTEGER, model_version INTEGER);
CREATE TABLE live.f_trace_aliases (old_trace_id VARCHAR, trace_id VARCHAR);
CREATE TABLE live.f_socket_events (node VARCHAR, boot_id VARCHAR, run_id BIGINT, ts TIMESTAMP_NS, mono_ns BIGINT, pid INTEGER, tid INTEGER, process_id BIGINT, thread_id BIGINT, comm VARCHAR, socket_id BIGINT, conn_id BIGINT, fd INTEGER, op VARCHAR, bytes BIGINT, stream_offset BIGINT, other_offset BIGINT, turn BIGINT, errno INTEGER);
CREATE TABLE live.f_losses (node VARCHAR, run_id BIGINT, cpu INTEGER, from_ts TIMESTAMP_NS, to_ts TIMESTAMP_NS, events_lost BIGINT, cause VARCHAR);
`;

/** Trace n: shop answers GET /orders/{id} by calling stock, which answers. 7 failed; 9's call has no parent that is sure. */
function traceRows(n: number): string[] {
  const start = NOW_NS - BigInt(n) * SECOND;
  const took = BigInt((n % 5) + 1) * 1_000_000n;
  const id = `'${traceId(n)}'`;
  const failed = n === 7;
  const time = (ns: bigint): string => `make_timestamp_ns(${ns})`;
  const span = (at: number, parent: number | null, kind: string, service: string, from: bigint, to: bigint, thread: number, socket: number, more: { evidence?: string; complete?: boolean } = {}): string =>
    `INSERT INTO live.f_spans VALUES (${id}, '${spanId(n, at)}', ${parent === null ? 'NULL' : `'${spanId(n, parent)}'`}, '${kind}', '${service}', '${kind === 'server' && service === 'shop' ? 'GET /orders/{id}' : 'GET /stock/{id}'}',
      ${time(start + from)}, ${time(start + to)}, ${to - from}, '${failed && kind === 'server' ? 'error' : 'ok'}', 'node-1', ${service === 'shop' ? 10 : 20}, ${thread}, ${service === 'shop' ? 1010 : 9223372036854775807n}, ${thread + 5000}, '${service}-${thread}', ${socket},
      '127.0.0.1', 40000, '127.0.0.2', ${service === 'shop' && kind === 'server' ? 8080 : 9090}, 'http', 'GET', '/x/${n}', '/x/{id}', ${failed ? 500 : 200}, 120, 9007199254740993, '{"peer_seen": true, "x.y": [1]}',
      ${more.evidence === undefined ? 'NULL' : `'${more.evidence}'`}, ${more.evidence === undefined ? 'NULL' : '0.98'}, 1, ${more.complete ?? true})`;
  const unsure = n === 9;
  return [
    `INSERT INTO live.f_traces VALUES (${id}, 'shop', 'GET /orders/{id}', ${time(start)}, ${took}, ${unsure ? 4 : 3}, ${failed ? 2 : 0}, ['shop', 'stock'], ${n !== 3})`,
    span(0, null, 'server', 'shop', 0n, took, 11, n * 10 + 1, { complete: n !== 3 }),
    span(1, 0, 'client', 'shop', took / 4n, took / 2n, 11, n * 10 + 2, { evidence: 'thread' }),
    span(2, 1, 'server', 'stock', took / 3n, took / 2n, 21, n * 10 + 3, { evidence: 'connection' }),
    `INSERT INTO live.f_span_links VALUES ('${spanId(n, 1)}', '${spanId(n, 0)}', 'thread', 0.98, true, 1, NULL)`,
    ...(unsure
      ? [
          span(3, null, 'client', 'shop', took / 2n, took, 12, n * 10 + 4),
          `INSERT INTO live.f_span_links VALUES ('${spanId(n, 3)}', '${spanId(n, 0)}', 'overlap', 0.5, false, 1, 2), ('${spanId(n, 3)}', '${spanId(n, 2)}', 'overlap', 0.25, false, 1, 2)`,
        ]
      : []),
    `INSERT INTO live.f_socket_events VALUES
      ('node-1', 'b', 1, ${time(start)}, 1, 10, 11, 1010, 5011, 'shop-11', ${n * 10 + 1}, 77, 5, 'read', 120, 0, 0, 4, NULL),
      ('node-1', 'b', 1, ${time(start + took / 4n)}, 1, 10, 11, 1010, 5011, 'shop-11', ${n * 10 + 2}, 78, 6, 'write', 90, 0, 0, 4, NULL),
      ('node-1', 'b', 1, ${time(start + took)}, 1, 10, 11, 1010, 5011, 'shop-11', ${n * 10 + 1}, 77, 5, 'write', 300, 0, 120, 4, NULL),
      ('node-1', 'b', 1, ${time(start + took / 4n)}, 1, 10, 99, 1010, 5099, 'shop-99', ${n * 10 + 9}, 79, 7, 'write', 1, 0, 0, 4, NULL)`,
  ];
}

export async function contractWarehouse(folder = temporaryFolder()): Promise<Warehouse> {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  await warehouse.query(TABLES);
  for (let n = 1; n <= TRACES; n++) await warehouse.query(traceRows(n).join(';'));
  // Two traces that start at the same instant: only the id orders them.
  await warehouse.query(`INSERT INTO live.f_traces SELECT '${traceId(2).slice(0, 16)}ffffffffffffffff', * EXCLUDE (trace_id) FROM live.f_traces WHERE trace_id = '${traceId(2)}'`);
  await warehouse.query(`INSERT INTO live.f_trace_aliases VALUES ('${OLD_TRACE_ID}', '${traceId(4)}')`);
  await warehouse.query(`INSERT INTO live.f_losses VALUES ('node-1', 1, 0, make_timestamp_ns(${NOW_NS}), make_timestamp_ns(${NOW_NS}), 12, 'ring_full'), ('node-1', 1, 1, make_timestamp_ns(${NOW_NS}), make_timestamp_ns(${NOW_NS}), NULL, 'not_running')`);
  for (const name of ['traces', 'spans', 'span_links', 'trace_aliases', 'socket_events', 'losses']) await warehouse.query(`CREATE OR REPLACE VIEW memory.main.${name} AS SELECT * FROM live.f_${name}`);
  return warehouse;
}
