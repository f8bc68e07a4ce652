// What stays on disk: bytes an event, a message and a span in compacted segments and in exported Parquet, table by table.
import { createReadStream, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Batch } from '../ingest/batch.ts';
import { BatchAssembler } from '../ingest/batch-assembler.ts';
import { tableOfPacked } from '../ingest/packed-tables.ts';
import { HEADER_BYTES, fixedBytes } from '../ingest/record-fields.ts';
import { openRecordingWriter, readRecording } from '../ingest/recording.ts';
import type { Segment } from '../ingest/segment-catalog.ts';
import { columnDefinitions } from '../ingest/segment-copy.ts';
import { SegmentTables, schemaFolder } from '../ingest/segment-tables.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { EXPORT_RELATIONS } from '../queries/export/relations.ts';
import { writeSegment } from '../queries/export/write-parquet.ts';
import { captureServices } from './captured-frames.ts';
import { figure, rounded } from './figure.ts';
import type { Figure } from './figure.ts';
import { generate } from './generate/generate.ts';

/** A row of DeepFlow's l7_flow_log, as its authors state it. */
const DEEPFLOW_BYTES = 140;
/** In a file as it is sealed, and between cycles of correlation. */
const EVENTS_A_FILE = 250_000;
const EVENTS_A_CYCLE = 60_000;
const DAY_MS = 86_400_000;
/** Of tables with fewer a block of DuckDB's says more than the rows. */
const MANY_ROWS = 10_000;
/** Of a DuckDB file without rows. */
const FILE_BYTES = 12_288;

export interface TableBytes {
  readonly rows: number;
  readonly duckdb: number;
  readonly parquet: number;
}

type Batches = AsyncIterable<Batch> | Iterable<Batch>;

/** Frames of a loader as a recording. */
export async function framesToRecording(frames: string, recording: string, keep_payload: boolean): Promise<void> {
  const writer = await openRecordingWriter(recording);
  const made: Batch[] = [];
  const assembler = new BatchAssembler({ node: 'bench', keep_payload, keep_query: false, on_batch: (batch) => made.push(batch) });
  const write = async (): Promise<void> => {
    for (let batch = made.shift(); batch !== undefined; batch = made.shift()) await writer.write(batch);
  };
  for await (const chunk of createReadStream(frames, { highWaterMark: 256 * 1024 })) {
    assembler.push(chunk as Buffer);
    await write();
  }
  assembler.end();
  await write();
  await writer.close();
}

interface Stored {
  readonly segments: readonly Segment[];
  readonly events: number;
  readonly payload_bytes: number;
}

/** Stored, correlated unless only events are asked for, sealed in pieces, and compacted as hours are. */
async function store(batches: Batches, folder: string, correlated: boolean): Promise<Stored> {
  let late_ms = 0;
  const never = Number.MAX_SAFE_INTEGER;
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 1, now: () => Date.now() + late_ms, compaction: { small: never, minutes: never, hours: never, idle_ms: 0 } });
  const correlator = correlated ? new Correlator(warehouse) : undefined;
  let [events, sealed_at, cycle_at, payload_bytes] = [0, 0, 0, 0];
  for await (const batch of batches) {
    await warehouse.apply(batch);
    const { rows, columns } = batch.tables.socket_events;
    events += rows;
    if (columns['payload']?.type === 'blob') payload_bytes += columns['payload'].offsets[rows] as number;
    if (events - cycle_at >= EVENTS_A_CYCLE) {
      cycle_at = events;
      await correlator?.cycle();
    }
    if (events - sealed_at < EVENTS_A_FILE) continue;
    sealed_at = events;
    await warehouse.seal();
  }
  await correlator?.finish();
  await warehouse.seal();
  late_ms = DAY_MS;
  await warehouse.compact();
  const segments = warehouse.segments.filter(({ state }) => state === 'sealed');
  await warehouse.close();
  return { segments, events, payload_bytes };
}

/** Each table alone in a file, as it lies in the segments; and as it is exported. */
async function weigh(segments: readonly Segment[], folder: string): Promise<ReadonlyMap<string, TableBytes>> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const connection = await instance.connect();
  try {
    await SegmentTables.load(connection, schemaFolder());
    for (const { path, alias } of segments) await connection.run(`ATTACH '${path}' AS "${alias}" (READ_ONLY)`);
    const parquet = await weighParquet(connection, segments, folder);
    const physical = (await (await connection.run("SELECT DISTINCT table_name FROM duckdb_tables() WHERE database_name <> 'memory' AND schema_name = 'main' AND estimated_size > 0")).getRowsJS()) as [string][];
    const found = new Map<string, TableBytes>();
    for (const [name] of physical) {
      const table = tableOfPacked(name);
      const own = segments.filter(({ rows }) => (rows?.get(table) ?? 0) > 0);
      const path = join(folder, `${name}.duckdb`);
      await connection.run(`ATTACH '${path}' AS alone (ROW_GROUP_SIZE 122880, STORAGE_VERSION 'latest')`);
      const all = own.map(({ alias }) => `SELECT * FROM "${alias}".main.${name}`).join(' UNION ALL BY NAME ');
      await connection.run(`CREATE TABLE alone.${name} (${await columnDefinitions(connection, all)}); INSERT INTO alone.${name} ${all}; CHECKPOINT alone; DETACH alone`);
      const rows = own.reduce((sum, segment) => sum + (segment.rows?.get(table) ?? 0), 0);
      found.set(table, { rows, duckdb: statSync(path).size - FILE_BYTES, parquet: parquet.get(table) ?? 0 });
    }
    return found;
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

async function weighParquet(connection: DuckDBConnection, segments: readonly Segment[], folder: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (const segment of segments) {
    for (const [table, kind] of Object.entries(EXPORT_RELATIONS)) {
      if (kind !== segment.kind || (segment.rows?.get(table) ?? 0) === 0) continue;
      const files = await writeSegment(connection, [async (sql) => void (await connection.run(sql))], join(folder, 'parquet'), segment, table);
      found.set(table, (found.get(table) ?? 0) + files.reduce((sum, { bytes }) => sum + Number(bytes), 0));
    }
  }
  return found;
}

/** Of raw events. The same events give the same bytes, so once is enough. */
export async function bytesOf(batches: Batches, data: string, with_payload: boolean): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  try {
    mkdirSync(join(folder, 'weighed'));
    const { segments, payload_bytes } = await store(batches, join(folder, 'data'), !with_payload);
    const tables = await weigh(segments, join(folder, 'weighed'));
    const none: TableBytes = { rows: 0, duckdb: 0, parquet: 0 };
    const events = tables.get('socket_events') ?? none;
    const spans = tables.get('spans') ?? none;
    const record = HEADER_BYTES + fixedBytes('socket_event') + payload_bytes / events.rows;
    const each = (of: (table: TableBytes) => number, kind: 'raw' | 'derived', per: number): Record<string, number> =>
      Object.fromEntries(
        [...tables].flatMap(([name, table]) =>
          table.rows >= MANY_ROWS && EXPORT_RELATIONS[name] === kind ? [[`${name}_a_row`, rounded(of(table) / table.rows)], [`${name}_each`, rounded(of(table) / per)]] : [],
        ),
      );
    const files = (kind: 'raw' | 'derived'): number => segments.filter((segment) => segment.kind === kind).reduce((sum, { bytes }) => sum + bytes, 0);
    const variant = `${with_payload ? 'with' : 'without'} payload, ${data}`;
    const notes = { events: events.rows, spans: spans.rows };
    const raw_record = { what: 'the record as the kernel wrote it', values: [record] };
    const deepflow = { what: "DeepFlow's row, as published", values: [DEEPFLOW_BYTES] };
    return [
      figure({ figure: 'bytes_an_event', variant: `DuckDB, ${variant}`, unit: 'bytes', values: [events.duckdb / events.rows], reference: raw_record, goal: { of: 'value', at_most: with_payload ? 60 : 40 }, notes: { ...notes, ...each((table) => table.duckdb, 'raw', events.rows), raw_files_each: rounded(files('raw') / events.rows) } }),
      figure({ figure: 'bytes_an_event', variant: `Parquet, ${variant}`, unit: 'bytes', values: [events.parquet / events.rows], reference: raw_record, ...(with_payload ? {} : { goal: { of: 'value', at_most: 25 } as const }), notes: each((table) => table.parquet, 'raw', events.rows) }),
      ...(with_payload
        ? []
        : [
            figure({ figure: 'bytes_a_span', variant: `DuckDB, ${data}`, unit: 'bytes', values: [spans.duckdb / spans.rows], reference: deepflow, goal: { of: 'value', at_most: 60 }, notes: { ...notes, ...each((table) => table.duckdb, 'derived', spans.rows), derived_files_each: rounded(files('derived') / spans.rows) } }),
            figure({ figure: 'bytes_a_span', variant: `Parquet, ${data}`, unit: 'bytes', values: [spans.parquet / spans.rows], reference: deepflow, goal: { of: 'value', at_most: 40 }, notes: each((table) => table.parquet, 'derived', spans.rows) }),
          ]),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Of so many events of the generated fleet, and of so many seconds of real services. */
export async function measureBytes(events: number, seconds: number): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  try {
    const figures: Figure[] = [];
    const frames = join(folder, 'frames');
    await captureServices(frames, seconds);
    for (const with_payload of [false, true]) {
      figures.push(...(await bytesOf(generate({ events, keep_payload: with_payload }), 'generated fleet', with_payload)));
      const recording = join(folder, 'recording.arrow');
      await framesToRecording(frames, recording, with_payload);
      figures.push(...(await bytesOf(readRecording(recording), 'real services', with_payload)));
    }
    return figures;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
