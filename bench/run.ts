// npm run bench [-- --quick] [--only NAME,...] [--list]: each figure as a JSON line on standard output; all of them as a table and plots in
// bench/results/. Sizes other than a full run's: --millions N,..., --rates N,... --seconds N; --folder DIR keeps what took long to build.
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../schema/package-root.ts';
import { measureBytes } from './bytes.ts';
import { measureCollect } from './collect-memory.ts';
import { measureExport } from './export-rate.ts';
import { measureBatchCorrelation, measureKeptHistory } from './correlate-batch.ts';
import type { Size } from './correlate-batch.ts';
import type { Figure } from './figure.ts';
import { measureHookCost } from './hook-cost.ts';
import { measureIngest } from './ingest-rate.ts';
import { liveFigures, measureLive } from './live-load.ts';
import { measureQuestions } from './lookups.ts';
import { machine, writeReport } from './report.ts';
import { measureServices } from './services.ts';
import { measureSqlHttp } from './sql-http.ts';
import { measureSqlIsolation } from './sql-isolation.ts';
import { measureThroughput } from './throughput.ts';
import { measureLookups } from './trace-lookup.ts';

interface Bench {
  readonly name: string;
  readonly what: string;
  run(quick: boolean): Promise<readonly Figure[]>;
  /** Of those that are run at growing sizes: at these alone, in millions of rows. */
  runAt?(millions: readonly number[]): Promise<readonly Figure[]>;
}

async function live(rates: readonly number[], seconds: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const rate of rates) figures.push(...liveFigures([await measureLive(rate, seconds)]));
  return figures;
}

/** The more there is, the longer a round takes. */
const correlationAt = (events: number): Size => ({ events, rounds: events >= 1e8 ? 1 : events >= 1e7 ? 2 : 5 });

async function lookupsAt(millions: readonly number[]): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const size of millions) figures.push(...(await measureQuestions(size, size >= 100 ? 5 : 10)));
  return figures;
}

const BENCHES: readonly Bench[] = [
  { name: 'throughput', what: 'nginx at saturation: untraced, recorded, with up, with bpftrace', run: (quick) => measureThroughput(5, quick ? 3 : 12) },
  { name: 'services', what: 'a Node.js and a Flask service at saturation: untraced, with collect, with OpenTelemetry; with up where it is not --quick', run: (quick) => measureServices(quick ? { rounds: 5, seconds: 2, warm_seconds: 2, with_up: false } : { rounds: 10, seconds: 10, warm_seconds: 10, with_up: true }) },
  { name: 'hooks', what: 'what each optional hook costs', run: (quick) => measureHookCost(5, quick ? 1 : 5) },
  { name: 'ingest', what: 'kernel records to DuckDB on disk', run: (quick) => measureIngest(5, quick ? 400_000 : 4_000_000) },
  { name: 'bytes', what: 'bytes an event and a span on disk, table by table', run: (quick) => measureBytes(quick ? 250_000 : 10_000_000, quick ? 8 : 120) },
  { name: 'collect', what: 'memory of collect under a steady load', run: (quick) => measureCollect(50_000, quick ? 12 : 600) },
  {
    name: 'correlate', what: 'history against a sort of the same events; live correlation over a long run',
    run: (quick) => measureBatchCorrelation((quick ? [1e5, 2e5] : [1e5, 1e6, 1e7, 1e8]).map(correlationAt)),
    runAt: (millions) => measureBatchCorrelation(millions.map((size) => correlationAt(size * 1e6))),
  },
  { name: 'live', what: 'from the end of a trace to its being readable; memory', run: (quick) => live([10_000, 50_000, ...(quick ? [] : [100_000])], quick ? 10 : 60) },
  { name: 'lookups', what: 'trace by id, search, slowest 20, against DuckDB by hand', run: (quick) => (quick ? measureQuestions(2, 4) : lookupsAt([10, 100])), runAt: lookupsAt },
  { name: 'files', what: 'lookups by trace id in one and in many files', run: (quick) => measureLookups(quick ? 100 : 300, quick ? 30 : 120, quick ? 60 : 300) },
  { name: 'sql-http', what: 'a million rows through HTTP, against DuckDB writing a file', run: (quick) => measureSqlHttp(quick ? 5 : 9, !quick) },
  { name: 'export', what: "spans to Parquet, against DuckDB's COPY", run: (quick) => measureExport(5, quick ? 2 : 6) },
  { name: 'sql', what: 'ingest and lookups while users run the worst SQL', run: (quick) => measureSqlIsolation(quick ? 8 : 30) },
];

const { values: asked } = parseArgs({ options: { quick: { type: 'boolean', default: false }, only: { type: 'string' }, millions: { type: 'string' }, folder: { type: 'string' }, rates: { type: 'string' }, seconds: { type: 'string' }, list: { type: 'boolean', default: false } } });
const millions = asked.millions?.split(',').map(Number);
if (millions?.some((size) => !(size > 0)) === true) {
  console.error(`--millions ${asked.millions}: give sizes in millions of rows, as in --millions 1,10`);
  process.exit(2);
}
const names = asked.only?.split(',') ?? BENCHES.filter(({ runAt }) => millions === undefined || runAt !== undefined).map(({ name }) => name);
const sizeless = millions === undefined ? undefined : BENCHES.find(({ name, runAt }) => names.includes(name) && runAt === undefined);
if (sizeless !== undefined) {
  console.error(`--millions: ${sizeless.name} has no sizes; ${BENCHES.filter(({ runAt }) => runAt !== undefined).map(({ name }) => name).join(' and ')} have`);
  process.exit(2);
}
const { folder: kept } = asked;
if (kept !== undefined && (names.join() !== 'correlate' || millions?.length !== 1)) {
  console.error('--folder keeps one size of correlate: as in --only correlate --millions 100 --folder /var/tmp/fleet');
  process.exit(2);
}
const rates = asked.rates?.split(',').map(Number);
const seconds = Number(asked.seconds ?? 60);
if ((rates !== undefined || asked.seconds !== undefined) && (names.join() !== 'live' || rates?.every((rate) => rate > 0) !== true || !(seconds > 0))) {
  console.error('--rates and --seconds are those of live: as in --only live --rates 50000 --seconds 600');
  process.exit(2);
}
const unknown = names.find((name) => !BENCHES.some((bench) => bench.name === name));
if (asked.list || unknown !== undefined) {
  if (unknown !== undefined) console.error(`--only: there is no benchmark ${unknown}; there are:`);
  for (const { name, what } of BENCHES) console.log(`${name.padEnd(12)} ${what}`);
  process.exit(unknown === undefined ? 0 : 2);
}

const figuresOf = (run: Bench['run'], runAt: Bench['runAt']): Promise<readonly Figure[]> => {
  if (rates !== undefined) return live(rates, seconds);
  if (millions === undefined) return run(asked.quick);
  if (kept !== undefined) return measureKeptHistory(kept, correlationAt((millions[0] as number) * 1e6));
  return (runAt as NonNullable<Bench['runAt']>)(millions);
};

// The allocator is for what is measured in this process: servers and load have their own.
for (const name of process.env['TRACEHOUSE_ALLOCATOR']?.split(' ') ?? []) delete process.env[name];
const folder = join(packageRoot(), 'bench', 'results');
mkdirSync(folder, { recursive: true });
const path = join(folder, new Date().toISOString().replaceAll(':', '-').slice(0, 19));
console.error(machine());
const figures: Figure[] = [];
let failed = 0;
for (const { name, what, run, runAt } of BENCHES.filter((bench) => names.includes(bench.name))) {
  console.error(`${name}: ${what}`);
  const started = performance.now();
  try {
    for (const figure of await figuresOf(run, runAt)) {
      figures.push(figure);
      const line = JSON.stringify(figure);
      console.log(line);
      appendFileSync(`${path}.ndjson`, `${line}\n`);
    }
  } catch (error) {
    // The others are still worth having.
    failed += 1;
    console.error(`${name} failed: ${(error as Error).stack ?? String(error)}`);
  }
  console.error(`${name} took ${Math.round((performance.now() - started) / 1000)} s`);
}
await writeReport(figures, path, `Benchmarks${asked.quick ? ', quick' : ''}, ${new Date().toISOString().slice(0, 10)}`);
console.error(`written to ${path}.ndjson, .md and .svg`);
process.exit(failed === 0 ? 0 : 1);
