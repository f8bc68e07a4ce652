// A pool whose threads read requests, wait for their calls, and answer; the calls are written and read by a thread of the client
// library, which then wakes the one that waits, directly or through another.
import type { Connection } from './connection.ts';
import type { Actor } from './event-heap.ts';
import type { Job } from './job.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { SimulatedThread } from './simulated-process.ts';
import type { Service } from './service.ts';
import { Station } from './station.ts';
import type { Habits, Pools } from './station.ts';
import type { World } from './world.ts';

const JAVA: Habits = { runtime: { exe: '/usr/lib/jvm/java-21/bin/java', cmdline: 'java -jar /app/server.jar', comm: 'java' }, writes_apart: true, read_bytes: 16_384 };
const THREADS = 24;

interface PoolThread extends Actor {
  readonly thread: SimulatedThread;
}

export class JavaStation extends Station {
  readonly #idle: PoolThread[] = [];
  readonly #of_thread = new Map<SimulatedThread, PoolThread>();
  readonly #waiting: Connection[] = [];
  readonly #selector: SimulatedThread;
  readonly #executor: SimulatedThread;
  readonly #pools: Pools = [];
  #selects_until = 0;
  #executes_until = 0;

  constructor(world: World, service: Service, node: SimulatedNode) {
    super(world, service, node, JAVA);
    this.#selector = this.process.thread();
    this.#executor = this.process.thread();
    for (let at = 0; at < THREADS; at += 1) {
      const one: PoolThread = { thread: this.process.thread(), act: (now) => this.#free(one, now) };
      this.#of_thread.set(one.thread, one);
      this.#idle.push(one);
    }
  }

  override requested(connection: Connection, at: number): void {
    const one = this.#idle.pop();
    if (one === undefined) {
      this.#waiting.push(connection);
      return;
    }
    const now = at + this.wakeup();
    this.process.node.threadEvent(now, 'wake', this.process.main, one.thread);
    this.#begin(connection, one, now + this.wakeup());
  }

  #begin(connection: Connection, { thread }: PoolThread, at: number): void {
    const job = this.take(connection, thread, at);
    this.#advance(job, at + 20_000 + this.work());
  }

  #free(one: PoolThread, at: number): void {
    const connection = this.#waiting.shift();
    if (connection === undefined) this.#idle.push(one);
    else this.#begin(connection, one, at + 5_000);
  }

  /** The selector's time is taken in turns. */
  #select(at: number, for_ns: number): number {
    const now = Math.max(at, this.#selects_until);
    this.#selects_until = now + for_ns;
    this.#selector.turn += 1;
    return now;
  }

  #advance(job: Job, at: number): void {
    const thread = job.thread as SimulatedThread;
    let step = this.service.callees[job.step];
    while (step !== undefined && this.isSkipped(job)) step = this.service.callees[++job.step];
    job.step += 1;
    const [callee] = step ?? [];
    if (callee === undefined) {
      const done = this.respond(job, thread, at);
      this.world.heap.push(done + 20_000, this.#of_thread.get(thread) as PoolThread);
      return;
    }
    if (at > this.#selects_until) this.process.node.threadEvent(at, 'wake', thread, this.#selector);
    const now = this.#select(at + this.wakeup(), 20_000);
    let connection = (this.#pools[callee.index] ??= []).pop();
    let from = now;
    if (connection === undefined) {
      connection = this.connect(callee, this.#selector, now);
      from = this.openAt(connection, now);
    }
    this.send(connection, job, this.#selector, Math.max(from, connection.free_at));
  }

  override answered(connection: Connection, at: number): void {
    const job = connection.owner as Job;
    const thread = job.thread as SimulatedThread;
    const { node } = this.process;
    let now = this.finish(connection, this.#selector, this.#select(at + this.wakeup(), 20_000), this.#pools);
    if (this.world.random.chance(0.3)) {
      // Who is awake already is not woken.
      if (now > this.#executes_until) node.threadEvent(now, 'wake', this.#selector, this.#executor);
      now = Math.max(now + this.wakeup(), this.#executes_until);
      this.#executes_until = now + 15_000;
      node.threadEvent(now, 'wake', this.#executor, thread);
    } else node.threadEvent(now, 'wake', this.#selector, thread);
    this.#advance(job, now + this.wakeup() + this.work());
  }
}
