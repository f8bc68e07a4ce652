// What `collect` holds in memory under a steady load, loader and its ring included, while an archive takes the batches: a warehouse
// on the same two cores falls behind, and what is measured then is a spool that fills.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkNamespace } from '../demo/network-namespace.ts';
import { packageRoot } from '../schema/package-root.ts';
import type { ArchiveCounts } from './archive.ts';
import { figure, rounded } from './figure.ts';
import type { Figure } from './figure.ts';
import { buildLoad } from './live-load.ts';
import { childNamed, cpuSeconds, ownBytes, residentBytes } from './process-memory.ts';
import { startProgram, startTracehouse } from './tracehouse-process.ts';
import type { TracehouseProcess } from './tracehouse-process.ts';

const MIB = 2 ** 20;
/** Four socket calls a request: both ends read and write. */
const EVENTS_A_REQUEST = 4;
/** Until hooks are attached and code is compiled. */
const WARM_MS = 5000;
const SETTLE_MS = 30_000;
/** Flat. */
const MOST_GROWTH = 1.02;

const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;

async function countsOf(archive: string): Promise<ArchiveCounts> {
  return (await (await fetch(archive)).json()) as ArchiveCounts;
}

export async function measureCollect(events_per_second: number, seconds: number): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const netns = NetworkNamespace.create();
  const started: TracehouseProcess[] = [];
  try {
    const program = buildLoad(folder);
    const files = join(folder, 'archive');
    mkdirSync(files);
    const archive = await startProgram([join(packageRoot(), 'dist', 'bench', 'archive.js'), files], /^archive (\S+)$/);
    started.push(archive);
    const collect = await startTracehouse(['collect', '--to', archive.said, '--scope', `netns:${netns.name}`, '--spool', join(folder, 'spool')], /^collecting/);
    started.unshift(collect);
    const loader = childNamed(collect.pid, 'tracehouse-load');
    const [command = '', ...args] = netns.inside([program, '8080', '32', String(events_per_second / EVENTS_A_REQUEST), String(seconds)]);
    const load = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    load.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    let running = true;
    const ended = new Promise<void>((resolve) => load.once('close', () => resolve())).then(() => (running = false));
    const [began, cpu_before, archive_before] = [Date.now(), cpuSeconds(collect.pid), cpuSeconds(archive.pid)];
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
    const archive_cores = (cpuSeconds(archive.pid) - archive_before) / ((Date.now() - began) / 1000);
    const { calls } = JSON.parse(said) as { calls: number };
    let arrived = await countsOf(archive.said);
    for (const until = Date.now() + SETTLE_MS; arrived.calls < calls && arrived.error === null && Date.now() < until; arrived = await countsOf(archive.said)) await new Promise((resolve) => setTimeout(resolve, 500));
    const third = Math.floor(whole.length / 3);
    const lost_share = Math.max(0, 1 - arrived.calls / calls);
    const told = Object.entries(arrived.lost).map(([cause, events]) => `${cause} ${events}`).join(', ');
    const notes = {
      seconds, mean_mib: rounded(mean(whole) / MIB), calls, calls_a_second: Math.round(calls / seconds), calls_arrived: arrived.calls, losses_told: told === '' ? 'none' : told, archive_error: arrived.error ?? 'none',
      cores: rounded(cores), archive_cores: rounded(archive_cores), load_average: loadavg()[0] ?? 0,
    };
    const variant = (what: string): string => `${what}, ${events_per_second} events/s`;
    return [
      figure({ figure: 'resident', variant: variant('collect as a whole'), unit: 'MiB', values: [Math.max(...whole) / MIB], goal: { of: 'value', at_most: 160 }, lost_share, notes }),
      figure({ figure: 'resident', variant: variant('its loader, ring included'), unit: 'MiB', values: [Math.max(...of_loader) / MIB], goal: { of: 'value', at_most: 64 }, lost_share }),
      figure({ figure: 'resident_growth', variant: variant('collect, mean of the last third against the one before'), unit: 'times', values: [mean(whole.slice(2 * third)) / mean(whole.slice(third, 2 * third))], goal: { of: 'value', at_most: MOST_GROWTH }, lost_share }),
    ];
  } finally {
    for (const one of started) await one.stop();
    netns.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}
