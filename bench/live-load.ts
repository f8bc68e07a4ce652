// `up` under a steady load: losses, memory, and how soon a trace can be read. One JSON line a figure.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkNamespace } from '../demo/network-namespace.ts';
import { packageRoot } from '../schema/package-root.ts';
import { Tracer } from '../test/accuracy/tracer.ts';
import { figure, rounded } from './figure.ts';
import type { Figure } from './figure.ts';
import { childNamed, cpuSeconds, ownBytes, residentBytes } from './process-memory.ts';
import { ReadableDelay } from './readable-delay.ts';

export interface LiveFigures {
  readonly events_per_second: number;
  readonly seconds: number;
  readonly calls: number;
  readonly events: number;
  readonly events_lost: number;
  readonly payload_shed: number;
  readonly spans: number;
  readonly spans_complete: number;
  readonly warehouse_rss_max_mib: number;
  readonly loader_rss_max_mib: number;
  /** Mean of the last third over that of the second: 1 is flat. */
  readonly rss_growth: number;
  readonly cpu_cores_used: number;
  /** From a trace's end to its being in an answer, while load ran: ms. */
  readonly readable_p50_ms: number;
  readonly readable_p95_ms: number;
  readonly readable_p99_ms: number;
}

const MIB = 2 ** 20;
const WARM_MS = 3000;
const SAMPLE_MS = 200;
const EDGE_MS = 500;

const meanOf = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;

/** Readable within so long; and what it takes. */
export function liveFigures(runs: readonly LiveFigures[]): Figure[] {
  const [first] = runs;
  if (first === undefined) return [];
  const share = runs.reduce((sum, run) => sum + run.events_lost, 0) / runs.reduce((sum, run) => sum + run.calls, 0);
  const mean = (of: (run: LiveFigures) => number): number => rounded(runs.reduce((sum, run) => sum + of(run), 0) / runs.length);
  const variant = `${first.events_per_second} events/s`;
  return [
    figure({
      figure: 'readable_after', variant, unit: 'ms, p99', values: runs.map((run) => run.readable_p99_ms), goal: { of: 'value', at_most: 2000 }, lost_share: share,
      notes: { seconds: first.seconds, p50_ms: mean((run) => run.readable_p50_ms), p95_ms: mean((run) => run.readable_p95_ms), cores: mean((run) => run.cpu_cores_used), payload_shed: mean((run) => run.payload_shed), spans_whole: rounded(mean((run) => run.spans_complete / run.spans)) },
    }),
    figure({ figure: 'resident', variant: `warehouse, ${variant}`, unit: 'MiB', values: runs.map((run) => run.warehouse_rss_max_mib), goal: { of: 'value', at_most: 1024 }, lost_share: share, notes: { last_over_second_third: mean((run) => run.rss_growth) } }),
    figure({ figure: 'resident', variant: `loader, ${variant}`, unit: 'MiB', values: runs.map((run) => run.loader_rss_max_mib), goal: { of: 'value', at_most: 64 }, lost_share: share }),
  ];
}

/** Compiles the load program into `folder`. */
export function buildLoad(folder: string): string {
  const program = join(folder, 'http-load');
  execFileSync('gcc', ['-O2', '-pthread', '-o', program, join(packageRoot(), 'bench', 'http-load.c')]);
  return program;
}

/** Traces `events_per_second` socket calls a second for so many seconds, in a namespace of its own. */
export async function measureLive(events_per_second: number, seconds: number): Promise<LiveFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const netns = NetworkNamespace.create();
  let tracer: Tracer | undefined;
  try {
    const program = buildLoad(folder);
    tracer = await Tracer.start({ data: join(folder, 'data'), scopes: [`netns:${netns.name}`] });
    const up = tracer.pid;
    const loader = childNamed(up, 'tracehouse-load');
    const [command = '', ...args] = netns.inside([program, '8080', '32', String(events_per_second / 4), String(seconds)]);
    const load = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    load.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    let running = true;
    const ended = new Promise<void>((resolve) => load.once('close', () => resolve()));
    void ended.then(() => (running = false));
    const cpu_before = cpuSeconds(up);
    const resident: number[] = [];
    let loader_rss = 0;
    const began_ms = Date.now();
    const sampling = setInterval(() => {
      if (!running) return;
      resident.push(residentBytes(up));
      if (loader !== undefined) loader_rss = Math.max(loader_rss, ownBytes(loader));
    }, SAMPLE_MS);
    const delay = new ReadableDelay(tracer.url);
    await ended;
    clearInterval(sampling);
    const ended_ms = Date.now();
    const cpu = cpuSeconds(up) - cpu_before;
    // Connections and the first cycle are the beginning's; of the end, what cannot be among the newest any more.
    await delay.until(ended_ms - EDGE_MS);
    const readable = delay.quantiles(began_ms + WARM_MS, ended_ms - EDGE_MS);
    const { calls } = JSON.parse(said) as { calls: number };
    const [events] = await tracer.poll(`select count(*) as n from socket_events where op in ('read', 'write') and bytes > 0`, ([row]) => Number(row?.['n']) >= calls, 10_000);
    const [spans] = await tracer.poll('select count(*) as n, count(*) filter (complete) as whole from spans', ([row]) => Number(row?.['n']) >= calls / 2, 10_000);
    const losses = await tracer.sql('select cause, sum(events_lost)::bigint as n from losses group by cause');
    const lost = (cause: string): number => Number(losses.find((row) => row['cause'] === cause)?.['n'] ?? 0);
    return {
      events_per_second,
      seconds,
      calls,
      events: Number(events?.['n']),
      events_lost: lost('ring_full') + lost('connection_shed'),
      payload_shed: lost('payload_shed'),
      spans: Number(spans?.['n']),
      spans_complete: Number(spans?.['whole']),
      warehouse_rss_max_mib: Math.round(Math.max(...resident) / MIB),
      loader_rss_max_mib: Math.round(loader_rss / MIB),
      rss_growth: rounded(meanOf(resident.slice((resident.length * 2) / 3)) / meanOf(resident.slice(resident.length / 3, (resident.length * 2) / 3))),
      cpu_cores_used: Number((cpu / seconds).toFixed(2)),
      readable_p50_ms: readable.p50_ms,
      readable_p95_ms: readable.p95_ms,
      readable_p99_ms: readable.p99_ms,
    };
  } finally {
    await tracer?.stop();
    netns.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}
