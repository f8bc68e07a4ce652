// Processes whose threads do work for each other, told exchange by exchange: call `c4.1` belongs to request `R4`.
import { seededRandom } from '../../queries/timing/resolve-service.ts';
import type { Moved, Told } from './told-process.ts';

export interface Story {
  readonly told: readonly Told[];
  readonly moved: readonly Moved[];
}

export interface Load {
  readonly threads: number;
  readonly requests: number;
  readonly per_second: number;
  readonly seed?: number;
}

interface Acts {
  readonly random: () => number;
  /** Runs it then. */
  readonly later: (at: number, act: (now: number) => void) => void;
}

/** In ms: 4 to 8 long, with its pauses. */
const CALL_MS = 4;
const PAUSE_MS = 0.3;

function simulate({ requests, per_second, seed = 1 }: Load, begin: (acts: Acts, request: number, now: number) => void): void {
  const random = seededRandom(seed);
  const queue: { at: number; act: (now: number) => void }[] = [];
  const later: Acts['later'] = (at, act) => {
    let place = queue.length;
    while (place > 0 && (queue[place - 1] as { at: number }).at > at) place -= 1;
    queue.splice(place, 0, { at, act });
  };
  let now = 0;
  for (let request = 0; request < requests; request += 1) {
    now += (-Math.log(1 - random()) * 1000) / per_second;
    later(now, (then) => begin({ random, later }, request, then));
  }
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) next.act(next.at);
}

/** A turn for each thing that a thread reads or is woken for; what it writes, it writes in the turn at hand. */
function withTurns(told: readonly Told[], moved: readonly Moved[]): Told[] {
  const begun = new Map<number, number[]>();
  const begin = (thread: number, at: number): unknown => begun.set(thread, [...(begun.get(thread) ?? []), at]);
  for (const one of told) begin(one.threads[one.kind === 'server' ? 0 : 1], one.kind === 'server' ? one.from : one.to);
  for (const { op, target, at } of moved) if (op === 'wake' && target !== undefined) begin(target, at);
  const turn = (thread: number, at: number): number => 1 + (begun.get(thread) ?? []).filter((then) => then <= at).length;
  return told.map((one) => ({
    ...one,
    turns: [turn(one.threads[0], one.from), turn(one.threads[1], one.to)],
    ...(one.connect === undefined ? {} : { connect: { ...one.connect, turn: turn(one.connect.thread ?? one.threads[0], one.connect.at) } }),
  }));
}

/** Loops that keep their connections to themselves, and a pool of connections that all of them share: who calls wakes the loop of the connection. */
export function sharedPoolOfLoops(load: Load & { readonly own_pools?: boolean }): Story {
  const told: Told[] = [];
  const moved: Moved[] = [];
  const servers: number[] = [];
  const pool: { name: string; thread: number }[] = [];
  let [accepted, opened] = [0, 0];
  simulate(load, ({ random, later }, request, begun) => {
    const server = servers.shift() ?? (accepted += 1);
    const loop = 1 + (server % load.threads);
    const call = (number: number, now: number): void => {
      if (number > 2) {
        told.push({ name: `R${request}`, on: `in ${server}`, kind: 'server', from: begun, to: now, threads: [loop, loop] });
        servers.push(server);
        return;
      }
      const idle = load.own_pools === true ? pool.findLastIndex(({ thread }) => thread === loop) : pool.length - 1;
      const kept = idle < 0 ? undefined : pool.splice(idle, 1)[0];
      const connection = kept ?? { name: `out ${(opened += 1)}`, thread: loop };
      const elsewhere = connection.thread !== loop;
      const from = now + (elsewhere ? 0.05 : 0) + (kept === undefined ? 0.2 : 0);
      const to = from + CALL_MS * (0.5 + random());
      if (elsewhere) moved.push({ op: 'wake', at: now, thread: loop, target: connection.thread }, { op: 'wake', at: to + 0.01, thread: connection.thread, target: loop });
      told.push({ name: `c${request}.${number}`, on: connection.name, kind: 'client', from, to, threads: [connection.thread, connection.thread], port: 80 + number, ...(kept === undefined ? { connect: { at: now, turn: 0, thread: loop } } : {}) });
      later(to + PAUSE_MS, (then) => {
        pool.push(connection);
        call(number + 1, then);
      });
    };
    later(begun + PAUSE_MS, (now) => call(1, now));
  });
  return { told: withTurns(told, moved).toSorted((a, b) => a.from - b.from), moved: moved.toSorted((a, b) => a.at - b.at) };
}

/** Who reads a request: the one that works on it, anybody, a thread that does nothing else (100), or either that or the one that works. */
export type Reads = 'worker' | 'anybody' | 'reactor' | 'either';

/** Threads that wait for their calls, and take whatever is to be done next. `after`: the one that has answered calls once more, on its own account. */
export function sharedThreads(load: Load & { readonly reads: Reads; readonly answers: 'worker' | 'anybody'; readonly after?: boolean }): Story {
  const told: Told[] = [];
  const free = Array.from({ length: load.threads }, (_, place) => place + 1);
  const waiting: ((thread: number, now: number) => void)[] = [];
  const connections: number[] = [];
  let opened = 0;
  simulate(load, ({ random, later }, request, begun) => {
    const take = (at: number, job: (thread: number, now: number) => void): void => later(at, (now) => {
      const [thread] = free.splice(Math.floor(random() * free.length), 1);
      if (thread === undefined) waiting.push(job);
      else job(thread, now);
    });
    const letGo = (thread: number, at: number): void => later(at, (now) => {
      const next = waiting.shift();
      if (next === undefined) free.push(thread);
      else next(thread, now);
    });
    const call = (name: string, thread: number, from: number, then: (now: number) => void): void => {
      const connection = connections.pop() ?? (opened += 1);
      const to = from + CALL_MS * (0.5 + random());
      told.push({ name, on: `out ${connection}`, kind: 'client', from, to, threads: [thread, thread], port: 81 });
      later(to + PAUSE_MS, (now) => {
        connections.push(connection);
        then(now);
      });
    };
    const work = (reader: number, read: number) => (thread: number, now: number): void => {
      const answer = (by: number, at: number): void => {
        told.push({ name: `R${request}`, kind: 'server', from: read, to: at, threads: [reader, by] });
        if (load.after === true) call(`own${request}`, by, at + 0.05, (then) => letGo(by, then));
        else letGo(by, at + 0.02);
      };
      call(`c${request}.1`, thread, now + 0.1, (then) => {
        if (load.answers === 'worker') return answer(thread, then);
        letGo(thread, then);
        take(then + 0.01, answer);
      });
    };
    const reactor = load.reads === 'reactor' || (load.reads === 'either' && random() < 0.5);
    if (reactor) return take(begun + 0.05, work(100, begun));
    take(begun, (thread, read) => {
      if (load.reads !== 'anybody') return work(thread, read)(thread, read);
      letGo(thread, read + 0.05);
      take(read + 0.05, work(thread, read));
    });
  });
  return { told: withTurns(told, []).toSorted((a, b) => a.from - b.from), moved: [] };
}
