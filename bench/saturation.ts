// nginx at saturation under wrk: what tracing costs, and whether every event is seen or counted as lost.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setStage, type Stage } from '../test/accuracy/stage.ts';
import { Tracer } from '../test/accuracy/tracer.ts';

export interface SaturationFigures {
  readonly seconds: number;
  readonly untraced_requests_per_second: number;
  readonly traced_requests_per_second: number;
  /** traced / untraced, in the same run. */
  readonly throughput_ratio: number;
  /** Each request is a write and a read at either end. */
  readonly events_expected: number;
  readonly events_seen: number;
  readonly events_lost: number;
  /** (seen + lost) / expected. */
  readonly accounted_ratio: number;
}

const PORT = 8000;
const CONNECTIONS = 32;
const run = promisify(execFile);

const CONFIG = (folder: string): string => `
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server { listen 127.0.0.1:${PORT}; location / { return 200 "ok"; } }
}
`;

/** Requests that wrk got answered. */
async function load(stage: Stage, seconds: number): Promise<{ requests: number; per_second: number }> {
  const [command = '', ...args] = stage.netns.inside(['wrk', '-t', '1', '-c', String(CONNECTIONS), '-d', `${seconds}s`, `http://127.0.0.1:${PORT}/`]);
  const { stdout } = await run(command, args);
  const requests = /(\d+) requests in/.exec(stdout)?.[1];
  const per_second = /Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1];
  if (requests === undefined || per_second === undefined) throw new Error(`wrk said: ${stdout}`);
  return { requests: Number(requests), per_second: Number(per_second) };
}

export async function measureSaturation(seconds: number): Promise<SaturationFigures> {
  const data = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const stage = await setStage((folder) => {
    const config = join(folder, 'nginx.conf');
    writeFileSync(config, CONFIG(folder));
    return [{ name: 'nginx', command: ['/usr/sbin/nginx', '-e', 'stderr', '-c', config, '-g', 'daemon off;'], ports: [PORT] }];
  });
  let tracer: Tracer | undefined;
  try {
    await load(stage, 2); // warm
    const untraced = await load(stage, seconds);
    tracer = await Tracer.start({ data, scopes: [`netns:${stage.netns.name}`] });
    const traced = await load(stage, seconds);
    const expected = 4 * traced.requests;
    const count = async (): Promise<{ seen: number; lost: number }> => {
      const [row] = (await tracer?.sql(`select (select count(*) from socket_events where op in ('read', 'write') and bytes > 0) as seen,
        (select coalesce(sum(events_lost), 0)::bigint from losses where cause in ('ring_full', 'connection_shed', 'hook_missed')) as lost`)) ?? [];
      return { seen: Number(row?.['seen']), lost: Number(row?.['lost']) };
    };
    // Until nothing more arrives: batches may wait.
    let [found, before] = [await count(), -1];
    while (found.seen !== before) {
      before = found.seen;
      await new Promise((resolve) => setTimeout(resolve, 3000));
      found = await count();
    }
    return {
      seconds,
      untraced_requests_per_second: Math.round(untraced.per_second),
      traced_requests_per_second: Math.round(traced.per_second),
      throughput_ratio: Number((traced.per_second / untraced.per_second).toFixed(3)),
      events_expected: expected,
      events_seen: found.seen,
      events_lost: found.lost,
      accounted_ratio: Number(((found.seen + found.lost) / expected).toFixed(4)),
    };
  } finally {
    await tracer?.stop();
    await stage.stop();
    rmSync(data, { recursive: true, force: true });
  }
}
