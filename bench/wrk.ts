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

/** Requests that wrk got answered, from inside the stage's namespace. */
export async function wrk(stage: Stage, url: string, seconds: number, script?: string): Promise<{ requests: number; per_second: number }> {
  const [command = '', ...args] = stage.netns.inside(['wrk', '-t', '1', '-c', String(CONNECTIONS), '-d', `${seconds}s`, ...(script === undefined ? [] : ['-s', script]), url]);
  const { stdout } = await run(command, args);
  const requests = /(\d+) requests in/.exec(stdout)?.[1];
  const per_second = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
  if (requests === undefined || per_second === undefined) throw new Error(`wrk said: ${stdout}`);
  return { requests: Number(requests), per_second: Number(per_second) };
}
