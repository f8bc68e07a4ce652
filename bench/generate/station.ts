// One process (or a group of them behind one listening socket) of a service: what all kinds have in common. It reads requests,
// calls others, answers. When and on which thread is what makes the kinds.
import { RESPONSE } from './connection.ts';
import type { Caller, Connection } from './connection.ts';
import type { Job } from './job.ts';
import { CALL_NS, closeByCaller, connect, ipWord, send, writeText } from './network.ts';
import type { Habits, Task } from './network.ts';
import type { Service } from './service.ts';
import type { SocketEnd, Text } from './socket-end.ts';
import { SimulatedProcess } from './simulated-process.ts';
import type { SimulatedThread } from './simulated-process.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { World } from './world.ts';

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

  /** Its caller has closed it. */
  closed(_connection: Connection, _at: number): void {}

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
  protected take(connection: Connection, thread: SimulatedThread, at: number, task?: Task, from = 0): Job {
    const { world } = this;
    const job = connection.job as Job;
    this.readText(connection.server, thread, at, connection.request, task, from);
    job.thread = thread;
    thread.held += 1;
    connection.server_thread = thread;
    // Of errors, most begin at the bottom.
    if (this.service.callees.length === 0 && world.random.chance(0.004)) job.failed = 1 + world.random.index(3);
    return job;
  }

  protected readText(end: SocketEnd, thread: SimulatedThread, at: number, text: Text, task?: Task, first = 0): number {
    const size = text.head_length + text.body_length;
    let now = at;
    for (let from = first; from < size; now += CALL_NS) {
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

  /** The calls that come next. The first of a request are always made, some of the others not: the answer is in a cache. */
  protected nextStep(job: Job): readonly Service[] | undefined {
    const { callees } = this.service;
    while (job.step > 0 && job.step < callees.length && this.world.random.chance(0.1)) job.step += 1;
    job.step += 1;
    return callees[job.step - 1];
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
