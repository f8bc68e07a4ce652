// How to start each kind of service: its commands, its configuration, what has to be built first.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceSpec } from '../../demo/service-group.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { packageRoot } from '../../schema/package-root.ts';
import { apacheFastcgiConfig, apacheProxyConfig, fpmConfig, nginxConfig, nginxFastcgiConfig, phpFpm } from './server-configs.ts';

export const HOPS = ['a', 'b', 'c', 'd'] as const;
export const PORTS: Readonly<Record<string, number>> = { n: 8000, a: 8001, b: 8002, c: 8003, d: 8004 };
const port = (hop: string): number => PORTS[hop] as number;
const services_folder = (): string => join(packageRoot(), 'test/accuracy/services');
const script = (name: string): string => join(services_folder(), name);

/** Debian's own, whatever comes first in PATH: its packages hold Flask and the like. */
const PYTHON = '/usr/bin/python3';

export function python(hop: string, ...args: readonly string[]): ServiceSpec {
  return { name: hop, command: [PYTHON, ...args], ports: [port(hop)], env: { PYTHONDONTWRITEBYTECODE: '1' } };
}

export const threads = (way: string): ServiceSpec[] => HOPS.map((hop) => python(hop, script('threads.py'), hop, way));
export const prefork = (): ServiceSpec[] => HOPS.map((hop) => python(hop, script('prefork.py'), hop));
export const pools = (way: string): ServiceSpec[] => HOPS.map((hop) => python(hop, script('pools.py'), hop, way));
export const asyncio = (...ways: readonly string[]): ServiceSpec[] => HOPS.map((hop) => python(hop, script('asyncio_service.py'), hop, ...ways));
export const aiohttp = (...ways: readonly string[]): ServiceSpec[] => HOPS.map((hop) => python(hop, script('aiohttp_service.py'), hop, ...ways));

export function node(...ways: readonly string[]): ServiceSpec[] {
  return HOPS.map((hop) => ({ name: hop, command: [process.execPath, script('node-service.mjs'), hop, ...ways], ports: [port(hop)] }));
}

/** client: aiohttp or httpx. */
export function fastapi(client: string): ServiceSpec[] {
  return HOPS.map((hop) => {
    const spec = python(hop, '-m', 'uvicorn', '--app-dir', services_folder(), '--host', '127.0.0.1', '--port', String(port(hop)), '--no-access-log', '--log-level', 'warning', 'fastapi_app:app');
    return { ...spec, env: { ...spec.env, HOP_CLIENT: client } };
  });
}

export function gunicorn(folder: string, ...args: readonly string[]): ServiceSpec[] {
  return HOPS.map((hop) => python(hop, '/usr/bin/gunicorn', '--chdir', services_folder(), '--worker-tmp-dir', folder, '--bind', `127.0.0.1:${port(hop)}`, '--backlog', '128', ...args, 'flask_app:app'));
}

export function puma(): ServiceSpec[] {
  return HOPS.map((hop) => ({ name: hop, command: ['/usr/bin/puma', '--quiet', '--environment', 'production', '--threads', '16:16', '--bind', `tcp://127.0.0.1:${port(hop)}`, script('config.ru')], ports: [port(hop)] }));
}

/** Compiled into the folder that holds what is built from this repository. */
function compile(name: string, command: string, args: readonly string[], cwd: string): string {
  const built = join(packageRoot(), '.output/services');
  mkdirSync(built, { recursive: true });
  const done = spawnSync(command, args.map((arg) => arg.replaceAll('{built}', built)), { cwd, encoding: 'utf8', timeout: 600_000 });
  if (done.status !== 0) {
    throw new TracehouseError('not-built', `${name}: ${command} failed: ${(done.stderr || done.error?.message || '').trim().split('\n').slice(-5).join(' | ')}`, { mend: 'node scripts/setup.mjs --accuracy' });
  }
  return built;
}

/** ways: for each hop what it does. */
export function go(ways: Readonly<Record<string, string>>): ServiceSpec[] {
  const built = compile('Go service', 'go', ['build', '-o', '{built}/hop', '.'], script('go'));
  return Object.entries(ways).map(([hop, way]) => ({ name: hop, command: [join(built, 'hop'), hop, way], ports: [port(hop)] }));
}

export function java(way: string, hops: readonly string[] = HOPS): ServiceSpec[] {
  const built = compile('Java service', 'javac', ['-d', '{built}/java', script('HopService.java')], services_folder());
  return hops.map((hop) => ({ name: hop, command: ['java', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xmx128m', '-cp', join(built, 'java'), 'HopService', hop, way], ports: [port(hop)] }));
}

export function tokio(): ServiceSpec[] {
  const built = compile('Rust service', 'cargo', ['build', '--quiet', '--release', '--locked', '--target-dir', '{built}/tokio'], script('tokio'));
  return HOPS.map((hop) => ({ name: hop, command: [join(built, 'tokio/release/hop'), hop], ports: [port(hop)] }));
}

/** The services behind a proxy that reaches A over a Unix socket. */
export function behindSocket(folder: string): ServiceSpec[] {
  const socket = join(folder, 'a.sock');
  const [, ...rest] = threads('thread');
  return [{ ...python('a', script('threads.py'), 'a', 'thread', socket), ports: [], sockets: [socket] }, ...rest];
}

function nginxWith(folder: string, text: string, ports: readonly number[]): ServiceSpec {
  const config = join(folder, 'nginx.conf');
  writeFileSync(config, text);
  return { name: 'nginx', command: ['/usr/sbin/nginx', '-e', 'stderr', '-c', config, '-g', 'daemon off;'], ports };
}

export function nginx(folder: string, upstream = `127.0.0.1:${port('a')}`): ServiceSpec {
  return nginxWith(folder, nginxConfig(folder, port('n'), upstream), [port('n')]);
}

function apache(folder: string, text: string, ports: readonly number[]): ServiceSpec {
  const config = join(folder, 'apache.conf');
  writeFileSync(config, text);
  return { name: 'apache', command: ['/usr/sbin/apache2', '-d', folder, '-f', config, '-DFOREGROUND'], ports };
}

export const apacheProxy = (folder: string): ServiceSpec => apache(folder, apacheProxyConfig(folder, port('n'), `http://127.0.0.1:${port('a')}`), [port('n')]);

/** A pool of PHP processes for each hop, and what stands before them. */
export function fpmBehind(folder: string, server: 'apache' | 'nginx'): ServiceSpec[] {
  const documents = join(folder, 'php');
  mkdirSync(documents, { recursive: true });
  copyFileSync(script('hop.php'), join(documents, 'hop.php'));
  const config = join(folder, 'fpm.conf');
  writeFileSync(config, fpmConfig(folder, HOPS));
  const ports = HOPS.map((hop) => [hop, port(hop)] as const);
  return [
    { name: 'php-fpm', command: [phpFpm(), '-F', '-R', '-y', config], sockets: HOPS.map((hop) => join(folder, `fpm-${hop}.sock`)) },
    server === 'apache' ? apache(folder, apacheFastcgiConfig(folder, documents, ports), HOPS.map(port)) : nginxWith(folder, nginxFastcgiConfig(folder, documents, ports), HOPS.map(port)),
  ];
}

/** Each hop another runtime. */
export function mix(): ServiceSpec[] {
  const pick = (specs: readonly ServiceSpec[], hop: string): ServiceSpec => specs.find((spec) => spec.name === hop) as ServiceSpec;
  return [...go({ n: 'proxy' }), pick(node('eager'), 'a'), ...java('blocking', ['b']), pick(threads('pool'), 'c'), pick(asyncio(), 'd')];
}

const PROGRAMS: Readonly<Record<string, () => boolean>> = {
  go: () => onPath('go'),
  cargo: () => onPath('cargo'),
  javac: () => onPath('javac') && onPath('java'),
  puma: () => existsSync('/usr/bin/puma'),
  ...Object.fromEntries(['aiohttp', 'fastapi', 'uvicorn', 'httpx'].map((name) => [name, (): boolean => existsSync(`/usr/lib/python3/dist-packages/${name}`)])),
};

function onPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => folder !== '' && existsSync(join(folder, name)));
}

/** The first of these programs that this machine lacks. */
export function lacks(needs: readonly string[]): string | undefined {
  return needs.find((name) => PROGRAMS[name]?.() !== true);
}
