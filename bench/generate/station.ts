// One process (or a group of them behind one listening socket) of a service: what all kinds have in common. It reads requests,
// calls others, answers. When and on which thread is what makes the kinds.
import type { App } from './apps.ts';
import { CONNECTED, Connection, REQUEST, RESPONSE } from './connection.ts';
import type { Caller } from './connection.ts';
import { idText } from './http-text.ts';
import type { Job } from './job.ts';
import type { Service } from './service.ts';
import { SocketEnd } from './socket-end.ts';
import type { Text } from './socket-end.ts';
import { SimulatedProcess, randomId } from './simulated-process.ts';
import type { Runtime, SimulatedThread } from './simulated-process.ts';
import type { SimulatedNode } from './simulated-node.ts';
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

const CALL_NS = 6_000;
const MEAN_REQUESTS = 300;
const [ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSED, CLOSE_WAIT, LAST_ACK, SYN_SENT] = [1, 4, 5, 7, 8, 9, 2] as const;
const ipWord = (a: number, b: number, c: number, d: number): number => a | (b << 8) | (c << 16) | (d << 24);
/** Idle connections of a process or a thread, by callee. */
export type Pools = Connection[][];

export abstract class Station implements Caller {
  readonly world: World;
  readonly service: Service;
  readonly process: SimulatedProcess;
  readonly ip: number;
  readonly #habits: Habits;

  constructor(world: World, service: Service, node: SimulatedNode, habits: Habits) {
    this.world = world;
    this.service = service;
    this.#habits = habits;
    this.process = new SimulatedProcess(node, service.name, habits.runtime, world.random);
    this.ip = podAddress(node, world);
    service.stations.push(this);
  }

  /** Request bytes have arrived. */
  abstract requested(connection: Connection, at: number): void;
  abstract answered(connection: Connection, at: number): void;

  opened(_connection: Connection, _at: number): void {}

  /** Somebody has connected. */
  connected(connection: Connection, at: number): void {
    connection.server.note(at + 15_000, 'accept', this.process.main);
  }

  get runtime(): Runtime {
    return this.#habits.runtime;
  }

  /** A connection to one of the service's processes; its first bytes may be sent once it is open. */
  protected connect(callee: Service, thread: SimulatedThread, at: number): Connection {
    return connect({ world: this.world, caller: this, process: thread.process, ip: this.ip, thread, callee, at });
  }

  /** Answered when it can be written on. */
  protected openAt(connection: Connection, at: number): number {
    return at + connection.latency * 2 + 15_000;
  }

  /** The thread connects if it must, and waits for that. */
  protected callNow(job: Job, callee: Service, thread: SimulatedThread, at: number, pools: Pools | null): void {
    let connection = pools === null ? undefined : (pools[callee.index] ??= []).pop();
    let now = at;
    if (connection === undefined) {
      connection = this.connect(callee, thread, now);
      now = this.openAt(connection, now);
    }
    // Somebody else may still be about to hand it back.
    this.send(connection, job, thread, Math.max(now, connection.free_at));
  }

  /** Writes the request; when the call has returned. */
  protected send(connection: Connection, job: Job, thread: SimulatedThread, at: number, task?: Task): number {
    return send(this.world, connection, job, thread, at, this.#habits, task);
  }

  /** Reads the request. */
  protected take(connection: Connection, thread: SimulatedThread, at: number, task?: Task): Job {
    const { world } = this;
    const job = connection.job as Job;
    this.readText(connection.server, thread, at, connection.request, task);
    job.thread = thread;
    thread.held += 1;
    connection.server_thread = thread;
    // Of errors, most begin at the bottom.
    if (this.service.callees.length === 0 && world.random.chance(0.004)) job.failed = 1 + world.random.index(3);
    return job;
  }

  protected readText(end: SocketEnd, thread: SimulatedThread, at: number, text: Text, task?: Task): number {
    const size = text.head_length + text.body_length;
    let now = at;
    for (let from = 0; from < size; now += CALL_NS) {
      const count = Math.min(this.#habits.read_bytes, size - from);
      end.move(now, false, thread, text, from, count, task?.id, task?.parent);
      from += count;
    }
    return now;
  }

  /** Writes the answer. Whoever asked has it in its socket a moment later. */
  protected respond(job: Job, thread: SimulatedThread, at: number, task?: Task): number {
    const { world } = this;
    const connection = job.connection as Connection;
    const text = connection.response;
    text.body_length = Math.floor(Math.min(200_000, world.random.around(world.random.chance(0.02) ? 20_000 : 700)));
    text.body_at = world.text.bodyAt();
    if (text.body_length > 60_000) text.body_at = 0;
    text.head_length = world.text.response(text.head, job.failed, text.body_length);
    const now = writeText(connection.server, thread, at, text, this.#habits.writes_apart, task);
    (job.thread as SimulatedThread).held -= 1;
    if (connection.owner !== null && job.failed > 0 && world.random.chance(0.5)) connection.owner.failed = 3;
    connection.job = null;
    world.release(job);
    world.heap.push(now + connection.latency, connection, RESPONSE);
    return now;
  }

  /** Reads the answer; when the calls have returned. The connection goes back, or is closed. */
  protected finish(connection: Connection, thread: SimulatedThread, at: number, pools: Pools | null, task?: Task): number {
    const now = connection.client === null ? at : this.readText(connection.client, thread, at, connection.response, task);
    connection.owner = null;
    connection.left -= 1;
    connection.free_at = now + 1000;
    if (connection.left <= 0 || pools === null) closeByCaller(connection, thread, now + 4_000);
    else (pools[connection.callee.service.index] ??= []).push(connection);
    return now;
  }

  /** Most calls of a request are always made, some not: the answer is in a cache. */
  protected isSkipped(job: Job): boolean {
    return job.step > 0 && this.world.random.chance(0.1);
  }

  protected work(): number {
    return this.world.random.around(this.service.plan.work_ns);
  }

  protected wakeup(): number {
    return this.world.random.around(25_000);
  }
}

function podAddress(node: SimulatedNode, { random }: World): number {
  const [a = 10, b = 0, c = 0] = node.address.split('.').map(Number);
  return ipWord(a, b, c, 2 + random.index(250));
}

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
