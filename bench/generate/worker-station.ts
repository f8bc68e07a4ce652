// Threads that read requests and threads that do the work. Either the workers answer themselves, or each connection has a thread
// that reads, waits until a worker has the result, and answers.
import type { Connection } from './connection.ts';
import type { Actor } from './event-heap.ts';
import type { Job } from './job.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { SimulatedThread } from './simulated-process.ts';
import type { Service } from './service.ts';
import { PYTHON } from './thread-station.ts';
import { Station } from './station.ts';
import type { Pools } from './station.ts';
import type { World } from './world.ts';

const WORKERS = 24;

/** Busy until it acts. */
interface Worker extends Actor {
  readonly thread: SimulatedThread;
}

export class WorkerStation extends Station {
  readonly #reader_answers: boolean;
  readonly #idle: Worker[] = [];
  readonly #all: Worker[] = [];
  readonly #queue: Job[] = [];
  readonly #workers = new Map<SimulatedThread, Worker>();
  readonly #pools: Pools = [];
  /** The one selector thread reads until then. */
  #reads_until = 0;

  constructor(world: World, service: Service, node: SimulatedNode, reader_answers: boolean) {
    super(world, service, node, PYTHON);
    this.#reader_answers = reader_answers;
    for (let at = 0; at < WORKERS; at += 1) {
      const worker: Worker = { thread: this.process.thread(), act: (now) => this.#free(worker, now) };
      this.#workers.set(worker.thread, worker);
      this.#idle.push(worker);
      this.#all.push(worker);
    }
  }

  override connected(connection: Connection, at: number): void {
    super.connected(connection, at);
    if (this.#reader_answers) connection.server_thread = this.process.fork(at + 40_000, this.process.main);
  }

  override requested(connection: Connection, at: number): void {
    let reader = this.process.main;
    let now = at + this.wakeup();
    if (this.#reader_answers) reader = connection.server_thread as SimulatedThread;
    else {
      now = Math.max(now, this.#reads_until);
      reader.turn += 1;
    }
    const job = this.take(connection, reader, now);
    now += 20_000;
    if (!this.#reader_answers) this.#reads_until = now;
    const worker = this.#idle.pop();
    if (worker === undefined) this.#queue.push(job);
    else {
      this.process.node.threadEvent(now, 'wake', reader, worker.thread);
      this.#begin(job, worker, now + this.wakeup());
    }
  }

  #begin(job: Job, worker: Worker, at: number): void {
    job.worker = worker.thread;
    this.#advance(job, at + this.work());
  }

  #free(worker: Worker, at: number): void {
    const job = this.#queue.shift();
    if (job === undefined) this.#idle.push(worker);
    else this.#begin(job, worker, at + 5_000);
  }

  #advance(job: Job, at: number): void {
    const worker = job.worker as SimulatedThread;
    let step = this.service.callees[job.step];
    while (step !== undefined && this.isSkipped(job)) step = this.service.callees[++job.step];
    job.step += 1;
    const [callee] = step ?? [];
    if (callee !== undefined) {
      this.callNow(job, callee, worker, at, this.#pools);
      return;
    }
    const { world, process } = this;
    if (world.random.chance(0.1)) {
      // A lock handed over: says nothing about anybody's request.
      process.node.threadEvent(at - 2_000, 'wake', worker, (this.#all[world.random.index(WORKERS)] as Worker).thread);
    }
    let done: number;
    if (this.#reader_answers) {
      const reader = job.thread as SimulatedThread;
      process.node.threadEvent(at, 'wake', worker, reader);
      this.respond(job, reader, at + this.wakeup());
      done = at + 10_000;
    } else done = this.respond(job, worker, at) + 10_000;
    world.heap.push(done, this.#workers.get(worker) as Worker);
  }

  override answered(connection: Connection, at: number): void {
    const job = connection.owner as Job;
    const now = this.finish(connection, job.worker as SimulatedThread, at + this.wakeup(), this.#pools);
    this.#advance(job, now + this.work());
  }
}
