// Goroutines on a few threads: any thread runs any of them. A connection's goroutine reads requests and answers them; calls are
// written and read by goroutines of their connections, for the one that asked.
import type { Connection } from './connection.ts';
import type { Job } from './job.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { SimulatedThread } from './simulated-process.ts';
import type { Service } from './service.ts';
import { Station } from './station.ts';
import type { Habits, Pools } from './station.ts';
import type { World } from './world.ts';

const GO: Habits = { runtime: { exe: '/app/server', cmdline: '/app/server', comm: 'server' }, writes_apart: false, read_bytes: 4096 };
const THREADS = 5;

export class GoStation extends Station {
  readonly #threads: SimulatedThread[];
  readonly #pools: Pools = [];
  /** Who serves each connection; who reads its answers. */
  readonly #servers = new WeakMap<Connection, number>();
  readonly #parallel: boolean;
  #goroutines = 20;

  constructor(world: World, service: Service, node: SimulatedNode, parallel: boolean) {
    super(world, service, node, GO);
    this.#parallel = parallel;
    this.#threads = Array.from({ length: THREADS }, () => this.process.thread());
  }

  #anyThread(): SimulatedThread {
    const thread = this.#threads[this.world.random.index(THREADS)] as SimulatedThread;
    if (this.world.random.chance(0.3)) thread.turn += 1;
    return thread;
  }

  override connected(connection: Connection, at: number): void {
    connection.server.note(at + 15_000, 'accept', this.#anyThread());
    this.#goroutines += 1;
    this.#servers.set(connection, this.#goroutines);
  }

  override requested(connection: Connection, at: number): void {
    const id = this.#servers.get(connection) as number;
    const now = at + this.wakeup();
    const job = this.take(connection, this.#anyThread(), now, { id, parent: 1, asked: false });
    job.task = id;
    this.#advance(job, now + 15_000 + this.work());
  }

  /** The server also has a goroutine that reads one byte ahead, between requests. */
  #advance(job: Job, at: number): void {
    let step = this.service.callees[job.step];
    while (step !== undefined && this.isSkipped(job)) step = this.service.callees[++job.step];
    job.step += 1;
    if (step === undefined) {
      this.respond(job, this.#anyThread(), at, { id: job.task, parent: 1, asked: false });
      return;
    }
    job.open = step.length;
    for (const callee of step) {
      let asks = { id: job.task, parent: 1, asked: true };
      if (this.#parallel) asks = { id: (this.#goroutines += 1), parent: job.task, asked: true };
      const thread = this.#anyThread();
      let now = at + this.wakeup() / 4;
      let connection = (this.#pools[callee.index] ??= []).pop();
      if (connection === undefined) {
        connection = this.connect(callee, thread, now);
        now = this.openAt(connection, now);
      }
      this.send(connection, job, thread, Math.max(now, connection.free_at), asks);
    }
  }

  override answered(connection: Connection, at: number): void {
    const job = connection.owner as Job;
    const now = this.finish(connection, this.#anyThread(), at + this.wakeup(), this.#pools, { id: 1_000_000 + (this.#goroutines & 1023), parent: job.task, asked: false });
    job.open -= 1;
    if (job.open === 0) this.#advance(job, now + 10_000 + this.work());
  }
}
