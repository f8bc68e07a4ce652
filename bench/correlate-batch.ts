// Correlation of history against a plain sort of the same socket events, gathered from the warehouse's many files into one table, at
// growing sizes; and live correlation over a long run, its first third against its last. The events are the generator's default mix.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { pauseAfter } from '../queries/cycle-pace.ts';
import { packageRoot } from '../schema/package-root.ts';
import type { Ran } from './correlate-program.ts';
import { alternate, figure, rounded, spread } from './figure.ts';
import type { Figure } from './figure.ts';
import { generatedBatches } from './generated-recording.ts';
import type { Generated } from './generate/generate.ts';
import { foundSpans, score } from './generate/score.ts';
import { TruthList, trueTraces } from './generate/truth.ts';
import { keptHistory } from './kept-history.ts';

const MEMORY_LIMIT = '512MB';
/** DuckDB's limit, and what Node.js and its code take. */
const MOST_RESIDENT_MIB = 1024;
/** What falls behind without end would be measured in ever fewer, longer pieces; this is as much as one cycle takes. */
const MOST_GAP_MS = 2000;
const MIB = 2 ** 20;
/** The truth of so many events, and all spans that were found, fit into memory. */
const MOST_JUDGED = 2e6;
/** As `up` does: a cycle that fails is tried again, and one that memory did not suffice for reads less then. */
const MOST_TRIES = 5;
/** A third of less is two or three cycles. */
const LEAST_IN_THIRD = 50_000;
/** Says how far it is after each so many events. */
const PROGRESS_EVENTS = 5e6;

export interface Size {
  readonly events: number;
  readonly rounds: number;
}

interface Third {
  events: number;
  ms: number;
  /** Of the whole process while it correlates: user and system. */
  cpu_ms: number;
}

/** Shares of the requests. */
interface Judged {
  readonly exact: number;
  readonly wrong: number;
}

interface Built {
  readonly made: Generated;
  readonly thirds: readonly Third[];
  readonly cycles: number;
  readonly retried: number;
  readonly truth: TruthList | undefined;
  readonly judged: Judged | undefined;
}

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

async function judge(warehouse: Warehouse, truth: TruthList | undefined): Promise<Judged | undefined> {
  if (truth === undefined) return undefined;
  const verdicts = [...score(await trueTraces(truth.rows), await foundSpans(warehouse)).values()];
  const share = (of: 'exact' | 'wrong'): number => rounded(verdicts.reduce((sum, one) => sum + one[of], 0) / verdicts.reduce((sum, one) => sum + one.requests, 0));
  return { exact: share('exact'), wrong: share('wrong') };
}

async function judgeFolder(folder: string, truth: TruthList | undefined): Promise<Judged | undefined> {
  if (truth === undefined) return undefined;
  const warehouse = await Warehouse.open({ folder, memory_limit: MEMORY_LIMIT, threads: 2, read_only: true });
  try {
    return await judge(warehouse, truth);
  } finally {
    await warehouse.close();
  }
}

const inNotes = (judged: Judged | undefined): Record<string, number> => (judged === undefined ? {} : { requests_exact: judged.exact, requests_wrong: judged.wrong });

/**
 * Stores the events as their collectors would send them, and correlates as `up` would if they came in the time that they are of: a cycle takes
 * what has come during the one before and the pause, at most what a cycle takes. Measures the correlation alone.
 */
async function build(folder: string, events: number): Promise<Built> {
  const warehouse = await Warehouse.open({ folder, memory_limit: MEMORY_LIMIT });
  const correlator = new Correlator(warehouse);
  const thirds: Third[] = Array.from({ length: 3 }, () => ({ events: 0, ms: 0, cpu_ms: 0 }));
  const truth = events <= MOST_JUDGED ? new TruthList() : undefined;
  const batches = generatedBatches(events, truth);
  let [applied, waiting, cycles, retried] = [0, 0, 0, 0];
  let due_ns = 0n;
  const correlate = async (): Promise<number> => {
    const third = thirds[Math.min(2, Math.floor((3 * applied) / events))] as Third;
    const [started, cpu_before] = [performance.now(), cpuMs()];
    for (let [behind, failed] = [true, 0]; behind; ) {
      try {
        ({ behind } = await correlator.cycle());
        [cycles, failed] = [cycles + 1, 0];
      } catch (error) {
        if ((failed += 1) === MOST_TRIES) throw error;
        retried += 1;
        say(`a cycle failed, and is tried again: ${(error as Error).message.split('\n')[0]}`);
      }
    }
    const took_ms = performance.now() - started;
    third.ms += took_ms;
    third.cpu_ms += cpuMs() - cpu_before;
    third.events += waiting;
    waiting = 0;
    return took_ms;
  };
  let next = batches.next();
  for (; next.done !== true; next = batches.next()) {
    await warehouse.apply(next.value);
    const rows = next.value.tables.socket_events.rows;
    if (Math.floor((applied + rows) / PROGRESS_EVENTS) > Math.floor(applied / PROGRESS_EVENTS)) {
      say(`${inWords(applied)} of ${inWords(events)} stored and correlated live: ${JSON.stringify({ cycles, thirds })}`);
    }
    applied += rows;
    waiting += rows;
    if (next.value.watermark_ns < due_ns) continue;
    const took_ms = await correlate();
    due_ns = next.value.watermark_ns + BigInt(Math.round(Math.min(MOST_GAP_MS, took_ms + pauseAfter(took_ms)) * 1e6));
  }
  await correlator.finish();
  const judged = await judge(warehouse, truth);
  await warehouse.close();
  return { made: next.value, thirds, cycles, retried, truth, judged };
}

function run(what: 'correlate' | 'gather' | 'sort', folder: string): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', '. bin/environment.sh; exec "$@"', 'sh', process.execPath, join(packageRoot(), 'dist', 'bench', 'correlate-program.js'), what, folder, MEMORY_LIMIT], { cwd: packageRoot(), stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => {
      if (code !== 0) return reject(new Error(`${what} ended with ${code}`));
      say(`${what}: ${said.trim()}`);
      resolve(JSON.parse(said) as Ran);
    });
  });
}

/** A full run takes hours: what it has found so far. */
const say = (line: string): void => console.error(`  ${new Date().toISOString().slice(11, 19)} ${line}`);

const inWords = (events: number): string => (events >= 1e6 ? `${events / 1e6} million events` : `${events} events`);

/** Slope of log seconds over log events, least squares. */
export function growthExponent(points: readonly { events: number; seconds: number }[]): number {
  const [xs, ys] = [points.map(({ events }) => Math.log(events)), points.map(({ seconds }) => Math.log(seconds))];
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(xs), mean(ys)];
  return xs.reduce((sum, x, at) => sum + (x - mx) * ((ys[at] as number) - my), 0) / xs.reduce((sum, x) => sum + (x - mx) ** 2, 0);
}

const lostShare = ({ events, events_lost }: Generated): number => events_lost / (events + events_lost);

function incremental({ made, thirds, cycles, retried, judged }: Built, size: Size): Figure[] {
  const us = ({ events, ms }: Third): number => (1000 * ms) / events;
  const cpuUs = ({ events, cpu_ms }: Third): number => (1000 * cpu_ms) / events;
  const sum = (of: keyof Third): number => thirds.reduce((total, third) => total + third[of], 0);
  const all = { events: sum('events'), ms: sum('ms'), cpu_ms: sum('cpu_ms') };
  const [first, , last] = thirds as [Third, Third, Third];
  const notes = { events: made.events, cycles, cycles_tried_again: retried, events_a_cycle: Math.round(all.events / cycles), simulated_s: Math.round(made.simulated_seconds), runs: 1 };
  const lost_share = lostShare(made);
  const figures = [
    figure({ figure: 'correlate_incremental', variant: inWords(size.events), unit: 'us an event', values: [us(all)], goal: { of: 'value', at_most: 2.5 }, lost_share, notes: { ...notes, ...inNotes(judged) } }),
    figure({ figure: 'correlate_incremental_cpu', variant: inWords(size.events), unit: 'us of CPU an event', values: [cpuUs(all)], lost_share, notes }),
  ];
  if (first.events < LEAST_IN_THIRD) return figures;
  return [
    ...figures,
    figure({ figure: 'correlate_incremental', variant: `last third of ${inWords(size.events)}`, unit: 'us an event', values: [us(last)], reference: { what: 'first third of the same run', values: [us(first)] }, goal: { of: 'ratio', at_least: 0.9, at_most: 1.1 }, lost_share, notes: { ...notes, cpu_first_third: rounded(cpuUs(first)), cpu_last_third: rounded(cpuUs(last)) } }),
  ];
}

/** Of what the folder holds: correlated again and sorted, in turn. */
async function measureHistory(folder: string, made: Generated, { events, rounds }: Size, truth?: TruthList): Promise<{ figures: Figure[]; seconds: number }> {
  const gathered = await run('gather', folder);
  if (gathered.made !== made.events) throw new Error(`${gathered.made} of ${made.events} events were gathered`);
  const found = await alternate(rounds, { correlate: () => run('correlate', folder), sort: () => run('sort', folder) });
  const variant = inWords(events);
  const judged = await judgeFolder(folder, truth);
  const seconds = found.correlate.map((one) => one.seconds);
  const median = spread(seconds).median;
  const cpu_us = found.correlate.map((one) => (1e6 * one.cpu_seconds) / made.events);
  const lost_share = lostShare(made);
  const notes = {
    events: made.events, spans: found.correlate[0]?.made ?? 0, ambiguous_calls: rounded(made.ambiguous_calls / made.calls), memory_limit: MEMORY_LIMIT,
    sort_peak_mib: Math.round(Math.max(...found.sort.map((one) => one.peak_bytes)) / MIB), us_an_event: rounded((1e6 * median) / made.events), simulated_s: Math.round(made.simulated_seconds),
  };
  return {
    seconds: median,
    figures: [
      figure({ figure: 'correlate_batch', variant, unit: 's', values: seconds, reference: { what: 'CREATE TABLE AS ... ORDER BY socket_id, ts_ns of one table', values: found.sort.map((one) => one.seconds) }, goal: { of: 'ratio', at_most: 5 }, lost_share, notes: { ...notes, ...inNotes(judged) } }),
      figure({ figure: 'correlate_batch_cpu', variant, unit: 'us of CPU an event', values: cpu_us, reference: { what: 'the same sort', values: found.sort.map((one) => (1e6 * one.cpu_seconds) / made.events) }, lost_share }),
      figure({ figure: 'correlate_resident', variant, unit: 'MiB', values: found.correlate.map((one) => one.peak_bytes / MIB), goal: { of: 'value', at_most: MOST_RESIDENT_MIB }, notes: { memory_limit: MEMORY_LIMIT } }),
    ],
  };
}

/** One size, in a folder that stays: built unless it is there, which takes more than an hour for 100 million; history alone. */
export async function measureKeptHistory(folder: string, size: Size): Promise<Figure[]> {
  const made = await keptHistory(folder, size.events, say);
  return (await measureHistory(folder, made, size)).figures;
}

export async function measureBatchCorrelation(sizes: readonly Size[]): Promise<Figure[]> {
  const figures: Figure[] = [];
  const points: { events: number; seconds: number }[] = [];
  for (const size of sizes) {
    const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
    try {
      const built = await build(folder, size.events);
      say(`${inWords(size.events)} stored and correlated live: ${JSON.stringify({ cycles: built.cycles, thirds: built.thirds, judged: built.judged })}`);
      const history = await measureHistory(folder, built.made, size, built.truth);
      figures.push(...history.figures, ...incremental(built, size));
      points.push({ events: built.made.events, seconds: history.seconds });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  if (points.length > 1) {
    figures.push(figure({ figure: 'correlate_growth', variant: sizes.map(({ events }) => inWords(events)).join(', '), unit: 'exponent', values: [growthExponent(points)], goal: { of: 'value', at_most: 1.05 }, notes: { sizes: points.length } }));
  }
  return figures;
}
