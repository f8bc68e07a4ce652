// One thread that waits for events and handles all that have come, turn after turn: Node.js, asyncio, nginx. Between what is read
// and what follows from it lies a number of turns that the program does not change; or a timer, and then nothing is constant.
import type { Connection } from './connection.ts';
import type { Actor } from './event-heap.ts';
import type { Job } from './job.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { Service } from './service.ts';
import { Station } from './station.ts';
import type { Habits, Pools } from './station.ts';
import type { World } from './world.ts';

export interface LoopHabits extends Habits {
  /** Turns from a request to what it causes, and from an answer. */
  readonly lag_request: number;
  readonly lag_answer: number;
  /** Mean of the timers in between; 0: none. */
  readonly sleep_ns: number;
}

export const NODE: LoopHabits = { runtime: { exe: '/usr/bin/node', cmdline: 'node /app/server.js', comm: 'node' }, writes_apart: false, read_bytes: 65_536, lag_request: 0, lag_answer: 0, sleep_ns: 0 };
export const ASYNCIO: LoopHabits = { runtime: { exe: '/usr/bin/python3.12', cmdline: 'python3 /app/loop.py', comm: 'python3' }, writes_apart: false, read_bytes: 65_536, lag_request: 2, lag_answer: 4, sleep_ns: 0 };
export const NGINX: LoopHabits = { runtime: { exe: '/usr/sbin/nginx', cmdline: 'nginx: worker process', comm: 'nginx' }, writes_apart: false, read_bytes: 32_768, lag_request: 0, lag_answer: 0, sleep_ns: 0 };
export const TIMERS: LoopHabits = { ...ASYNCIO, sleep_ns: 4e6 };

const [TURN, TIMER] = [0, 1] as const;
type Ready = { readonly connection: Connection; readonly kind: 'request' | 'answer' | 'open' };

class Timer implements Actor {
  readonly #station: LoopStation;
  readonly #job: Job;

  constructor(station: LoopStation, job: Job) {
    this.#station = station;
    this.#job = job;
  }

  act(at: number): void {
    this.#station.rang(this.#job, at);
  }
}

export class LoopStation extends Station implements Actor {
  readonly #loop: LoopHabits;
  readonly #pools: Pools = [];
  #ready: Ready[] = [];
  /** What follows in which turn. */
  #later: { turn: number; job: Job }[] = [];
  #rung: Job[] = [];
  #free_at = 0;
  #awake = false;

  constructor(world: World, service: Service, node: SimulatedNode, habits: LoopHabits) {
    super(world, service, node, habits);
    this.#loop = habits;
    this.process.main.turn = 1000 + world.random.index(100_000);
  }

  override requested(connection: Connection, at: number): void {
    this.#wake({ connection, kind: 'request' }, at);
  }

  override answered(connection: Connection, at: number): void {
    this.#wake({ connection, kind: 'answer' }, at);
  }

  override opened(connection: Connection, at: number): void {
    this.#wake({ connection, kind: 'open' }, at);
  }

  rang(job: Job, at: number): void {
    this.#rung.push(job);
    this.#turnAt(at + 5_000);
  }

  #wake(ready: Ready, at: number): void {
    this.#ready.push(ready);
    this.#turnAt(at + 8_000);
  }

  #turnAt(at: number): void {
    if (this.#awake) return;
    this.#awake = true;
    this.world.heap.push(Math.max(at, this.#free_at), this, TURN);
  }

  /** A turn. */
  act(at: number): void {
    const { main } = this.process;
    this.#awake = false;
    main.turn += 1;
    let now = at;
    const due = this.#later.filter(({ turn }) => turn <= main.turn);
    if (due.length > 0) this.#later = this.#later.filter(({ turn }) => turn > main.turn);
    for (const { job } of due) now = this.#advance(job, now + 2_000);
    const [ready, rung] = [this.#ready, this.#rung];
    [this.#ready, this.#rung] = [[], []];
    for (const job of rung) now = this.#advance(job, now + 2_000);
    for (const { connection, kind } of ready) {
      if (kind === 'open') now = this.send(connection, connection.owner as Job, main, now + 3_000);
      else if (kind === 'request') now = this.#follow(this.take(connection, main, now + 2_000), this.#loop.lag_request, now + 10_000);
      else {
        const job = connection.owner as Job;
        now = this.finish(connection, main, now + 2_000, this.#pools);
        job.open -= 1;
        if (job.open === 0) now = this.#follow(job, this.#loop.lag_answer, now);
      }
    }
    this.#free_at = now;
    if (this.#ready.length + this.#rung.length + this.#later.length > 0) this.#turnAt(now + 4_000);
  }

  #follow(job: Job, lag: number, at: number): number {
    const { sleep_ns } = this.#loop;
    const now = at + this.work() / 2;
    if (sleep_ns > 0) this.world.heap.push(now + this.world.random.exponential(sleep_ns), new Timer(this, job), TIMER);
    else if (lag > 0) this.#later.push({ turn: this.process.main.turn + lag, job });
    else return this.#advance(job, now);
    return now;
  }

  #advance(job: Job, at: number): number {
    const { main } = this.process;
    let now = at + this.work() / 2;
    let step = this.service.callees[job.step];
    while (step !== undefined && this.isSkipped(job)) step = this.service.callees[++job.step];
    job.step += 1;
    if (step === undefined) return this.respond(job, main, now);
    job.open = step.length;
    for (const callee of step) {
      const kept = (this.#pools[callee.index] ??= []).pop();
      if (kept !== undefined) now = this.send(kept, job, main, now);
      else {
        const connection = this.connect(callee, main, now);
        connection.owner = job;
        this.world.heap.push(this.openAt(connection, now), { act: (open) => this.opened(connection, open) });
        now += 20_000;
      }
    }
    return now;
  }
}
