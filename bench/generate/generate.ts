// Raw events of a large simulated fleet, as its collectors would hand them on: batches, in the order of time, as many as are asked for.
import type { Batch } from '../../ingest/batch.ts';
import { APPS, appNamed } from './apps.ts';
import { makeNodes, shareOut, startApp } from './fleet.ts';
import type { FleetOptions } from './fleet.ts';
import { Random } from './random.ts';
import type { TruthSink } from './truth.ts';
import { World } from './world.ts';

export interface GenerateOptions extends Partial<FleetOptions> {
  /** Socket events: at least so many; what is under way then comes to its end. */
  readonly events: number;
  readonly seed?: number;
  readonly shapes?: readonly string[];
  readonly applications?: number;
  readonly truth?: TruthSink;
}

export interface Generated {
  events: number;
  events_lost: number;
  requests: number;
  calls: number;
  /** What the calling thread held does not tell whose these are. */
  ambiguous_calls: number;
  simulated_seconds: number;
}

/** 2026-11-23, a Monday. */
export const START_NS = 1_795_392_000_000_000_000n;
const FLEET: FleetOptions = { nodes: 8, skew_ms: 20, drift_ppm: 10, loss_share: 0.0001, nat_share: 0.5, keep_payload: false, start_ns: START_NS };
const STEPS_AT_ONCE = 4096;
/** How long what is under way may take. */
const DRAIN_NS = 2e9;

export function* generate(options: GenerateOptions): Generator<Batch, Generated> {
  const { events, seed = 1, shapes, truth } = options;
  const apps = shapes === undefined ? APPS : shapes.map(appNamed);
  const world = new World(new Random(seed), truth ?? null);
  const fleet = { ...FLEET, ...options };
  const batches: Batch[] = [];
  const nodes = makeNodes(world, fleet, (batch) => batches.push(batch));
  for (const [number, app] of shareOut(apps, options.applications ?? Math.max(apps.length, 16)).entries()) startApp(world, app, number, nodes, world.random.chance(fleet.nat_share));
  const made = (): number => nodes.reduce((sum, node) => sum + node.events, 0);
  const { heap } = world;
  let ends = Infinity;
  while (heap.next_at < ends) {
    for (let step = 0; step < STEPS_AT_ONCE && heap.next_at < ends; step += 1) heap.step();
    yield* batches.splice(0);
    if (world.stopping || made() < events) continue;
    world.stopping = true;
    ends = heap.next_at + DRAIN_NS;
  }
  for (const node of nodes) node.end(ends);
  yield* batches.splice(0);
  return {
    events: made(), events_lost: nodes.reduce((sum, node) => sum + node.events_lost, 0), requests: world.requests,
    calls: world.calls, ambiguous_calls: world.ambiguous_calls, simulated_seconds: ends / 1e9,
  };
}
