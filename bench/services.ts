// What tracing costs a service that does what services do: throughput and p99 of a closed loop that saturates it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeTraces } from '../api/formats/otlp-protobuf.ts';
import { packageRoot } from '../schema/package-root.ts';
import { setStage, type Stage } from '../test/accuracy/stage.ts';
import { collectBytes } from './collect-bytes.ts';
import { alternate, figure, rounded, spread } from './figure.ts';
import type { Figure, Goal } from './figure.ts';
import { startCollect, startUp } from './node-tracing.ts';
import type { Seen, Tracing } from './node-tracing.ts';
import { flaskOrders, nodeOrders, openTelemetry, stock } from './orders.ts';
import { cpuSeconds, ownBytes } from './process-memory.ts';
import { sink, takenBySink } from './sink.ts';
import { measureWarehouse } from './warehouse-cost.ts';
import { wrk, type Load } from './wrk.ts';

const PORT = 8000;
const INSTRUMENTED_PORT = 8002;
const BATCHES_PORT = 7070;
const SPANS_PORT = 4318;
/** Before each measurement. The services run through all rounds and are warm; a collector is new in each, and one that runs for weeks has long
 * been compiled. */
const WARM_SECONDS = 2;

export interface Length {
  readonly rounds: number;
  readonly seconds: number;
  /** That a new collector runs before it is measured. */
  readonly warm_seconds: number;
  /** Which has no goal. */
  readonly with_up: boolean;
}

interface Round extends Load {
  /** Seconds on a core while the load ran: of the service with its children, of the collector, of its loader. */
  readonly service_s: number;
  readonly collector_s: number;
  readonly loader_s: number;
  /** Memory of their own when the load ended. */
  readonly collector_bytes: number;
  readonly loader_bytes: number;
  /** Of all processes on all cores. */
  readonly busy_s: number;
  /** Warming up included. */
  readonly all_requests: number;
  readonly seen: Seen;
}

const NOTHING: Seen = { events: 0, socket_events: 0, lost: 0, bytes_sent: 0 };

const children = (pid: number): number[] => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

/** Source: /proc/stat, ticks of 10 ms: user, nice, system, irq, softirq. */
function busySeconds(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (/^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? '').split(' ').map(Number);
  return (user + nice + system + irq + softirq) / 100;
}

export class Measured {
  readonly stage: Stage;
  readonly #seconds: number;
  /** Of a collector. */
  readonly #warm_seconds: number;
  /** What the last collector sent. */
  bodies: readonly Uint8Array[] = [];

  constructor(stage: Stage, seconds: number, warm_seconds: number) {
    this.stage = stage;
    this.#seconds = seconds;
    this.#warm_seconds = warm_seconds;
  }

  pid(name: string): number {
    return this.stage.services.pids[this.stage.services.names.indexOf(name)] as number;
  }

  load(port: number, seconds: number): Promise<Load> {
    return wrk(this.stage, `http://127.0.0.1:${port}/`, seconds, join(packageRoot(), 'bench', 'distinct-paths.lua'));
  }

  async run(service: string, port: number, start?: () => Promise<Tracing>): Promise<Round> {
    const pid = this.pid(service);
    const tracing = await start?.();
    let seen: Seen = NOTHING;
    const used = (): number[] => [[pid, ...children(pid)], tracing === undefined ? [] : [tracing.collector], tracing?.loader === undefined ? [] : [tracing.loader]].map((pids) => pids.reduce((sum, one) => sum + cpuSeconds(one), 0));
    try {
      const warm = await this.load(port, tracing === undefined ? WARM_SECONDS : this.#warm_seconds);
      const [before, busy] = [used(), busySeconds()];
      const load = await this.load(port, this.#seconds);
      const [service_s = 0, collector_s = 0, loader_s = 0] = used().map((after, at) => after - (before[at] as number));
      const busy_s = busySeconds() - busy;
      const [collector_bytes, loader_bytes] = [ownBytes(tracing?.collector ?? 0), ownBytes(tracing?.loader ?? 0)];
      if (tracing !== undefined) {
        const { bodies, ...counted } = await tracing.stop();
        seen = counted;
        if (bodies.length > 0) this.bodies = bodies;
      }
      return { ...load, service_s, collector_s, loader_s, collector_bytes, loader_bytes, busy_s, all_requests: warm.requests + load.requests, seen };
    } catch (error) {
      await tracing?.stop().catch(() => undefined);
      throw error;
    }
  }
}

const sum = (rounds: readonly Round[], of: (round: Round) => number): number => rounds.reduce((total, round) => total + of(round), 0);

export function costs(rounds: readonly Round[], seconds: number): Record<string, number> {
  const [requests, events] = [sum(rounds, (round) => round.requests), sum(rounds, (round) => round.seen.events)];
  const us = (of: (round: Round) => number): number => rounded((sum(rounds, of) / requests) * 1e6);
  return {
    service_cpu_us_a_request: us((round) => round.service_s),
    ...(events === 0
      ? {}
      : {
          collector_cpu_us_a_request: us((round) => round.collector_s),
          loader_cpu_us_a_request: us((round) => round.loader_s),
          collector_mib: Math.round(Math.max(...rounds.map((round) => round.collector_bytes)) / 2 ** 20),
          loader_mib: Math.round(Math.max(...rounds.map((round) => round.loader_bytes)) / 2 ** 20),
          socket_events_a_request: rounded(sum(rounds, (round) => round.seen.socket_events) / sum(rounds, (round) => round.all_requests)),
          events_a_request: rounded(events / sum(rounds, (round) => round.all_requests)),
        }),
    ...(sum(rounds, (round) => round.seen.bytes_sent) === 0 ? {} : { network_bytes_an_event: rounded(sum(rounds, (round) => round.seen.bytes_sent) / events) }),
    cores_busy: rounded(sum(rounds, (round) => round.busy_s) / rounds.length / seconds),
  };
}

/** Of what the kernel had to tell; NaN would be a run that saw nothing, which is no result either. */
const lostShare = (rounds: readonly Round[]): number => sum(rounds, ({ seen }) => seen.lost) / sum(rounds, ({ seen }) => seen.lost + seen.events);

const THROUGHPUT: Goal = { of: 'low', at_least: 0.95 };
const P99: Goal = { of: 'ratio', at_most: 1.1 };

/** Both figures of a traced variant beside the untraced rounds. */
function pair(service: string, variant: string, rounds: readonly Round[], untraced: readonly Round[], seconds: number, with_goal: boolean): Figure[] {
  const lost_share = lostShare(rounds);
  const one = (name: string, unit: string, of: (round: Round) => number, goal: Goal, notes: Record<string, number>): Figure =>
    figure({ figure: name, variant: `${service}, ${variant}`, unit, values: rounds.map(of), reference: { what: 'untraced', values: untraced.map(of) }, lost_share, notes, ...(with_goal ? { goal } : {}) });
  return [
    one('service_throughput', 'requests/s', (round) => round.per_second, THROUGHPUT, costs(rounds, seconds)),
    one('service_p99', 'ms', (round) => round.p99_ms, P99, { p50_ms: spread(rounds.map(({ p50_ms }) => p50_ms)).median, untraced_p50_ms: spread(untraced.map(({ p50_ms }) => p50_ms)).median }),
  ];
}

const spansIn = (body: Uint8Array): number => decodeTraces(body).resourceSpans.reduce((all, { scopeSpans }) => all + scopeSpans.reduce((some, { spans }) => some + spans.length, 0), 0);

/** Warehouse and correlation on the cores that serve. */
async function besideUp(measured: Measured, name: string, scopes: readonly string[], { rounds, seconds, with_up }: Pick<Length, 'rounds' | 'seconds' | 'with_up'>): Promise<Figure[]> {
  if (!with_up) return [];
  const found = await alternate(rounds, { untraced: () => measured.run(name, PORT), up: () => measured.run(name, PORT, () => startUp(scopes)) });
  return pair(name, 'up on the same cores', found.up, found.untraced, seconds, false);
}

export async function measureNode({ rounds, seconds, warm_seconds, with_up }: Length): Promise<Figure[]> {
  const stage = await setStage((folder) => [
    stock(folder), sink(folder, BATCHES_PORT), sink(folder, SPANS_PORT),
    nodeOrders({ name: 'node', port: PORT }), nodeOrders({ name: 'instrumented', port: INSTRUMENTED_PORT, sink_port: SPANS_PORT }),
  ]);
  try {
    const measured = new Measured(stage, seconds, warm_seconds);
    const scopes = [`pid:${measured.pid('node')}`];
    let spans = 0;
    const found = await alternate(rounds, {
      untraced: () => measured.run('node', PORT),
      collect: () => measured.run('node', PORT, () => startCollect(stage, scopes, BATCHES_PORT)),
      instrumented: async () => {
        const round = await measured.run('instrumented', INSTRUMENTED_PORT);
        await new Promise((resolve) => setTimeout(resolve, 6000)); // its exporter sends every 5 s
        for (const body of await takenBySink(stage, SPANS_PORT)) spans += spansIn(body);
        return round;
      },
    });
    const speeds = (of: readonly Round[]): number[] => of.map((round) => round.per_second);
    const reference = { what: 'untraced', values: speeds(found.untraced) };
    // A server span and a client span a request.
    const spans_exported = rounded(spans / (2 * sum(found.instrumented, (round) => round.all_requests)));
    return [
      ...pair('node', 'collect', found.collect, found.untraced, seconds, true),
      ...(await besideUp(measured, 'node', scopes, { rounds, seconds, with_up })),
      figure({ figure: 'service_throughput', variant: 'node, OpenTelemetry', unit: 'requests/s', values: speeds(found.instrumented), reference, notes: { ...costs(found.instrumented, seconds), spans_exported, version: openTelemetry().version } }),
      figure({ figure: 'service_p99', variant: 'node, OpenTelemetry', unit: 'ms', values: found.instrumented.map(({ p99_ms }) => p99_ms), reference: { what: 'untraced', values: found.untraced.map(({ p99_ms }) => p99_ms) } }),
      figure({
        figure: 'service_throughput', variant: 'node, collect against OpenTelemetry', unit: 'requests/s', values: speeds(found.collect), reference: { what: 'OpenTelemetry', values: speeds(found.instrumented) },
        goal: { of: 'low', at_least: 1 }, lost_share: lostShare(found.collect),
      }),
      figure({ figure: 'service_throughput', variant: 'node, untraced', unit: 'requests/s', values: speeds(found.untraced), notes: costs(found.untraced, seconds) }),
      ...collectBytes('node', measured.bodies),
      ...(await measureWarehouse('node', measured.bodies)),
    ];
  } finally {
    await stage.stop();
  }
}

export async function measureFlask({ rounds, seconds, warm_seconds, with_up }: Length): Promise<Figure[]> {
  const stage = await setStage((folder) => [stock(folder), sink(folder, BATCHES_PORT), flaskOrders(folder, PORT)]);
  try {
    const measured = new Measured(stage, seconds, warm_seconds);
    const scopes = [`pid:${measured.pid('flask')}`];
    const found = await alternate(rounds, {
      untraced: () => measured.run('flask', PORT),
      collect: () => measured.run('flask', PORT, () => startCollect(stage, scopes, BATCHES_PORT)),
    });
    return [
      ...pair('flask', 'collect', found.collect, found.untraced, seconds, true),
      ...(await besideUp(measured, 'flask', scopes, { rounds, seconds, with_up })),
      figure({ figure: 'service_throughput', variant: 'flask, untraced', unit: 'requests/s', values: found.untraced.map(({ per_second }) => per_second), notes: costs(found.untraced, seconds) }),
      ...collectBytes('flask', measured.bodies),
      ...(await measureWarehouse('flask', measured.bodies)),
    ];
  } finally {
    await stage.stop();
  }
}

/** Of the service alone, as if what it calls and what calls it were elsewhere; the collector shares its cores. */
export async function measureServices(length: Length): Promise<Figure[]> {
  return [...(await measureNode(length)), ...(await measureFlask(length))];
}
