// Processes behind one listening socket, each with one thread: accept, read, call over fresh connections, answer, close.
import type { Connection } from './connection.ts';
import type { Actor } from './event-heap.ts';
import type { Job } from './job.ts';
import { PYTHON } from './thread-station.ts';
import { Station } from './station.ts';
import { SimulatedProcess } from './simulated-process.ts';
import type { SimulatedThread } from './simulated-process.ts';
import type { Service } from './service.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { World } from './world.ts';

const WORKERS = 16;

/** Busy until it acts. */
interface Worker extends Actor {
  readonly thread: SimulatedThread;
}

export class PreforkStation extends Station {
  readonly #idle: Worker[] = [];
  readonly #workers = new Map<SimulatedThread, Worker>();
  readonly #backlog: Connection[] = [];
  /** Whose request has come, though nobody has accepted it yet. */
  readonly #early = new Set<Connection>();

  constructor(world: World, service: Service, node: SimulatedNode) {
    super(world, service, node, PYTHON);
    for (let at = 0; at < WORKERS; at += 1) {
      const thread = new SimulatedProcess(node, service.name, PYTHON.runtime, world.random).main;
      const worker: Worker = { thread, act: (now) => this.#free(worker, now) };
      this.#workers.set(thread, worker);
      this.#idle.push(worker);
    }
  }

  #free(worker: Worker, at: number): void {
    const next = this.#backlog.shift();
    if (next === undefined) this.#idle.push(worker);
    else this.#accept(next, worker.thread, at);
  }

  override connected(connection: Connection, at: number): void {
    const worker = this.#idle.pop();
    if (worker === undefined) this.#backlog.push(connection);
    else this.#accept(connection, worker.thread, at + this.wakeup());
  }

  #accept(connection: Connection, worker: SimulatedThread, at: number): void {
    connection.server.belongsTo(worker);
    connection.server_thread = worker;
    connection.server.note(at, 'accept', worker);
    if (this.#early.delete(connection)) this.#read(connection, worker, at + 20_000);
  }

  override requested(connection: Connection, at: number): void {
    const worker = connection.server_thread;
    if (worker === null) this.#early.add(connection);
    else this.#read(connection, worker, at + this.wakeup());
  }

  #read(connection: Connection, worker: SimulatedThread, at: number): void {
    const job = this.take(connection, worker, at);
    this.#advance(job, at + 20_000 + this.work());
  }

  #advance(job: Job, at: number): void {
    const worker = job.thread as SimulatedThread;
    let step = this.service.callees[job.step];
    while (step !== undefined && this.isSkipped(job)) step = this.service.callees[++job.step];
    job.step += 1;
    const [callee] = step ?? [];
    if (callee !== undefined) {
      this.callNow(job, callee, worker, at, null);
      return;
    }
    const done = this.respond(job, worker, at) + 100_000;
    this.world.heap.push(done, this.#workers.get(worker) as Worker);
  }

  override answered(connection: Connection, at: number): void {
    const job = connection.owner as Job;
    const now = this.finish(connection, job.thread as SimulatedThread, at + this.wakeup(), null);
    this.#advance(job, now + this.work());
  }
}
