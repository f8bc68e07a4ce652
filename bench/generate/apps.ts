// Applications: which services they are made of, of what kind, and which calls which. The kinds are those of the live accuracy tests.

export type Shape =
  | 'kept-connections' | 'shared-pool' | 'prefork' | 'worker-pool' | 'waiting-reader' | 'thread-per-call' | 'node' | 'node-parallel' | 'asyncio' | 'nginx'
  | 'go' | 'go-parallel' | 'java-pool' | 'timers';

export interface ServicePlan {
  readonly shape: Shape;
  /** In order; those of one step at once, where the shape can. */
  readonly steps: readonly (readonly string[])[];
  readonly replicas: number;
  /** Of each piece of work between two calls. */
  readonly work_ns: number;
  /** Callers reach it over a Unix socket of their node. */
  readonly unix?: boolean;
}

export interface App {
  /** What it is judged as. */
  readonly label: string;
  readonly root: string;
  readonly services: Readonly<Record<string, ServicePlan>>;
  /** Share of the fleet's applications. */
  readonly weight: number;
  readonly in_flight: number;
  readonly think_ns: number;
}

const PARALLEL = new Set<Shape>(['node-parallel', 'go-parallel', 'thread-per-call']);
/** How long a service of the shape takes for each piece of work, and how many processes serve. */
const WORK: Partial<Record<Shape, readonly [work_ns: number, replicas: number]>> = {
  node: [0.8e6, 2], 'node-parallel': [0.8e6, 2], asyncio: [0.8e6, 3], nginx: [0.1e6, 2], timers: [0.5e6, 2], prefork: [4e6, 1],
};

/** Six services, four levels deep: a calls b, then c; b calls d, e; d calls f. */
function tree(shape: Shape): Record<string, ServicePlan> {
  const [work_ns, replicas] = WORK[shape] ?? [4e6, 2];
  const together = PARALLEL.has(shape);
  const plan = (...calls: string[]): ServicePlan => ({ shape, steps: together && calls.length > 0 ? [calls] : calls.map((call) => [call]), replicas, work_ns });
  return { a: plan('b', 'c'), b: plan('d', 'e'), c: plan(), d: plan('f'), e: plan(), f: plan() };
}

const uniform = (shape: Shape, weight: number, in_flight = 24, think_ns = 100e6): App => ({ label: shape, root: 'a', services: tree(shape), weight, in_flight, think_ns });

/** The default mix: weights are shares of the fleet's applications. */
export const APPS: readonly App[] = [
  uniform('kept-connections', 14),
  uniform('shared-pool', 12),
  uniform('prefork', 8),
  uniform('worker-pool', 10),
  uniform('waiting-reader', 6),
  uniform('thread-per-call', 4),
  uniform('node', 10),
  uniform('node-parallel', 5),
  uniform('asyncio', 8),
  {
    label: 'nginx', root: 'n', weight: 8, in_flight: 24, think_ns: 100e6,
    services: { ...tree('kept-connections'), n: { shape: 'nginx', steps: [['a']], replicas: 1, work_ns: 0.1e6 }, a: { shape: 'shared-pool', steps: [['b'], ['c']], replicas: 1, work_ns: 4e6, unix: true } },
  },
  uniform('go', 6),
  uniform('go-parallel', 3),
  uniform('java-pool', 3),
  uniform('timers', 3),
  {
    label: 'mix', root: 'n', weight: 6, in_flight: 24, think_ns: 100e6,
    services: {
      ...tree('kept-connections'), n: { shape: 'nginx', steps: [['a']], replicas: 2, work_ns: 0.1e6 }, a: { shape: 'node', steps: [['b'], ['c']], replicas: 2, work_ns: 0.8e6 },
      b: { shape: 'go', steps: [['d'], ['e']], replicas: 2, work_ns: 3e6 }, c: { shape: 'asyncio', steps: [], replicas: 2, work_ns: 0.8e6 }, d: { shape: 'worker-pool', steps: [['f']], replicas: 2, work_ns: 4e6 },
    },
  },
];

export const appNamed = (label: string): App => {
  const app = APPS.find((one) => one.label === label);
  if (app === undefined) throw new Error(`there is no shape ${label}; there are ${APPS.map((one) => one.label).join(', ')}`);
  return app;
};
