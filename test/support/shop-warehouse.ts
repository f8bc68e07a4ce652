// A warehouse with the traces of a small shop, correlated by the real rules: every kind of span, link and loss that the
// API shows.
import { Warehouse } from '../../ingest/warehouse.ts';
import type { Batch } from '../../ingest/batch.ts';
import { Correlator } from '../../queries/correlator.ts';
import { makeBatch } from './make-batch.ts';
import type { Row } from './make-batch.ts';

export const NOW_NS = 1_790_000_000_000_000_000n;
const SECOND = 1_000_000_000n;
/** Orders 1 to ORDERS, order n read n seconds before NOW_NS. */
export const ORDERS = 25;
export const MOST_BIGINT = 9_223_372_036_854_775_807n;
export const OLD_TRACE_ID = `${'0'.repeat(31)}a`;

/** Failed; an event was lost; calls a database that is not traced; two requests in one instant; nobody knows who called. */
export const [FAILED, INCOMPLETE, EXTERNAL, TWINS, UNDECIDED, RENAMED] = [7, 3, 5, 2, 9, 4];

const SHOP = { process_id: 1010n, pid: 10, first_thread_id: 5011n, last_thread_id: 5011n, first_tid: 11, last_tid: 11, comm: 'shop-worker' };
const STOCK = { process_id: MOST_BIGINT, pid: 20, first_thread_id: 5021n, last_thread_id: 5021n, first_tid: 21, last_tid: 21, comm: 'stock\u001b[31m' };

interface Exchange {
  readonly who: Row;
  readonly role: 'client' | 'server';
  readonly socket: bigint;
  readonly conn: bigint;
  readonly from: bigint;
  readonly to: bigint;
  readonly path: string;
  readonly status?: number;
  readonly port: number;
  readonly server_ip?: string;
  readonly complete?: boolean;
}

function exchange({ who, role, socket, conn, from, to, path, status = 200, port, server_ip = '127.0.0.2', complete = true }: Exchange): Row[] {
  const [local, remote] = role === 'server' ? [[server_ip, port], ['127.0.0.1', 40_000]] as const : [['127.0.0.1', 40_000], [server_ip, port]] as const;
  const common = {
    ...who, role, socket_id: socket, conn_id: conn, protocol: 'http', exchange_no: 0, fd: 5, complete: true, partial: false, head_bytes: 100,
    local_ip: local[0], local_port: local[1], remote_ip: remote[0], remote_port: remote[1], http_version: '1.1', host: 'shop.test',
  };
  const [request, response] = role === 'server' ? ['in', 'out'] : ['out', 'in'];
  return [
    { ...common, kind: 'request', direction: request, ts_ns: from, end_ts_ns: from + 1000n, mono_ns: from, stream_offset: 0, end_offset: 120, method: 'GET', path, end_reason: 'no_body' },
    { ...common, kind: 'response', direction: response, ts_ns: to - 1000n, end_ts_ns: to, mono_ns: to, stream_offset: 0, end_offset: 9_007_199_254_740_993n, status, end_reason: 'length', complete },
  ] as Row[];
}

function order(n: number): { messages: Row[]; socket_events: Row[] } {
  const start = NOW_NS - BigInt(n) * SECOND;
  const took = BigInt((n % 5) + 1) * 1_000_000n;
  const id = (at: number): bigint => BigInt(n * 100 + at);
  const status = n === FAILED ? 500 : 200;
  const messages = [
    ...exchange({ who: SHOP, role: 'server', socket: id(1), conn: id(1), from: start, to: start + took, path: `/orders/${n}`, status, port: 8080, complete: n !== INCOMPLETE }),
    ...exchange({ who: SHOP, role: 'client', socket: id(2), conn: id(2), from: start + took / 4n, to: start + took / 2n, path: `/stock/${n}`, status, port: 9090 }),
    ...exchange({ who: STOCK, role: 'server', socket: id(3), conn: id(2), from: start + took / 3n, to: start + took / 2n - 5000n, path: `/stock/${n}`, status, port: 9090 }),
  ];
  if (n === EXTERNAL) messages.push(...exchange({ who: SHOP, role: 'client', socket: id(4), conn: id(4), from: start + (took * 3n) / 4n, to: start + (took * 4n) / 5n, path: '/sql', port: 5432, server_ip: '10.0.0.9' }));
  if (n === TWINS) messages.push(...exchange({ who: { ...SHOP, first_thread_id: 5012n, last_thread_id: 5012n }, role: 'server', socket: id(5), conn: id(5), from: start, to: start + took, path: `/twins/${n}`, port: 8080 }));
  if (n === UNDECIDED) messages.push(...exchange({ who: SHOP, role: 'server', socket: id(6), conn: id(6), from: start + took / 8n, to: start + took - 1000n, path: '/other', port: 8080 }));
  const event = { ...SHOP, thread_id: 5011n, tid: 11, layer: 'socket', flags: 0, payload_truncated: false, fd: 5 };
  const moved = (at: bigint, socket: number, op: string, bytes: number, other_offset: number): Row =>
    ({ ...event, ts_ns: at, mono_ns: at, socket_id: id(socket), conn_id: id(socket), op, bytes, stream_offset: 0, other_offset }) as Row;
  return {
    messages,
    socket_events: [
      moved(start, 1, 'read', 120, 0),
      moved(start + took / 4n, 2, 'write', 120, 0),
      { ...moved(start + took / 4n, 8, 'write', 7, 0), thread_id: 5099n, tid: 99, comm: 'elsewhere' },
      moved(start + took, 1, 'write', 300, 120),
    ],
  };
}

export function shopBatch(): Batch {
  const orders = Array.from({ length: ORDERS }, (_, at) => order(at + 1));
  return makeBatch(
    { node: 'node-1', run_id: 7n, sequence: 1n, mono_ns: NOW_NS, utc_ns: NOW_NS, watermark_ns: NOW_NS, final: true },
    {
      messages: orders.flatMap(({ messages }) => messages),
      socket_events: orders.flatMap(({ socket_events }) => socket_events),
      processes: [
        { ts_ns: 1n, process_id: SHOP.process_id, pid: 10, service_name: 'shop', service_rule: 'env', cmdline: 'shop --port 8080', exe: '/bin/shop' },
        { ts_ns: 1n, process_id: STOCK.process_id, pid: 20, service_name: 'stock', service_rule: 'exe', cmdline: 'stock', exe: '/bin/stock' },
      ],
      losses: [
        { cpu: 0, from_ns: NOW_NS - 1n, to_ns: NOW_NS, events_lost: 12n, cause: 'payload_shed' },
        { cpu: 1, from_ns: NOW_NS - 1n, to_ns: NOW_NS, events_lost: null, cause: 'not_running' },
      ],
    },
  );
}

/** The caller closes it. */
export async function shopWarehouse(folder: string): Promise<{ warehouse: Warehouse; correlator: Correlator; traceOf(path: string): Promise<string> }> {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 10 });
  await warehouse.apply(shopBatch());
  const correlator = new Correlator(warehouse);
  await correlator.finish();
  const traceOf = async (path: string): Promise<string> => {
    const { rows } = await warehouse.query("SELECT trace_id FROM spans WHERE url_path = $1 ORDER BY kind DESC", [path]);
    return rows[0]?.[0] as string;
  };
  const renamed = await traceOf(`/orders/${RENAMED}`);
  await warehouse.withDerived(async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.trace_aliases VALUES ('${OLD_TRACE_ID}', '${renamed}')`)));
  return { warehouse, correlator, traceOf };
}
