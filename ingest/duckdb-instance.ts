// An instance of DuckDB, the warehouse's or one beside it (side-instance.ts): memory catalog, data folder reachable, nothing else.
import { resolve } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';

export interface InstanceOptions {
  readonly folder: string;
  readonly memory_limit: string;
  readonly threads: number;
  readonly temp_limit: string;
  /** Of this instance alone: two that spill to one folder take each other's files. DATA/tmp unless given. */
  readonly temp_folder?: string;
  /** Folders besides the data folder that trusted statements may read and write (exports). */
  readonly more_folders: readonly string[];
}

export const sqlText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
export const sqlName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

export async function openInstance(options: InstanceOptions): Promise<DuckDBInstance> {
  const folder = resolve(options.folder);
  const instance = await DuckDBInstance.create(':memory:', {
    memory_limit: options.memory_limit,
    threads: String(options.threads),
    temp_directory: options.temp_folder ?? `${folder}/tmp`,
    max_temp_directory_size: options.temp_limit,
    // Extensions come with the binary or not at all.
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    allow_community_extensions: 'false',
    allow_persistent_secrets: 'false',
    // Segments are checkpointed when they are sealed; in between a commit must not wait for one.
    checkpoint_threshold: '1GB',
  });
  const connection = await instance.connect();
  try {
    // Exported files are read again and again, and never change.
    await connection.run('SET GLOBAL parquet_metadata_cache = true');
    // Otherwise an ASOF join over a table filled in the same transaction is estimated as empty and becomes a nested loop.
    await connection.run('SET GLOBAL asof_loop_join_threshold = 0');
    await connection.run("SET GLOBAL TimeZone = 'UTC'");
    const folders = [folder, ...options.more_folders.map((more) => resolve(more))].map((path) => sqlText(`${path}/`));
    await connection.run(`SET GLOBAL allowed_directories = [${folders.join(', ')}]`);
    // One way: after this no statement, ours or a user's, reaches any other file or the network.
    await connection.run('SET GLOBAL enable_external_access = false');
  } finally {
    connection.closeSync();
  }
  return instance;
}

/** Lets go of every file, even while a connection somewhere has not been closed. */
export async function closeInstance(instance: DuckDBInstance): Promise<void> {
  await detachAll(instance).catch(() => undefined); // it may have given up on everything
  instance.closeSync();
}

async function detachAll(instance: DuckDBInstance): Promise<void> {
  const connection = await instance.connect();
  try {
    const result = await connection.run("SELECT database_name FROM duckdb_databases() WHERE NOT internal AND database_name <> 'memory'");
    for (const [name] of await result.getRowsJS()) await connection.run(`DETACH ${sqlName(name as string)}`).catch(() => undefined);
  } finally {
    connection.closeSync();
  }
}
