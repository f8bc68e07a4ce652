// What does the length of the history cost a lookup by trace id? The same lookups in a warehouse of one file and of many, through
// the API; beside it the same question to the view over all files, which is what it would cost without the index.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildApp } from '../api/app.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { figure, rounded } from './figure.ts';
import type { Figure } from './figure.ts';

const EPOCH_NS = 1_790_000_000_000_000_000n;
const FILE_NS = 60_000_000_000n;
const [TRACES_A_FILE, SPANS_A_TRACE] = [200, 10];

const startOf = (file: number, trace: number): bigint => EPOCH_NS + BigInt(file) * FILE_NS + BigInt(trace) * 1_000_000n;
const idOf = (file: number, trace: number): string => startOf(file, trace).toString(16).padStart(16, '0') + (trace + 1).toString(16).padStart(16, '0');

async function addFile(warehouse: Warehouse, file: number): Promise<void> {
  await warehouse.withDerived((alias, connection) => warehouse.storeDerived(connection, async () => {
    await connection.run(`INSERT INTO ${alias}.spans BY NAME
      SELECT printf('%016x%016x', hi, t + 1) AS trace_id, make_timestamp_ns(hi) AS trace_start, hi AS trace_hi, t + 1 AS trace_lo, ${file * TRACES_A_FILE * SPANS_A_TRACE} + t * ${SPANS_A_TRACE} + s AS span_id,
        CASE WHEN s > 0 THEN ${file * TRACES_A_FILE * SPANS_A_TRACE} + t * ${SPANS_A_TRACE} END AS parent_span_id, s % 2 = 0 AS is_server, make_timestamp_ns(hi + s) AS start_time, hi + s AS start_ns, hi + 1000000 AS end_ns,
        'node-1' AS node, 'service-' || (s % 5) AS service_name, 'http' AS protocol, 'GET' AS method, '/' || s AS path, '/' || s AS url_template, TRUE AS answered, 'length' AS end_reason, TRUE AS complete
      FROM (SELECT t, ${startOf(file, 0)} + t * 1000000 AS hi FROM range(${TRACES_A_FILE}) AS r (t)), range(${SPANS_A_TRACE}) AS q (s)`);
  }));
  await warehouse.seal();
}

async function medianMs(times: number, work: (at: number) => Promise<unknown>): Promise<number> {
  const taken: number[] = [];
  for (let at = 0; at < times; at++) {
    const started = performance.now();
    await work(at);
    taken.push(performance.now() - started);
  }
  return taken.toSorted((a, b) => a - b)[times >> 1] as number;
}

async function measure(warehouse: Warehouse, files: number, lookups: number): Promise<{ lookup_ms_p50: number; view_ms_p50: number }> {
  const app = buildApp({ warehouse });
  const pick = (at: number): string => idOf((at * 7919) % files, (at * 31) % TRACES_A_FILE);
  const lookUp = async (at: number): Promise<void> => {
    const { statusCode, body } = await app.inject(`/api/v1/traces/${pick(at)}`);
    if (statusCode !== 200) throw new Error(body);
  };
  await lookUp(0);
  const lookup_ms_p50 = await medianMs(lookups, lookUp);
  const view_ms_p50 = await medianMs(Math.ceil(lookups / 6), (at) => warehouse.query('SELECT * FROM spans WHERE trace_id = $1', [pick(at)]));
  await app.close();
  return { lookup_ms_p50, view_ms_p50 };
}

interface Medians {
  readonly lookup_ms_p50: number;
  readonly view_ms_p50: number;
}

async function withWarehouse<T>(work: (warehouse: Warehouse, parquet: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-lookup-'));
  const parquet = join(folder, 'parquet');
  mkdirSync(parquet);
  const warehouse = await Warehouse.open({ folder: join(folder, 'data'), seal_every_ms: 0, more_folders: [parquet] });
  try {
    return await work(warehouse, parquet);
  } finally {
    await warehouse.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Cost of one file, then of so many, each a segment. */
const inSegments = (files: number, lookups: number): Promise<[Medians, Medians]> =>
  withWarehouse(async (warehouse) => {
    await addFile(warehouse, 0);
    const alone = await measure(warehouse, 1, lookups);
    for (let file = 1; file < files; file++) await addFile(warehouse, file);
    return [alone, await measure(warehouse, files, lookups)];
  });

/** The same where every segment was exported, a file each, and dropped. */
const inParquet = (files: number, lookups: number): Promise<[Medians, Medians]> =>
  withWarehouse(async (warehouse, destination) => {
    const scheduler = new ExportScheduler(warehouse, {});
    const { export_id } = await scheduler.add({ destination, relations: ['spans'] });
    const move = async (file: number): Promise<void> => {
      await addFile(warehouse, file);
      await scheduler.run(export_id);
    };
    await move(0);
    await warehouse.drop((sealed) => sealed, () => 'age');
    const alone = await measure(warehouse, 1, lookups);
    for (let file = 1; file < files; file++) await move(file);
    await warehouse.drop((sealed) => sealed, () => 'age');
    return [alone, await measure(warehouse, files, lookups)];
  });

/** Of as many segments, and of as many exported files. */
export async function measureLookups(segments: number, parquet: number, lookups: number): Promise<Figure[]> {
  const cost = (variant: string, own: Medians, alone: Medians): Figure =>
    figure({
      figure: 'trace_lookup_files', variant, unit: 'ms', values: [own.lookup_ms_p50], reference: { what: 'the same lookup in one file', values: [alone.lookup_ms_p50] }, goal: { of: 'ratio', at_most: 2 },
      notes: { lookups, view_p50_ms: rounded(own.view_ms_p50), view_ratio: rounded(own.view_ms_p50 / alone.view_ms_p50) },
    });
  const [one_segment, all_segments] = await inSegments(segments, lookups);
  const [one_file, all_files] = await inParquet(parquet, lookups);
  return [cost(`${segments} segments`, all_segments, one_segment), cost(`${parquet} Parquet files`, all_files, one_file)];
}
