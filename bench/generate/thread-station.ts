// A thread of its own for each connection: it reads, calls, answers. Its calls go over connections of the thread, of a pool that
// all threads share, or are made by threads that it starts for them.
import type { Connection } from './connection.ts';
import type { Job } from './job.ts';
import { Station } from './station.ts';
import type { Habits, Pools } from './station.ts';
import type { SimulatedThread } from './simulated-process.ts';
import type { Service } from './service.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { World } from './world.ts';

export const PYTHON: Habits = { runtime: { exe: '/usr/bin/python3.12', cmdline: 'python3 /app/server.py', comm: 'python3' }, writes_apart: true, read_bytes: 8192 };

export class ThreadStation extends Station {
  readonly #way: 'own' | 'pool' | 'per-call';
  readonly #shared: Pools = [];
  readonly #own = new Map<SimulatedThread, Pools>();

  constructor(world: World, service: Service, node: SimulatedNode, way: 'own' | 'pool' | 'per-call') {
    super(world, service, node, PYTHON);
    this.#way = way;
  }

  override connected(connection: Connection, at: number): void {
    super.connected(connection, at);
    connection.server_thread = this.process.fork(at + 40_000, this.process.main);
  }

  override requested(connection: Connection, at: number): void {
    const job = this.take(connection, connection.server_thread as SimulatedThread, at + this.wakeup());
    this.#advance(job, at + 40_000 + this.work());
  }

  #pools(thread: SimulatedThread): Pools {
    if (this.#way !== 'own') return this.#shared;
    let pools = this.#own.get(thread);
    if (pools === undefined) this.#own.set(thread, (pools = []));
    return pools;
  }

  #advance(job: Job, at: number): void {
    const thread = job.thread as SimulatedThread;
    let step = this.service.callees[job.step];
    while (step !== undefined && this.isSkipped(job)) step = this.service.callees[++job.step];
    if (step === undefined) {
      this.respond(job, thread, at);
      return;
    }
    job.step += 1;
    job.open = step.length;
    let now = at;
    for (const callee of step) {
      if (this.#way === 'per-call') {
        const maker = this.process.fork(now, thread);
        this.callNow(job, callee, maker, now + this.wakeup(), this.#shared);
        now += 30_000;
      } else this.callNow(job, callee, thread, now, this.#pools(thread));
    }
  }

  override answered(connection: Connection, at: number): void {
    const thread = connection.caller_thread as SimulatedThread;
    const job = connection.owner as Job;
    const now = this.finish(connection, thread, at + this.wakeup(), this.#pools(thread));
    if (this.#way === 'per-call') {
      this.process.node.threadEvent(now + 5_000, 'wake', thread, job.thread);
      this.process.node.threadEvent(now + 9_000, 'exit', thread, null);
    }
    job.open -= 1;
    if (job.open === 0) this.#advance(job, now + this.work());
  }
}
