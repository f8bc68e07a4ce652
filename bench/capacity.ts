// node dist/bench/capacity.js [RESULTS.ndjson ...] [--write]: what nodes and clusters need, computed from the figures of runs of npm run bench;
// --write puts it into docs/capacity.md.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../schema/package-root.ts';
import type { Figure } from './figure.ts';

const DAY_S = 86_400;
const GB = 1e9;
const SERVICES = [{ name: 'node', title: 'Node.js' }, { name: 'flask', title: 'Flask' }] as const;
const NODE_RATES = [100, 1000, 5000];
const CLUSTER_RATES = [100, 1000];
const CLUSTERS = [10, 100, 1000];
/** Of a core that a warehouse is planned to use; the rest is for questions, exports and peaks. */
const WAREHOUSE_USE = 0.7;

/** Of one request to a service that makes one call. */
export interface RequestCost {
  readonly title: string;
  readonly events: number;
  readonly spans: number;
  /** µs of CPU, each. */
  readonly hooks_us: number;
  readonly loader_us: number;
  readonly collector_us: number;
  readonly warehouse_us: number;
  /** Between collector and warehouse: as it is, and with --compress gzip. */
  readonly network_bytes: number;
  readonly packed_bytes: number;
  readonly disk_bytes: number;
  /** Null: not measured. */
  readonly parquet_bytes: number | null;
  /** Of loader and collector. */
  readonly node_mib: number;
  readonly warehouse_mib: number;
}

class Figures {
  readonly #figures: readonly Figure[];

  constructor(figures: readonly Figure[]) {
    this.#figures = figures;
  }

  has(figure: string, variant: string): boolean {
    return this.#figures.some((one) => one.figure === figure && one.variant === variant);
  }

  of(figure: string, variant: string): Figure {
    const found = this.#figures.find((one) => one.figure === figure && one.variant === variant);
    if (found === undefined) throw new Error(`the results have no figure ${figure} (${variant}): run npm run bench`);
    return found;
  }

  note(figure: string, variant: string, name: string): number {
    const value = this.of(figure, variant).notes?.[name];
    if (typeof value !== 'number') throw new Error(`the figure ${figure} (${variant}) says nothing of ${name}`);
    return value;
  }

  /** Of all tables whose bytes an event, or a span, are noted. */
  each(figure: string, variant: string): number {
    return Object.entries(this.of(figure, variant).notes ?? {}).reduce((sum, [name, value]) => sum + (name.endsWith('_each') && !name.endsWith('_files_each') ? Number(value) : 0), 0);
  }
}

const STORED = 'without payload, real services';

function requestCost(figures: Figures, { name, title }: (typeof SERVICES)[number]): RequestCost {
  const of_collect = (note: string): number => figures.note('service_throughput', `${name}, collect`, note);
  const events = of_collect('events_a_request');
  const stored = figures.has('bytes_an_event', `DuckDB, ${STORED}`);
  const socket_events = of_collect('socket_events_a_request');
  // Wakes differ between rounds, and spans do not come from them; older results do not tell.
  const a_socket_event = figures.of('warehouse_cpu', name).notes?.['spans_a_socket_event'];
  const spans = typeof a_socket_event === 'number' ? socket_events * a_socket_event : events * figures.note('warehouse_cpu', name, 'spans_an_event');
  return {
    title, events, spans,
    hooks_us: Math.max(0, of_collect('service_cpu_us_a_request') - figures.note('service_throughput', `${name}, untraced`, 'service_cpu_us_a_request')),
    loader_us: of_collect('loader_cpu_us_a_request'),
    collector_us: of_collect('collector_cpu_us_a_request'),
    warehouse_us: events * figures.of('warehouse_cpu', name).value.median,
    network_bytes: events * of_collect('network_bytes_an_event'),
    packed_bytes: events * figures.of('collect_bytes', `${name}, --compress gzip`).value.median,
    disk_bytes: stored
      ? socket_events * figures.note('bytes_an_event', `DuckDB, ${STORED}`, 'raw_files_each') + spans * figures.note('bytes_a_span', 'DuckDB, real services', 'derived_files_each')
      : events * figures.of('warehouse_disk', `${name}, not compacted yet`).value.median,
    parquet_bytes: stored ? socket_events * figures.each('bytes_an_event', `Parquet, ${STORED}`) + spans * figures.each('bytes_a_span', 'Parquet, real services') : null,
    node_mib: of_collect('collector_mib') + of_collect('loader_mib'),
    warehouse_mib: Math.max(figures.note('warehouse_cpu', name, 'resident_mib'), figures.has('resident', 'warehouse, 50000 events/s') ? figures.of('resident', 'warehouse, 50000 events/s').value.most : 0),
  };
}

const amount = (value: number): string => (value >= 100 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(2))));

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [`| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`, ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n');
}

/** CPU of a node in cores: where the work is, and what it comes to. */
export function nodeCores({ hooks_us, loader_us, collector_us }: RequestCost, per_second: number): number {
  return ((hooks_us + loader_us + collector_us) * per_second) / 1e6;
}

/** Cores of the warehouse, and how many of them, for so many requests a second in all. */
export function warehouses({ warehouse_us }: RequestCost, per_second: number): { cores: number; processes: number } {
  const cores = (warehouse_us * per_second) / 1e6;
  return { cores, processes: Math.max(1, Math.ceil(cores / WAREHOUSE_USE)) };
}

/** What the document shows. */
export function capacityTables(all: readonly Figure[]): string {
  const figures = new Figures(all);
  const costs = SERVICES.map((service) => requestCost(figures, service));
  const a_day = (bytes: number, per_second: number): string => `${amount((bytes * per_second * DAY_S) / GB)} GB`;
  const mbit = (bytes: number, per_second: number): string => amount((bytes * per_second * 8) / 1e6);
  const parquet = ({ parquet_bytes }: RequestCost, per_second: number): string => (parquet_bytes === null ? 'not measured' : a_day(parquet_bytes, per_second));
  return [
    '### A request', '',
    table(
      ['service', 'events', 'spans', 'hooks, µs', 'loader, µs', 'collector, µs', 'warehouse, µs', 'network, bytes', 'with gzip', 'disk, bytes', 'Parquet, bytes'],
      costs.map((one) => [one.title, amount(one.events), amount(one.spans), amount(one.hooks_us), amount(one.loader_us), amount(one.collector_us), amount(one.warehouse_us), amount(one.network_bytes), amount(one.packed_bytes), amount(one.disk_bytes), one.parquet_bytes === null ? 'not measured' : amount(one.parquet_bytes)]),
    ), '',
    '### A node with a collector', '',
    table(
      ['service', 'requests/s', 'cores', 'memory, MiB', 'network, Mbit/s', 'with gzip', 'network a day', 'with gzip', 'spool an hour without warehouse'],
      costs.flatMap((one) =>
        NODE_RATES.map((rate) => [one.title, amount(rate), amount(nodeCores(one, rate)), amount(one.node_mib), mbit(one.network_bytes, rate), mbit(one.packed_bytes, rate), a_day(one.network_bytes, rate), a_day(one.packed_bytes, rate), `${amount((one.network_bytes * rate * 3600) / GB)} GB`]),
      ),
    ), '',
    '### A cluster', '',
    table(
      ['service', 'nodes', 'requests/s a node', 'events/s', 'warehouse cores', 'warehouses', 'their memory, GiB', 'network in, Mbit/s', 'with gzip', 'disk a day', 'exported a day'],
      costs.flatMap((one) =>
        CLUSTER_RATES.flatMap((rate) =>
          CLUSTERS.map((nodes) => {
            const per_second = nodes * rate;
            const { cores, processes } = warehouses(one, per_second);
            return [one.title, amount(nodes), amount(rate), amount(one.events * per_second), amount(cores), amount(processes), amount((processes * one.warehouse_mib) / 1024), mbit(one.network_bytes, per_second), mbit(one.packed_bytes, per_second), a_day(one.disk_bytes, per_second), parquet(one, per_second)];
          }),
        ),
      ),
    ),
  ].join('\n');
}

/** Of several results; of a figure that more than one has, the first one's counts. */
export function readFigures(paths: readonly string[]): Figure[] {
  return paths.flatMap((path) => readFileSync(path, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Figure));
}

const PART = /<!-- from (\S+(?: \S+)*) -->\n[\s\S]*?<!-- end -->/;

/** The document with the tables of these results in place of those that it has. */
export function withTables(document: string, results: readonly string[], tables: string): string {
  if (!PART.test(document)) throw new Error('the document has no place for the tables: <!-- from FILE --> to <!-- end -->');
  return document.replace(PART, () => `<!-- from ${results.join(' ')} -->\n${tables}\n<!-- end -->`);
}

/** Of which results its tables are. */
export function resultsOf(document: string): string[] {
  const found = PART.exec(document)?.[1];
  if (found === undefined) throw new Error('the document does not say what its tables are computed from');
  return found.split(' ');
}

/** The newest that has what it takes. */
function newestResults(folder: string): string {
  const names = readdirSync(folder).filter((name) => name.endsWith('.ndjson')).toSorted().toReversed();
  const found = names.find((name) => readFigures([join(folder, name)]).some(({ figure }) => figure === 'warehouse_cpu'));
  if (found === undefined) throw new Error(`${folder} has no results with the figures that this takes: run npm run bench`);
  return join(folder, found);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = process.argv.slice(2).filter((word) => !word.startsWith('--'));
  const results = given.length > 0 ? given : [newestResults(join(packageRoot(), 'bench', 'results'))];
  const tables = capacityTables(readFigures(results));
  if (process.argv.includes('--write')) {
    const path = join(packageRoot(), 'docs', 'capacity.md');
    writeFileSync(path, withTables(readFileSync(path, 'utf8'), results.map((one) => relative(packageRoot(), one)), tables));
  } else console.log(tables);
}
