// A small shop to trace: services in three runtimes that know nothing of tracing, in a network namespace of their own.
//
//   customers -> nginx -> shop -> catalog
//                              -> pricing            slow now and then
//                              -> payments -> bank   fails now and then
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { TracehouseError } from '../schema/errors.ts';
import { packageRoot } from '../schema/package-root.ts';
import { NetworkNamespace } from './network-namespace.ts';
import { ServiceGroup } from './service-group.ts';

export interface Demo {
  /** Scope to trace: `netns:` and this name. */
  readonly netns: string;
  /** Reachable only from inside the namespace. */
  readonly url: string;
  readonly pids: readonly number[];
  readonly services: readonly string[];
  stop(): Promise<void>;
}

function findProgram(name: string): string | undefined {
  return ['/usr/bin', '/usr/sbin', ...(process.env['PATH'] ?? '').split(delimiter)]
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function nginxConfig(folder: string, port: number, upstream: number): string {
  return `user root;
worker_processes 1;
error_log stderr warn;
pid ${folder}/nginx.pid;
events { worker_connections 128; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream shop { server 127.0.0.1:${upstream}; keepalive 8; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://shop;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`;
}

/** Starts everything, the customers last; log: what a person should know. Root only. */
export async function startDemo(options: { log?: (line: string) => void; signal?: AbortSignal } = {}): Promise<Demo> {
  const { log = () => {}, signal } = options;
  const python = findProgram('python3');
  if (python === undefined) throw new TracehouseError('no-python', 'the demo services need python3', { mend: 'apt-get install python3' });
  const nginx = findProgram('nginx');
  if (nginx === undefined) log('nginx is missing (apt-get install nginx): the shop is traced without it');

  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-demo-'));
  const netns = NetworkNamespace.create();
  const group = new ServiceGroup(netns, folder);
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopped ??= group.stop().then(() => {
      netns.remove();
      rmSync(folder, { recursive: true, force: true });
    }));
  signal?.addEventListener('abort', () => void stop(), { once: true });

  const script = (name: string): string => join(packageRoot(), 'demo/services', name);
  const front = nginx === undefined ? 8081 : 8080;
  try {
    group.start({ name: 'bank', command: [process.execPath, script('bank.mjs')], ports: [8085] });
    group.start({ name: 'payments', command: [python, script('payments.py')], ports: [8084] });
    group.start({ name: 'pricing', command: [python, script('pricing.py')], ports: [8083] });
    group.start({ name: 'catalog', command: [process.execPath, script('catalog.mjs')], ports: [8082] });
    group.start({ name: 'shop', command: [python, script('shop.py')], ports: [8081] });
    if (nginx !== undefined) {
      const config = join(folder, 'nginx.conf');
      writeFileSync(config, nginxConfig(folder, front, 8081));
      group.start({ name: 'nginx', command: [nginx, '-e', 'stderr', '-c', config, '-g', 'daemon off;'], ports: [front] });
    }
    await group.ready();
    group.start({ name: 'customers', command: [process.execPath, script('customers.mjs'), String(front)] });
  } catch (error) {
    await stop();
    throw error;
  }
  return { netns: netns.name, url: `http://127.0.0.1:${front}`, pids: group.pids, services: group.names, stop };
}
