// Who asks the first service of an application: so many at once, each over a connection of its own, with a pause after each answer.
import type { Connection } from './connection.ts';
import type { Caller } from './connection.ts';
import type { Service } from './service.ts';
import { SimulatedProcess } from './simulated-process.ts';
import type { SimulatedThread } from './simulated-process.ts';
import type { SimulatedNode } from './simulated-node.ts';
import { closeByCaller, connect, send } from './station.ts';
import { PYTHON } from './thread-station.ts';
import type { World } from './world.ts';

interface Client {
  readonly thread: SimulatedThread | null;
  connection: Connection | null;
}

export class RootClients implements Caller {
  readonly #world: World;
  readonly #service: Service;
  readonly #app_index: number;
  readonly #process: SimulatedProcess | null;
  readonly #client_of = new Map<Connection, Client>();
  readonly #ip: number;

  /** node null: somewhere on the internet, where nobody watches. */
  constructor(world: World, service: Service, node: SimulatedNode | null) {
    this.#world = world;
    this.#service = service;
    this.#app_index = world.apps.push(service.app) - 1;
    this.#process = node === null ? null : new SimulatedProcess(node, `${service.name}-clients`, PYTHON.runtime, world.random);
    this.#ip = 203 | (world.random.index(250) << 16) | (7 << 24);
  }

  start(): void {
    const { heap, random } = this.#world;
    const { in_flight, think_ns } = this.#service.app;
    for (let at = 0; at < in_flight; at += 1) {
      const client: Client = { thread: this.#process?.thread() ?? null, connection: null };
      heap.push(random.next() * think_ns, { act: (now) => this.#ask(client, now) });
    }
  }

  #ask(client: Client, at: number): void {
    const world = this.#world;
    if (world.stopping) {
      if (client.connection !== null) closeByCaller(client.connection, client.thread, at);
      client.connection = null;
      return;
    }
    let now = at;
    let { connection } = client;
    if (connection === null) {
      connection = connect({ world, caller: this, process: this.#process, ip: this.#ip, thread: client.thread, callee: this.#service, at });
      now = at + connection.latency * 2 + 15_000;
      client.connection = connection;
      this.#client_of.set(connection, client);
    }
    send(world, connection, null, client.thread, now, PYTHON, undefined, this.#app_index);
  }

  answered(connection: Connection, at: number): void {
    const world = this.#world;
    const client = this.#client_of.get(connection) as Client;
    let now = at + 20_000;
    if (connection.client !== null && client.thread !== null) {
      const { head_length, body_length } = connection.response;
      connection.client.move(now, false, client.thread, connection.response, 0, head_length + body_length);
    }
    connection.left -= 1;
    now += 5_000;
    if (connection.left <= 0) {
      closeByCaller(connection, client.thread, now);
      this.#client_of.delete(connection);
      client.connection = null;
    }
    world.heap.push(now + world.random.exponential(this.#service.app.think_ns), { act: (next) => this.#ask(client, next) });
  }

  opened(): void {}
}
