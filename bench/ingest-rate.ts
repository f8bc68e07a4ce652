// Kernel records (bytes) -> batches -> committed and sealed in DuckDB on disk, against DuckDB loading the same rows from Parquet into the
// same tables and checkpointing them. Both have all cores and the same memory limit: we decode on one while DuckDB stores on another;
// DuckDB alone is tried with one thread and with all, as more threads are not always faster.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { DuckDBInstance } from '@duckdb/node-api';
import type { Batch } from '../ingest/batch.ts';
import { BatchAssembler } from '../ingest/batch-assembler.ts';
import { PIECE_BYTES } from '../ingest/output-reader.ts';
import { WRITING_LANES } from '../ingest/segment-writer.ts';
import { fewValuesOfBatches } from '../ingest/batch-values.ts';
import { enumerate } from '../ingest/few-values.ts';
import { SegmentTables, schemaFolder } from '../ingest/segment-tables.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { BatchQueue } from '../main/batch-queue.ts';
import { RELATION_NAMES } from '../schema/relations.ts';
import { alternate, figure, quantile, spread } from './figure.ts';
import type { Figure } from './figure.ts';
import { writeGeneratedFrames } from './generated-recording.ts';

const MEMORY_LIMIT = '512MB';
const READ_BYTES = 2 ** 20;

interface Loaded {
  readonly events: number;
  readonly rows: number;
  readonly events_per_second: number;
  readonly blocked_ms: number;
  readonly apply_p99_ms: number;
}

/** As large as those that the loader's output is read in; its memory is used again. */
async function* pieces(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path);
  const memory = new Uint8Array(READ_BYTES);
  try {
    for (;;) {
      const { bytesRead } = await file.read(memory, 0, READ_BYTES);
      if (bytesRead === 0) return;
      for (let at = 0; at < bytesRead; at += PIECE_BYTES) yield memory.subarray(at, Math.min(bytesRead, at + PIECE_BYTES));
    }
  } finally {
    await file.close();
  }
}

async function load(frames: string, folder: string): Promise<Loaded> {
  const warehouse = await Warehouse.open({ folder, retire_after_ms: 1, memory_limit: MEMORY_LIMIT });
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const applied_ms: number[] = [];
  let [events, rows] = [0, 0];
  let [relieved, relieve] = [Promise.resolve(), (): void => undefined];
  const queue = new BatchQueue<Batch>({
    at_once: WRITING_LANES,
    apply: async (batch) => {
      const started = performance.now();
      await warehouse.apply(batch);
      applied_ms.push(performance.now() - started);
    },
    on_applied: (batch) => {
      events += batch.tables.socket_events.rows + batch.tables.thread_events.rows;
      rows += RELATION_NAMES.reduce((sum, name) => sum + batch.tables[name].rows, 0);
      assembler.giveBack(batch);
    },
    on_pressure: (full) => {
      if (full) relieved = new Promise((resolve) => (relieve = resolve));
      else relieve();
    },
    on_error: (error) => Promise.reject(error),
  });
  const assembler = new BatchAssembler({ node: 'bench', keep_payload: false, keep_query: false, on_batch: (batch) => queue.push(batch) });
  delay.enable();
  const started = performance.now();
  for await (const piece of pieces(frames)) {
    assembler.push(piece);
    // Pieces of a pipe come one by one.
    await setImmediate();
    await relieved;
  }
  assembler.end();
  await queue.drain();
  await warehouse.seal();
  const seconds = (performance.now() - started) / 1000;
  delay.disable();
  await warehouse.close();
  return { events, rows, events_per_second: events / seconds, blocked_ms: delay.max / 1e6, apply_p99_ms: quantile(applied_ms, 0.99) };
}

/** Every raw table as a Parquet file. */
async function toParquet(data: string, parquet: string): Promise<readonly string[]> {
  const warehouse = await Warehouse.open({ folder: data, seal_every_ms: 0, more_folders: [parquet] });
  const tables: string[] = [];
  for (const table of RELATION_NAMES) {
    const { rows } = await warehouse.query(`SELECT count(*) FROM stored.${table}`);
    if ((rows[0]?.[0] as bigint) === 0n) continue;
    await warehouse.query(`COPY (FROM stored.${table}) TO '${join(parquet, `${table}.parquet`)}' (FORMAT parquet)`);
    tables.push(table);
  }
  await warehouse.close();
  return tables;
}

async function loadParquet(parquet: string, tables: readonly string[], path: string, threads: number): Promise<number> {
  const instance = await DuckDBInstance.create(':memory:', { threads: String(threads), memory_limit: MEMORY_LIMIT });
  const connection = await instance.connect();
  try {
    await connection.run(`ATTACH '${path}' AS target (STORAGE_VERSION 'latest')`);
    const tables_of = await SegmentTables.load(connection, schemaFolder());
    await tables_of.create(connection, 'raw', 'target');
    // The same types as the first file of a warehouse.
    await enumerate(connection, 'target', fewValuesOfBatches(tables_of.of('raw')).forNewFile());
    const started = performance.now();
    for (const table of tables) await connection.run(`INSERT INTO target.${table} BY NAME FROM '${join(parquet, `${table}.parquet`)}'`);
    await connection.run('CHECKPOINT target');
    return (performance.now() - started) / 1000;
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** Of so many events of the default mix. */
export async function measureIngest(rounds: number, events: number): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  try {
    const frames = join(folder, 'frames');
    writeGeneratedFrames(frames, events);
    const data = join(folder, 'data');
    const first = await load(frames, data);
    const parquet = mkdtempSync(join(folder, 'parquet-'));
    const tables = await toParquet(data, parquet);
    const fresh = (name: string): string => join(folder, name);
    const reference = (name: string, threads: number) => (round: number): Promise<number> => {
      const path = fresh(`${name}-${round}.duckdb`);
      return loadParquet(parquet, tables, path, threads).finally(() => rmSync(path, { force: true }));
    };
    const cores = availableParallelism();
    const found = await alternate(rounds, {
      ours: async (round) => {
        rmSync(data, { recursive: true, force: true });
        return load(frames, fresh(`data-${round}`)).finally(() => rmSync(fresh(`data-${round}`), { recursive: true, force: true }));
      },
      duckdb: reference('all', cores),
      one_thread: reference('one', 1),
    });
    const rate = (taken: readonly number[]): number[] => taken.map((seconds_taken) => first.events / seconds_taken);
    const rates = found.ours.map(({ events_per_second }) => events_per_second);
    const notes = { events: first.events, rows: first.rows, frame_bytes_an_event: Math.round(statSync(frames).size / first.events), apply_p99_ms: Math.round(Math.max(...found.ours.map(({ apply_p99_ms }) => apply_p99_ms))) };
    return [
      figure({ figure: 'ingest', variant: 'kernel records to DuckDB', unit: 'events/s', values: rates, reference: { what: `DuckDB loads the same rows from Parquet, with 1 or ${cores} threads, whichever is faster`, values: rate(found.duckdb.map((taken, round) => Math.min(taken, found.one_thread[round] as number))) }, goal: { of: 'ratio', at_least: 0.8 }, notes: { ...notes, one_thread: spread(rate(found.one_thread)).median, all_threads: spread(rate(found.duckdb)).median } }),
      figure({ figure: 'ingest', variant: 'event loop blocked at most', unit: 'ms', values: found.ours.map(({ blocked_ms }) => blocked_ms), goal: { of: 'value', at_most: 20 } }),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
