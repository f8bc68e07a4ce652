// What goes over the network between two stations: connecting, requests, closing. The truth is noted where a request is sent.
import type { App } from './apps.ts';
import { CONNECTED, Connection, REQUEST } from './connection.ts';
import type { Caller } from './connection.ts';
import { idText } from './http-text.ts';
import type { Job } from './job.ts';
import type { Service } from './service.ts';
import { SocketEnd } from './socket-end.ts';
import type { Text } from './socket-end.ts';
import { randomId } from './simulated-process.ts';
import type { Runtime, SimulatedProcess, SimulatedThread } from './simulated-process.ts';
import type { Station } from './station.ts';
import type { World } from './world.ts';

/** How a program reads and writes. */
export interface Habits {
  readonly runtime: Runtime;
  /** Head and body in a call each. */
  readonly writes_apart: boolean;
  readonly read_bytes: number;
}

export interface Task {
  readonly id: number;
  readonly parent: number;
  /** Of who asked for the write. */
  readonly asked: boolean;
}

/** From one call to the next, within one message. */
export const CALL_NS = 6_000;
/** Of a connection. */
const MEAN_REQUESTS = 300;
const [ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSED, CLOSE_WAIT, LAST_ACK, SYN_SENT] = [1, 4, 5, 7, 8, 9, 2] as const;
/** As it lies in memory. */
export const ipWord = (a: number, b: number, c: number, d: number): number => a | (b << 8) | (c << 16) | (d << 24);

export function writeText(end: SocketEnd, thread: SimulatedThread, at: number, text: Text, apart: boolean, task?: Task): number {
  const size = text.head_length + text.body_length;
  if (!apart || text.body_length === 0) {
    end.move(at, true, thread, text, 0, size, task?.id, task?.parent, task?.asked);
    return at + CALL_NS;
  }
  end.move(at, true, thread, text, 0, text.head_length, task?.id, task?.parent, task?.asked);
  end.move(at + CALL_NS, true, thread, text, text.head_length, text.body_length, task?.id, task?.parent, task?.asked);
  return at + 2 * CALL_NS;
}

export interface Opening {
  readonly world: World;
  readonly caller: Caller;
  /** null: nobody watches it. */
  readonly process: SimulatedProcess | null;
  readonly ip: number;
  readonly thread: SimulatedThread | null;
  readonly callee: Service;
  readonly at: number;
}

export function connect({ world, caller, process, ip, thread, callee, at }: Opening): Connection {
  const { random } = world;
  const local_station = callee.plan.unix === true ? callee.stations.find((one) => one.process.node === process?.node) : undefined;
  const station = local_station ?? (callee.stations[callee.next_station++ % callee.stations.length] as Station);
  const near = station.process.node === process?.node;
  const latency = random.around(near ? 15_000 : 90_000);
  const [conn_id, client_id, server_id] = [randomId(random), randomId(random), randomId(random)];
  const unix = local_station !== undefined;
  const own_port = 32_768 + random.index(28_000);
  const seq = [random.word(), random.word()] as const;
  const nat = callee.virtual_ip !== null;
  const client = process === null ? null : new SocketEnd({
    node: process.node, role: 'client', fd: process.fd(), socket_id: client_id, conn_id, peer_id: unix ? server_id : null,
    local: [ip, own_port], remote: [nat ? (callee.virtual_ip as number) : station.ip, nat ? 80 : 8080], netns: process.netns, seq,
  });
  // Behind a translation the server sees the node's address and another port.
  const seen = nat ? ([ipWord(192, 168, 7, 10 + (station.ip >>> 8) % 200), 1024 + random.index(60_000)] as const) : ([ip, own_port] as const);
  const server = new SocketEnd({
    node: station.process.node, role: 'server', fd: station.process.fd(), socket_id: server_id, conn_id, peer_id: unix ? client_id : null,
    local: [station.ip, 8080], remote: seen, netns: station.process.netns, seq: [seq[1], seq[0]],
  });
  server.belongsTo(station.process.main);
  const left = callee.plan.shape === 'prefork' ? 1 : 1 + Math.floor(random.exponential(MEAN_REQUESTS));
  const connection = new Connection(caller, station, { client, server }, conn_id, latency, left, world.text.body);
  if (client !== null && thread !== null) {
    client.belongsTo(thread);
    client.note(at, 'connect', thread);
    if (!unix) client.note(at + latency * 2, 'state', null, SYN_SENT, ESTABLISHED);
  }
  world.heap.push(at + latency * 1.5, connection, CONNECTED);
  return connection;
}

/** Writes a request, and notes in the truth whose it is. job null: a root. */
export function send(world: World, connection: Connection, job: Job | null, thread: SimulatedThread | null, at: number, habits: Habits | null, task?: Task, app_index = 0): number {
  const { random, text: http, truth } = world;
  const { service } = connection.callee;
  const text = connection.request;
  const route = service.routes[random.index(service.routes.length)] as (typeof service.routes)[number];
  const [high, low] = [random.word(), random.word()];
  text.body_length = route.has_body ? Math.floor(Math.min(60_000, random.around(400))) : 0;
  text.body_at = http.bodyAt();
  text.head_length = http.request(text.head, route, high, low, text.body_length);
  const next = world.job();
  next.connection = connection;
  next.number = job === null ? (world.requests += 1) : job.number;
  next.app = job === null ? app_index : job.app;
  const offset = connection.server.received;
  const { ids } = connection;
  next.span_low = ids.low(offset, true);
  next.span_high = ids.high(offset, true);
  connection.job = next;
  connection.owner = job;
  connection.caller_thread = thread;
  if (job !== null && thread !== null) {
    world.calls += 1;
    if (thread.held !== 1 || job.thread !== thread) world.ambiguous_calls += 1;
  }
  if (truth !== null) {
    const app = world.apps[next.app] as App;
    const path = route.path_before + idText(high, low) + route.path_after;
    let [parent_low, parent_high] = [job?.span_low ?? 0, job?.span_high ?? 0];
    if (connection.client !== null) {
      const [own_low, own_high] = [ids.low(offset, false), ids.high(offset, false)];
      truth.add(own_low, own_high, parent_low, parent_high, false, next.number, app, path);
      [parent_low, parent_high] = [own_low, own_high];
    }
    truth.add(next.span_low, next.span_high, parent_low, parent_high, true, next.number, app, path);
  }
  let now = at;
  if (connection.client !== null && thread !== null) now = writeText(connection.client, thread, at, text, habits?.writes_apart ?? false, task);
  world.heap.push(now + connection.latency, connection, REQUEST);
  return now;
}

export function closeByCaller(connection: Connection, thread: SimulatedThread | null, at: number): void {
  const { client, server, latency } = connection;
  const unix = connection.callee.service.plan.unix === true;
  if (client !== null && thread !== null) client.note(at, 'close', thread, ESTABLISHED, FIN_WAIT1);
  const server_thread = connection.server_thread ?? connection.callee.process.main;
  connection.callee.closed(connection, at + latency + 70_000);
  if (unix) {
    server.note(at + latency + 60_000, 'close', server_thread);
    return;
  }
  server.note(at + latency, 'state', null, ESTABLISHED, CLOSE_WAIT);
  server.note(at + latency + 60_000, 'close', server_thread, CLOSE_WAIT, LAST_ACK);
  if (client !== null) {
    client.note(at + 2 * latency + 60_000, 'state', null, FIN_WAIT1, FIN_WAIT2);
    client.note(at + 2 * latency + 61_000, 'state', null, FIN_WAIT2, CLOSED);
  }
  server.note(at + 3 * latency + 62_000, 'state', null, LAST_ACK, CLOSED);
}
