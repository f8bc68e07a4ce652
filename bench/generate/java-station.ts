// A pool whose threads read requests, wait for their calls, and answer; the calls are written and read by threads of the client
// library, which then wake the one that waits, directly or through another.
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
  /** Of the client library: one reads, some write and pass on. */
  readonly #selector: SimulatedThread;
  readonly #helpers: PoolThread[] = [];
  readonly #pools: Pools = [];
  #selects_until = 0;

  constructor(world: World, service: Service, node: SimulatedNode) {
    super(world, service, node, JAVA);
    this.#selector = this.process.thread();
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

  /** One that sleeps, or a new one; it sleeps again when it has done its part. */
  #helper(until: number): SimulatedThread {
    const helper = this.#helpers.pop() ?? this.#newHelper();
    this.world.heap.push(until, helper);
    return helper.thread;
  }

  #newHelper(): PoolThread {
    const helper: PoolThread = { thread: this.process.thread(), act: () => this.#helpers.push(helper) };
    return helper;
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
    const now = at + this.wakeup();
    let connection = (this.#pools[callee.index] ??= []).pop();
    const from = connection === undefined ? now : Math.max(now, connection.free_at);
    const helper = this.#helper(from + 300_000);
    this.process.node.threadEvent(at, 'wake', thread, helper);
    connection ??= this.connect(callee, helper, now);
    this.send(connection, job, helper, connection.client?.sent === 0 ? this.openAt(connection, now) : from);
  }

  override answered(connection: Connection, at: number): void {
    const job = connection.owner as Job;
    const thread = job.thread as SimulatedThread;
    const { node } = this.process;
    let now = Math.max(at + this.wakeup(), this.#selects_until);
    this.#selector.turn += 1;
    now = this.finish(connection, this.#selector, now, this.#pools);
    this.#selects_until = now + 15_000;
    if (this.world.random.chance(0.7)) {
      const helper = this.#helper(now + 150_000);
      node.threadEvent(now, 'wake', this.#selector, helper);
      now += this.wakeup();
      node.threadEvent(now, 'wake', helper, thread);
    } else node.threadEvent(now, 'wake', this.#selector, thread);
    this.#advance(job, now + this.wakeup() + this.work());
  }
}
