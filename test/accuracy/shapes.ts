// The kinds of services whose traces are measured, as a table: how to start one, what it does for a request, what must come out.
import type { ServiceSpec } from '../../demo/service-group.ts';
import { aiohttp, apacheProxy, asyncio, behindSocket, fastapi, fpmBehind, go, gunicorn, java, mix, nginx, node, pools, prefork, puma, threads, tokio } from './shape-services.ts';
import type { Verdict } from './judge.ts';
import { PROXIED_TREE, TREE, type Hop } from './tree.ts';

/** In % of the traces (exact: up to 8 in flight, above) and of the links (wrong: at most). */
export interface Goal {
  readonly exact: readonly [number, number];
  readonly wrong: number;
}

export interface Shape {
  readonly tree: Hop;
  /** At most so many requests in flight, where the shape allows no more. */
  readonly most_in_flight: number;
  /** The load generator keeps its connections. */
  readonly keep: boolean;
  readonly goal: Goal;
  /** Programs that have to be there; Debian's packages that `npm test` installs are not named. */
  readonly needs: readonly string[];
  /** folder: for configurations and sockets, readable by any user. */
  services(folder: string): ServiceSpec[];
}

const SAME_THREAD: Goal = { exact: [99.9, 99.9], wrong: 0.1 };
const WORKERS: Goal = { exact: [99.5, 99.5], wrong: 0.1 };
const HANDED_BACK: Goal = { exact: [97, 95], wrong: 0.5 };
const LOOP: Goal = { exact: [99, 96], wrong: 0.5 };
const LOOP_LIBRARY: Goal = { exact: [95, 85], wrong: 1 };

function shape(goal: Goal, services: (folder: string) => ServiceSpec[], { tree = TREE, keep = true, most_in_flight = Number.POSITIVE_INFINITY, needs = [] as readonly string[] } = {}): Shape {
  return { tree, most_in_flight, keep, goal, needs, services };
}

const proxied = { tree: PROXIED_TREE };

export const SHAPES: Readonly<Record<string, Shape>> = {
  'thread-per-connection': shape(SAME_THREAD, () => threads('fresh'), { keep: false }),
  'kept-connections': shape(SAME_THREAD, () => threads('thread')),
  'shared-pool': shape(SAME_THREAD, () => threads('pool')),
  prefork: shape(SAME_THREAD, () => prefork(), { keep: false }),
  'gunicorn-flask': shape(SAME_THREAD, (folder) => gunicorn(folder, '--workers', '4'), { keep: false }),
  'apache-php-fpm': shape(SAME_THREAD, (folder) => fpmBehind(folder, 'apache')),
  'apache-proxy': shape(SAME_THREAD, (folder) => [...threads('thread'), apacheProxy(folder)], proxied),
  'worker-pool': shape(WORKERS, () => pools('worker')),
  'selector-workers': shape(WORKERS, () => pools('selector')),
  'thread-per-call': shape(WORKERS, () => pools('per-call')),
  'waiting-reader': shape(HANDED_BACK, () => pools('waiting')),
  'nginx-php-fpm': shape(HANDED_BACK, (folder) => fpmBehind(folder, 'nginx')),
  'nginx-puma': shape(HANDED_BACK, (folder) => [...puma(), nginx(folder)], { ...proxied, needs: ['puma'] }),
  'nginx-gthread': shape(HANDED_BACK, (folder) => [...gunicorn(folder, '--worker-class', 'gthread', '--workers', '1', '--threads', '16'), nginx(folder)], proxied),
  'node-agent': shape(LOOP, () => node('eager')),
  'node-fetch': shape(LOOP, () => node('eager', 'fetch')),
  'node-parallel': shape(LOOP, () => node('eager', 'parallel')),
  'asyncio-streams': shape(LOOP, () => asyncio()),
  'asyncio-parallel': shape(LOOP, () => asyncio('parallel')),
  'nginx-proxy': shape(LOOP, (folder) => [...threads('thread'), nginx(folder)], proxied),
  'nginx-unix': shape(LOOP, (folder) => [...behindSocket(folder), nginx(folder, `unix:${folder}/a.sock`)], proxied),
  aiohttp: shape(LOOP_LIBRARY, () => aiohttp(), { needs: ['aiohttp'] }),
  'aiohttp-parallel': shape(LOOP_LIBRARY, () => aiohttp('parallel'), { needs: ['aiohttp'] }),
  'fastapi-aiohttp': shape(LOOP_LIBRARY, () => fastapi('aiohttp'), { needs: ['fastapi', 'uvicorn', 'aiohttp'] }),
  'fastapi-httpx': shape({ exact: [90, 80], wrong: 1 }, () => fastapi('httpx'), { needs: ['fastapi', 'uvicorn', 'httpx'] }),
  'go-http': shape(WORKERS, () => go({ a: 'sequential', b: 'sequential', c: 'sequential', d: 'sequential' }), { needs: ['go'] }),
  'go-parallel': shape(WORKERS, () => go({ a: 'parallel', b: 'parallel', c: 'parallel', d: 'parallel' }), { needs: ['go'] }),
  'go-proxy': shape(WORKERS, () => [...threads('thread'), ...go({ n: 'proxy' })], { ...proxied, needs: ['go'] }),
  'java-pool': shape({ exact: [88, 80], wrong: 1 }, () => java('blocking'), { needs: ['javac'] }),
  'java-async': shape({ exact: [85, 70], wrong: 1 }, () => java('async'), { needs: ['javac'] }),
  tokio: shape({ exact: [85, 70], wrong: 1 }, () => tokio(), { needs: ['cargo'] }),
  mix: shape({ exact: [92, 88], wrong: 1 }, () => mix(), { ...proxied, needs: ['go', 'javac'] }),
  /** Nothing in the kernel knows which timer belongs to which request: what matters is that nothing is claimed. */
  'loop-sleeps': shape({ exact: [0, 0], wrong: 1 }, () => asyncio('sleeps')),
  'node-sleeps': shape({ exact: [0, 0], wrong: 1 }, () => node()),
};

/** What a verdict lacks of the shape's goal; nothing: all is well. */
export function missedGoals({ goal }: Shape, in_flight: number, { exact, requests, links }: Pick<Verdict, 'exact' | 'requests' | 'links'>): string[] {
  const wanted = goal.exact[in_flight <= 8 ? 0 : 1];
  const [exact_percent, wrong_percent] = [(100 * exact) / requests, (100 * links.wrong) / Math.max(1, links.expected)];
  return [
    ...(exact_percent < wanted ? [`${exact_percent.toFixed(2)} % of traces exact, wanted ${wanted}`] : []),
    ...(wrong_percent > goal.wrong ? [`${wrong_percent.toFixed(2)} % of links wrong, at most ${goal.wrong}`] : []),
  ];
}
