// A server that does next to nothing, and wrk to saturate whatever listens.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ServiceSpec } from '../demo/service-group.ts';
import type { Stage } from '../test/accuracy/stage.ts';

const CONNECTIONS = 32;
const run = promisify(execFile);

/** One worker process that answers "ok" to everything. */
export function plainNginx(folder: string, port: number): ServiceSpec {
  const config = join(folder, 'nginx.conf');
  writeFileSync(
    config,
    `
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server { listen 127.0.0.1:${port}; location / { return 200 "ok"; } }
}
`,
  );
  return { name: 'nginx', command: ['/usr/sbin/nginx', '-e', 'stderr', '-c', config, '-g', 'daemon off;'], ports: [port] };
}

export interface Load {
  readonly requests: number;
  readonly per_second: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

const MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

/** What wrk got answered, from inside the stage's namespace; the latencies are those of its closed loop. */
export async function wrk(stage: Stage, url: string, seconds: number, script?: string): Promise<Load> {
  const [command = '', ...args] = stage.netns.inside(['wrk', '-t', '1', '-c', String(CONNECTIONS), '-d', `${seconds}s`, '--latency', ...(script === undefined ? [] : ['-s', script]), url]);
  const { stdout } = await run(command, args);
  const requests = /(\d+) requests in/.exec(stdout)?.[1];
  const per_second = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
  const latency = (percentile: number): number => {
    const [, value, unit = ''] = new RegExp(`\\b${percentile}%\\s+([\\d.]+)([a-z]+)`).exec(stdout) ?? [];
    return Number(value) * (MS[unit] ?? Number.NaN);
  };
  if (requests === undefined || per_second === undefined) throw new Error(`wrk said: ${stdout}`);
  if (/Non-2xx/.test(stdout)) throw new Error(`not all requests succeeded, so there is nothing to compare; wrk said: ${stdout}`);
  return { requests: Number(requests), per_second: Number(per_second), p50_ms: latency(50), p99_ms: latency(99) };
}
