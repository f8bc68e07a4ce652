// The kinds of services whose traces must be right, as a table: how to start one, and what it does for a request.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceSpec } from '../../demo/service-group.ts';
import { packageRoot } from '../../schema/package-root.ts';
import { apacheFastcgiConfig, apacheProxyConfig, fpmConfig, nginxConfig, phpFpm } from './server-configs.ts';
import { PROXIED_TREE, TREE, type Hop } from './tree.ts';

export interface Shape {
  readonly tree: Hop;
  /** At most so many requests in flight: what thread identity alone can tell apart. */
  readonly most_in_flight: number;
  /** The load generator keeps its connections. */
  readonly keep: boolean;
  /** folder: for configurations and sockets, readable by any user. */
  services(folder: string): ServiceSpec[];
}

const HOPS = ['a', 'b', 'c', 'd'] as const;
export const PORTS: Readonly<Record<string, number>> = { n: 8000, a: 8001, b: 8002, c: 8003, d: 8004 };
const ANY = Number.POSITIVE_INFINITY;
const script = (name: string): string => join(packageRoot(), 'test/accuracy/services', name);
const port = (hop: string): number => PORTS[hop] as number;

/** Debian's own, whatever comes first in PATH: its packages hold Flask. */
const PYTHON = '/usr/bin/python3';

function python(hop: string, ...args: readonly string[]): ServiceSpec {
  return { name: hop, command: [PYTHON, ...args], ports: [port(hop)], env: { PYTHONDONTWRITEBYTECODE: '1' } };
}

const threads = (way: string): ServiceSpec[] => HOPS.map((hop) => python(hop, script('threads.py'), hop, way));

const pools = (way: string): ServiceSpec[] => HOPS.map((hop) => python(hop, script('pools.py'), hop, way));

/** The services behind a proxy that reaches A over a Unix socket. */
function behindSocket(folder: string): ServiceSpec[] {
  const socket = join(folder, 'a.sock');
  const [, ...rest] = threads('thread');
  return [{ ...python('a', script('threads.py'), 'a', 'thread', socket), ports: [], sockets: [socket] }, ...rest];
}

function nginx(folder: string, upstream: string): ServiceSpec {
  const config = join(folder, 'nginx.conf');
  writeFileSync(config, nginxConfig(folder, port('n'), upstream));
  return { name: 'nginx', command: ['/usr/sbin/nginx', '-e', 'stderr', '-c', config, '-g', 'daemon off;'], ports: [port('n')] };
}

function apache(folder: string, text: string, ports: readonly number[]): ServiceSpec {
  const config = join(folder, 'apache.conf');
  writeFileSync(config, text);
  return { name: 'apache', command: ['/usr/sbin/apache2', '-d', folder, '-f', config, '-DFOREGROUND'], ports };
}

function apacheWithFpm(folder: string): ServiceSpec[] {
  const documents = join(folder, 'php');
  mkdirSync(documents, { recursive: true });
  copyFileSync(script('hop.php'), join(documents, 'hop.php'));
  const config = join(folder, 'fpm.conf');
  writeFileSync(config, fpmConfig(folder, HOPS));
  return [
    { name: 'php-fpm', command: [phpFpm(), '-F', '-R', '-y', config], sockets: HOPS.map((hop) => join(folder, `fpm-${hop}.sock`)) },
    apache(folder, apacheFastcgiConfig(folder, documents, HOPS.map((hop) => [hop, port(hop)])), HOPS.map(port)),
  ];
}

export const SHAPES: Readonly<Record<string, Shape>> = {
  'thread-per-connection': { tree: TREE, most_in_flight: ANY, keep: false, services: () => threads('fresh') },
  'kept-connections': { tree: TREE, most_in_flight: ANY, keep: true, services: () => threads('thread') },
  'shared-pool': { tree: TREE, most_in_flight: ANY, keep: true, services: () => threads('pool') },
  prefork: { tree: TREE, most_in_flight: ANY, keep: false, services: () => HOPS.map((hop) => python(hop, script('prefork.py'), hop)) },
  'gunicorn-flask': {
    tree: TREE,
    most_in_flight: ANY,
    keep: false,
    services: (folder) =>
      HOPS.map((hop) => python(hop, '/usr/bin/gunicorn', '--chdir', script(''), '--worker-tmp-dir', folder, '--bind', `127.0.0.1:${port(hop)}`, '--workers', '4', '--backlog', '128', 'flask_app:app')),
  },
  'apache-php-fpm': { tree: TREE, most_in_flight: ANY, keep: true, services: apacheWithFpm },
  'apache-proxy': {
    tree: PROXIED_TREE,
    most_in_flight: ANY,
    keep: true,
    services: (folder) => [...threads('thread'), apache(folder, apacheProxyConfig(folder, port('n'), `http://127.0.0.1:${port('a')}`), [port('n')])],
  },
  'worker-pool': { tree: TREE, most_in_flight: ANY, keep: true, services: () => pools('worker') },
  'selector-workers': { tree: TREE, most_in_flight: ANY, keep: true, services: () => pools('selector') },
  'thread-per-call': { tree: TREE, most_in_flight: ANY, keep: true, services: () => pools('per-call') },
  'waiting-reader': { tree: TREE, most_in_flight: ANY, keep: true, services: () => pools('waiting') },
  'asyncio-streams': { tree: TREE, most_in_flight: ANY, keep: true, services: () => HOPS.map((hop) => python(hop, script('asyncio_service.py'), hop)) },
  'loop-sleeps': { tree: TREE, most_in_flight: ANY, keep: true, services: () => HOPS.map((hop) => python(hop, script('asyncio_service.py'), hop, 'sleeps')) },
  'node-agent': { tree: TREE, most_in_flight: ANY, keep: true, services: () => HOPS.map((hop) => ({ name: hop, command: [process.execPath, script('node-service.mjs'), hop, 'eager'], ports: [port(hop)] })) },
  'nginx-proxy': { tree: PROXIED_TREE, most_in_flight: ANY, keep: true, services: (folder) => [...threads('thread'), nginx(folder, `127.0.0.1:${port('a')}`)] },
  node: { tree: TREE, most_in_flight: 1, keep: true, services: () => HOPS.map((hop) => ({ name: hop, command: [process.execPath, script('node-service.mjs'), hop], ports: [port(hop)] })) },
  'nginx-tcp': { tree: PROXIED_TREE, most_in_flight: 1, keep: true, services: (folder) => [...threads('thread'), nginx(folder, `127.0.0.1:${port('a')}`)] },
  'nginx-unix': { tree: PROXIED_TREE, most_in_flight: 1, keep: true, services: (folder) => [...behindSocket(folder), nginx(folder, `unix:${join(folder, 'a.sock')}`)] },
};
