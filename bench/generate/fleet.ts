// The fleet: nodes with clocks of their own, and applications spread over them.
import type { Batch } from '../../ingest/batch.ts';
import type { App } from './apps.ts';
import { GoStation } from './go-station.ts';
import { makeRoutes } from './http-text.ts';
import { JavaStation } from './java-station.ts';
import { ASYNCIO, LoopStation, NGINX, NODE, TIMERS } from './loop-station.ts';
import { PreforkStation } from './prefork-station.ts';
import { RootClients } from './root-clients.ts';
import type { Service } from './service.ts';
import { SimulatedNode } from './simulated-node.ts';
import type { Station } from './station.ts';
import { ThreadStation } from './thread-station.ts';
import { WorkerStation } from './worker-station.ts';
import type { Shape } from './apps.ts';
import type { World } from './world.ts';

const STATIONS: Readonly<Record<Shape, (world: World, service: Service, node: SimulatedNode) => Station>> = {
  'kept-connections': (world, service, node) => new ThreadStation(world, service, node, 'own'),
  'shared-pool': (world, service, node) => new ThreadStation(world, service, node, 'pool'),
  'thread-per-call': (world, service, node) => new ThreadStation(world, service, node, 'per-call'),
  prefork: (world, service, node) => new PreforkStation(world, service, node),
  'worker-pool': (world, service, node) => new WorkerStation(world, service, node, false),
  'waiting-reader': (world, service, node) => new WorkerStation(world, service, node, true),
  node: (world, service, node) => new LoopStation(world, service, node, NODE),
  'node-parallel': (world, service, node) => new LoopStation(world, service, node, NODE),
  asyncio: (world, service, node) => new LoopStation(world, service, node, ASYNCIO),
  nginx: (world, service, node) => new LoopStation(world, service, node, NGINX),
  timers: (world, service, node) => new LoopStation(world, service, node, TIMERS),
  go: (world, service, node) => new GoStation(world, service, node, false),
  'go-parallel': (world, service, node) => new GoStation(world, service, node, true),
  'java-pool': (world, service, node) => new JavaStation(world, service, node),
};

export interface FleetOptions {
  readonly nodes: number;
  /** Clocks differ by up to this, either way. */
  readonly skew_ms: number;
  /** They run fast or slow by up to this. */
  readonly drift_ppm: number;
  readonly loss_share: number;
  /** Of the applications whose addresses are translated. */
  readonly nat_share: number;
  readonly keep_payload: boolean;
  readonly start_ns: bigint;
  /** As NodeOptions say. */
  readonly on_frames?: (bytes: Uint8Array) => void;
}

export function makeNodes(world: World, options: FleetOptions, on_batch: (batch: Batch) => void): SimulatedNode[] {
  const { random, heap } = world;
  const spread = (most: number): number => (random.next() * 2 - 1) * most;
  return Array.from({ length: options.nodes }, (_, at) => new SimulatedNode({
    name: `node-${String(at + 1).padStart(2, '0')}`, address: `10.${at >> 8}.${at & 255}`,
    utc_ns: options.start_ns + BigInt(Math.round(spread(options.skew_ms) * 1e6)), mono_ns: BigInt(Math.floor(3.6e12 * (1 + random.next() * 1000))),
    drift: spread(options.drift_ppm) / 1e6, loss_share: options.loss_share, keep_payload: options.keep_payload, on_batch,
    ...(options.on_frames === undefined ? {} : { on_frames: options.on_frames }),
  }, random, heap));
}

/** Of so many applications, how many of each kind: at least one, the rest by weight. */
export function shareOut(apps: readonly App[], count: number): App[] {
  const weight = apps.reduce((sum, app) => sum + app.weight, 0);
  const shares = apps.map((app) => ({ app, wanted: (app.weight / weight) * count, given: 1 }));
  for (let left = count - apps.length; left > 0; left -= 1) {
    const next = shares.reduce((most, one) => (one.wanted - one.given > most.wanted - most.given ? one : most));
    next.given += 1;
  }
  return shares.flatMap(({ app, given }) => Array.from({ length: given }, () => app));
}

/** Every other application is asked by clients that nobody watches. */
export function startApp(world: World, app: App, number: number, nodes: readonly SimulatedNode[], nat: boolean): void {
  const { random } = world;
  const names = Object.keys(app.services);
  const services = new Map(names.map((name, index): [string, Service] => {
    const plan = app.services[name] as App['services'][string];
    const own_name = `${app.label}-${number}-${name}`;
    const virtual_ip = nat ? 10 | (96 << 8) | (number << 16) | ((index + 1) << 24) : null;
    return [name, { app, name: own_name, plan, index, routes: makeRoutes(own_name, `${own_name}.svc.cluster.local`, random), virtual_ip, callees: [], stations: [], next_station: 0 }];
  }));
  for (const service of services.values()) for (const step of service.plan.steps) service.callees.push(step.map((name) => services.get(name) as Service));
  const first = random.index(nodes.length);
  let place = 0;
  for (const service of services.values()) {
    for (let replica = 0; replica < service.plan.replicas; replica += 1) {
      // What is reached over a Unix socket stands on the node of what reaches it.
      const at = service.plan.unix === true || (service.plan.shape === 'nginx' && app.label === 'nginx') ? first : first + place++;
      STATIONS[service.plan.shape](world, service, nodes[at % nodes.length] as SimulatedNode);
    }
  }
  const clients = new RootClients(world, services.get(app.root) as Service, number % 2 === 0 ? (nodes[random.index(nodes.length)] as SimulatedNode) : null);
  clients.start();
}
