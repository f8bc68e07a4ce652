// Services as people run them: a request is answered with what a call to another service brought, over connections that are kept.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { ServiceSpec } from '../demo/service-group.ts';
import { TracehouseError } from '../schema/errors.ts';
import { packageRoot } from '../schema/package-root.ts';

export const STOCK_PORT = 8001;
const script = (name: string): string => join(packageRoot(), 'bench', 'services', name);

/** What is called: nginx with one document of 20 items. */
export function stock(folder: string): ServiceSpec {
  const documents = join(folder, 'documents');
  mkdirSync(documents);
  const items = Array.from({ length: 20 }, (_, at) => ({ sku: `A-${1000 + at * 37}`, name: `article ${(at * 7) % 20}`, price_cents: 99 + at * 250, available: at % 5 }));
  writeFileSync(join(documents, 'stock.json'), JSON.stringify({ items }));
  const config = join(folder, 'stock.conf');
  writeFileSync(
    config,
    `
worker_processes 1;
pid ${folder}/stock.pid;
error_log stderr;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
  open_file_cache max=16;
  default_type application/json;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server { listen 127.0.0.1:${STOCK_PORT}; root ${documents}; location / { try_files /stock.json =404; } }
}
`,
  );
  return { name: 'stock', command: ['/usr/sbin/nginx', '-e', 'stderr', '-c', config, '-g', 'daemon off;'], ports: [STOCK_PORT] };
}

/** Where OpenTelemetry's instrumentation of Node.js lies: scripts/setup.mjs --bench installs it. */
export function openTelemetry(): { readonly register: string; readonly version: string } {
  const folder = join(packageRoot(), '.cache', 'opentelemetry');
  const name = '@opentelemetry/auto-instrumentations-node';
  if (!existsSync(join(folder, 'node_modules', name))) throw new TracehouseError('not-installed', `${name} is not installed`, { mend: 'node scripts/setup.mjs --bench' });
  const { version } = JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')) as { version: string };
  return { register: createRequire(join(folder, 'package.json')).resolve(`${name}/register`), version };
}

export interface NodeOptions {
  readonly name: string;
  readonly port: number;
  /** Port of a sink: instrumented by OpenTelemetry, traces only, its other settings as they come. */
  readonly sink_port?: number;
}

export function nodeOrders({ name, port, sink_port }: NodeOptions): ServiceSpec {
  const program = [script('orders.cjs'), String(port), String(STOCK_PORT)];
  if (sink_port === undefined) return { name, command: [process.execPath, ...program], ports: [port] };
  const env = { OTEL_SERVICE_NAME: 'orders', OTEL_TRACES_EXPORTER: 'otlp', OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${sink_port}` };
  return { name, command: [process.execPath, '--require', openTelemetry().register, ...program], ports: [port], env };
}

/** gunicorn as its documentation advises for keep-alive: threads, two processes. */
export function flaskOrders(folder: string, port: number): ServiceSpec {
  const gunicorn = ['/usr/bin/gunicorn', '--chdir', join(packageRoot(), 'bench', 'services'), '--worker-tmp-dir', folder, '--bind', `127.0.0.1:${port}`, '--backlog', '128'];
  return {
    name: 'flask',
    command: ['/usr/bin/python3', ...gunicorn, '--worker-class', 'gthread', '--workers', '2', '--threads', '16', '--keep-alive', '60', 'orders:app'],
    ports: [port],
    env: { PYTHONDONTWRITEBYTECODE: '1', STOCK_URL: `http://127.0.0.1:${STOCK_PORT}` },
  };
}
