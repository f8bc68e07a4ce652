// What an open data folder consists of, put together.
import { mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';
import { fewValuesOfBatches } from './batch-values.ts';
import { fewValuesOfSpans, learnFrom } from './derived-values.ts';
import { requireRoom } from './disk-room.ts';
import { BatchRows } from './duckdb-batch-rows.ts';
import { storageError } from './duckdb-errors.ts';
import { closeInstance, openInstance } from './duckdb-instance.ts';
import { ColdArchive } from './cold-archive.ts';
import { ColdFiles } from './cold-files.ts';
import { ColdPlaces } from './cold-places.ts';
import { exportFolders } from './export-folders.ts';
import { ExportLedger } from './export-ledger.ts';
import type { FewValues } from './few-values.ts';
import { lastingRows } from './lasting-processes.ts';
import { LedgerStore } from './ledger-store.ts';
import { SegmentCatalog } from './segment-catalog.ts';
import type { CompactionLimits } from './segment-compaction.ts';
import { SegmentKeeper } from './segment-keeper.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { attachFound } from './segment-recovery.ts';
import { SegmentTables, schemaFolder, sqlFiles } from './segment-tables.ts';
import { SegmentWriter, WRITING_LANES } from './segment-writer.ts';
import { TraceIndex } from './trace-index.ts';
import { viewTexts } from './view-texts.ts';
import type { ViewText } from './view-texts.ts';

export interface WarehouseOptions {
  readonly folder: string;
  readonly read_only?: boolean;
  readonly memory_limit?: string;
  /** That one query may use. */
  readonly threads?: number;
  /** 0: only when asked to. */
  readonly seal_every_ms?: number;
  /** How long a file stays after the views stopped naming it. */
  readonly retire_after_ms?: number;
  /** Of working memory spilled to DATA/tmp. */
  readonly temp_limit?: string;
  /** Folders besides the data folder that trusted SQL may reach. */
  readonly more_folders?: readonly string[];
  readonly compaction?: CompactionLimits;
  /** Migrations and views, where they are not the package's own. */
  readonly schema_folder?: string;
  readonly now?: () => number;
  readonly log?: (line: string) => void;
}

export interface BatchWriter {
  readonly connection: DuckDBConnection;
  readonly rows: BatchRows;
}

export interface WarehouseParts {
  readonly folder: string;
  /** Where the files lie that its relations consist of. */
  readonly data_folders: readonly string[];
  readonly instance: DuckDBInstance;
  readonly catalog: SegmentCatalog;
  readonly ledger: LedgerStore;
  readonly exports: ExportLedger;
  readonly cold: ColdFiles;
  readonly archive: ColdArchive;
  readonly tables: SegmentTables;
  readonly keeper: SegmentKeeper;
  readonly trace_index: TraceIndex;
  readonly views: ReadonlyMap<string, ViewText>;
  /** None in a folder opened for reading. */
  readonly segment_writers: Readonly<Record<SegmentKind, SegmentWriter>> | null;
  readonly few_values: Readonly<Record<SegmentKind, FewValues>>;
  /** As many as raw.writeBeside has lanes. */
  readonly batch_writers: readonly BatchWriter[];
  readonly connections: Readonly<Record<'catalog' | 'ledger' | 'derived' | 'sealer' | 'rewriter' | 'exports' | 'index', DuckDBConnection>>;
}

/** On two cores a second thread a query mostly waits for the first, at a third more CPU a row; each query has a thread of its own anyway. */
const defaultThreads = (): number => Math.max(1, Math.floor(availableParallelism() / 2));

/** Folders open in this process: DuckDB's file lock is the process's, it would not stop a second Warehouse here. */
const open_folders = new Set<string>();

/** Errors: warehouse-locked, warehouse-missing, warehouse-version, warehouse-unwritable, disk-full, views-failed. */
export async function openParts(options: WarehouseOptions): Promise<WarehouseParts> {
  const folder = claimFolder(options.folder, options.read_only ?? false);
  let instance: DuckDBInstance | undefined;
  try {
    if (options.read_only !== true) await requireRoom(folder, 0);
    const more_folders = [...(options.more_folders ?? []), ...(await exportFolders(folder, options.read_only ?? false))];
    instance = await openInstance({
      folder,
      memory_limit: options.memory_limit ?? '512MB',
      threads: options.threads ?? defaultThreads(),
      temp_limit: options.temp_limit ?? '2GB',
      more_folders,
    });
    return await assemble(folder, instance, more_folders, options);
  } catch (error) {
    open_folders.delete(folder);
    if (instance !== undefined) await closeInstance(instance);
    throw storageError(error, folder);
  }
}

function claimFolder(given: string, read_only: boolean): string {
  let folder: string;
  try {
    if (!read_only) for (const name of [...SEGMENT_KINDS, 'tmp']) mkdirSync(join(given, name), { recursive: true });
    folder = realpathSync(given);
  } catch (error) {
    if (!read_only) throw storageError(error, given);
    throw new TracehouseError('warehouse-missing', `${given} does not exist`, { mend: 'name the folder that `tracehouse up` or `serve` wrote with --data, or a running server with --url' });
  }
  if (open_folders.has(folder)) throw new TracehouseError('warehouse-locked', `${folder} is in use by process ${process.pid}`, { mend: 'this very process has it open already' });
  open_folders.add(folder);
  return folder;
}

async function assemble(folder: string, instance: DuckDBInstance, reachable: readonly string[], options: WarehouseOptions): Promise<WarehouseParts> {
  const read_only = options.read_only ?? false;
  const log = options.log ?? ((): void => undefined);
  const now = options.now ?? Date.now;
  const connections = {
    catalog: await instance.connect(), ledger: await instance.connect(),
    derived: await instance.connect(), sealer: await instance.connect(), rewriter: await instance.connect(), exports: await instance.connect(),
    index: await instance.connect(),
  };
  // What our statements compute once, they say so (MATERIALIZED); looking for more of it is a twentieth of a cycle of correlation. Those of users run in other instances.
  if (!read_only) await connections.catalog.run("SET GLOBAL disabled_optimizers = 'common_subplan'");
  const ledger = await LedgerStore.open(connections.ledger, folder, read_only);
  // The folder is ours: answers that a killed process was writing are nobody's.
  if (!read_only) for (const name of readdirSync(join(folder, 'tmp'))) rmSync(join(folder, 'tmp', name), { recursive: true, force: true });
  await connections.catalog.run('CREATE SCHEMA memory.stored; CREATE SCHEMA memory.live');
  const exports = await ExportLedger.open(connections.exports, read_only);
  const schema_folder = options.schema_folder ?? schemaFolder();
  const tables = await SegmentTables.load(connections.catalog, schema_folder);
  const places = new ColdPlaces({ folder, read_only, reachable, log });
  const cold = await ColdFiles.open(connections.catalog, { exports, tables, places });
  const catalog = new SegmentCatalog(connections.catalog, tables, { log, cold, lasting: await lastingRows(connections.ledger, tables, read_only), retire_after_ms: options.retire_after_ms ?? 1000 });
  const few_values = { raw: fewValuesOfBatches(tables.of('raw')), derived: fewValuesOfSpans(tables.of('derived')) };
  const writers: Partial<Record<SegmentKind, SegmentWriter>> = {};
  for (const kind of SEGMENT_KINDS) {
    const found = await attachFound({ folder, kind, read_only, connection: connections.sealer, catalog, tables, log });
    if (!read_only) {
      const start_ns = kind === 'derived' ? found.reduce((cut, segment) => (segment.to_ns > cut ? segment.to_ns : cut), 0n) : 0n;
      const writer = await SegmentWriter.start({ kind, folder, catalog, tables, sealer: connections.sealer, now, few_values: few_values[kind], ...(kind === 'derived' ? { learn: (closing) => learnFrom(few_values.derived, connections.sealer, closing).catch((error: Error) => log(`texts of ${closing.path} are not looked through: ${error.message}`)) } : {}) }, start_ns);
      writers[kind] = writer;
      found.push(...writer.segments);
    }
    await catalog.publish(kind, () => found);
  }
  await createPublicViews(connections.catalog, join(schema_folder, 'views'), tables);
  const trace_index = await TraceIndex.open(connections.index, read_only, log);
  await trace_index.learn(() => catalog.segments, (uid) => exports.knows(uid));
  const batch_writers: BatchWriter[] = [];
  for (let lane = 0; lane < WRITING_LANES; lane++) {
    const writer = { connection: await instance.connect(), rows: new BatchRows(lane) };
    writer.rows.register(writer.connection);
    batch_writers.push(writer);
  }
  const keeper = new SegmentKeeper({ folder, catalog, tables, connection: connections.rewriter, now, exported: exports, ...(options.compaction === undefined ? {} : { limits: options.compaction }) });
  const data_folders = [...[...SEGMENT_KINDS, 'tmp', 'cold', 'cold-cache', 'exports'].map((name) => join(folder, name)), ...reachable];
  const archive = new ColdArchive({ cold, places, catalog, tables });
  return { folder, data_folders, instance, catalog, ledger, exports, cold, archive, tables, keeper, trace_index, views: viewTexts(join(schema_folder, 'views')), segment_writers: read_only ? null : (writers as Record<SegmentKind, SegmentWriter>), few_values, batch_writers, connections };
}

/** Views over stored tables are over what was exported and dropped besides. */
export async function createPublicViews(connection: DuckDBConnection, folder: string, tables: SegmentTables): Promise<void> {
  const names = new Set(SEGMENT_KINDS.flatMap((kind) => tables.of(kind).map(({ name }) => name)));
  for (const { name, sql } of sqlFiles(folder)) {
    try {
      await connection.run(sql.replaceAll(/\bstored\.(\w+)/g, (as_written, table: string) => (names.has(table) ? `kept.${table}` : as_written)));
    } catch (error) {
      throw new TracehouseError('views-failed', `${folder}/${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
}

/** Lets every file go, and the folder. */
export async function closeParts(parts: WarehouseParts): Promise<void> {
  await parts.ledger.close().catch(() => undefined);
  for (const connection of [...Object.values(parts.connections), ...parts.batch_writers.map((writer) => writer.connection)]) connection.closeSync();
  await closeInstance(parts.instance);
  open_folders.delete(parts.folder);
}
