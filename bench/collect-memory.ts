// What `collect` holds in memory under a steady load, loader and its ring included, while a warehouse elsewhere takes the batches.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkNamespace } from '../demo/network-namespace.ts';
import { figure, rounded } from './figure.ts';
import type { Figure } from './figure.ts';
import { buildLoad } from './live-load.ts';
import { childNamed, cpuSeconds, ownBytes, residentBytes } from './process-memory.ts';
import { startTracehouse } from './tracehouse-process.ts';
import type { TracehouseProcess } from './tracehouse-process.ts';

const MIB = 2 ** 20;
/** Four socket calls a request: both ends read and write. */
const EVENTS_A_REQUEST = 4;
/** Until hooks are attached and code is compiled. */
const WARM_MS = 5000;
const SETTLE_MS = 30_000;

const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;

async function count(url: string, sql: string): Promise<number> {
  const response = await fetch(`${url}/api/v1/sql`, { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json' }, body: JSON.stringify({ sql, timeout_ms: 30_000 }) });
  const { rows } = (await response.json()) as { rows?: unknown[][] };
  return Number(rows?.[0]?.[0] ?? 0);
}

export async function measureCollect(events_per_second: number, seconds: number): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const netns = NetworkNamespace.create();
  const started: TracehouseProcess[] = [];
  try {
    const program = buildLoad(folder);
    const serve = await startTracehouse(['serve', '--data', join(folder, 'data'), '--listen', '127.0.0.1:0'], /^ready (\S+?)\/?$/);
    started.push(serve);
    const collect = await startTracehouse(['collect', '--to', serve.said, '--scope', `netns:${netns.name}`, '--spool', join(folder, 'spool')], /^collecting/);
    started.unshift(collect);
    const loader = childNamed(collect.pid, 'tracehouse-load');
    const [command = '', ...args] = netns.inside([program, '8080', '32', String(events_per_second / EVENTS_A_REQUEST), String(seconds)]);
    const load = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    load.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    let running = true;
    const ended = new Promise<void>((resolve) => load.once('close', () => resolve())).then(() => (running = false));
    const [began, cpu_before] = [Date.now(), cpuSeconds(collect.pid)];
    const whole: number[] = [];
    const of_loader: number[] = [];
    while (running) {
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 200))]);
      if (Date.now() - began < WARM_MS || !running) continue;
      const loader_bytes = loader === undefined ? 0 : ownBytes(loader);
      of_loader.push(loader_bytes);
      whole.push(residentBytes(collect.pid) + loader_bytes);
    }
    const cores = (cpuSeconds(collect.pid) - cpu_before) / ((Date.now() - began) / 1000);
    const { calls } = JSON.parse(said) as { calls: number };
    const arrived = (): Promise<number> => count(serve.said, "select count(*) from socket_events where op in ('read', 'write') and bytes > 0");
    let events = 0;
    for (const until = Date.now() + SETTLE_MS; (events = await arrived()) < calls && Date.now() < until; ) await new Promise((resolve) => setTimeout(resolve, 500));
    const third = Math.floor(whole.length / 3);
    return [
      figure({
        figure: 'resident', variant: `collect as a whole, ${events_per_second} events/s`, unit: 'MiB', values: [Math.max(...whole) / MIB], goal: { of: 'value', at_most: 160 }, lost_share: Math.max(0, 1 - events / calls),
        notes: { seconds, mean_mib: rounded(mean(whole) / MIB), loader_mib: rounded(Math.max(...of_loader) / MIB), last_over_second_third: rounded(mean(whole.slice(2 * third)) / mean(whole.slice(third, 2 * third))), cores: rounded(cores) },
      }),
    ];
  } finally {
    for (const one of started) await one.stop();
    netns.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}
