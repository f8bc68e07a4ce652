// node dist/bench/correlate-program.js correlate|gather|sort FOLDER MEMORY_LIMIT: one of them over a data folder, in a process of its own,
// so that the memory it took is its own. `gather` puts the socket events of all files into one table, in no order: what `sort` sorts,
// into another file. Prints a JSON line.
import { readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { Warehouse } from '../ingest/warehouse.ts';
import { recorrelate } from '../queries/recorrelate.ts';

export interface Ran {
  readonly seconds: number;
  /** User and system, of all its threads. */
  readonly cpu_seconds: number;
  /** Resident, at most. */
  readonly peak_bytes: number;
  /** Spans, rows gathered, or bytes of the sorted table. */
  readonly made: number;
}

const NEVER = 9_000_000_000_000_000_000n;

const plainPath = (folder: string): string => join(folder, 'plain.duckdb');
const CREATE = "(STORAGE_VERSION 'latest')";

/** One that was interrupted may have left it. */
function removeDatabase(path: string): void {
  for (const file of [path, `${path}.wal`]) rmSync(file, { force: true });
}

async function gather(warehouse: Warehouse): Promise<number> {
  const connection = await warehouse.connect();
  removeDatabase(plainPath(warehouse.folder));
  try {
    await connection.run(`ATTACH '${plainPath(warehouse.folder)}' AS plain ${CREATE}`);
    await connection.run('CREATE TABLE plain.socket_events AS SELECT * FROM memory.stored.socket_events LIMIT 0');
    for (const { kind, alias, state } of warehouse.segments) {
      if (kind === 'raw' && state !== 'spare') await connection.run(`INSERT INTO plain.socket_events BY NAME SELECT * FROM "${alias}".main.socket_events`);
    }
    const counted = await connection.runAndReadAll('SELECT count(*) FROM plain.socket_events');
    await connection.run('DETACH plain');
    return Number(counted.getRows()[0]?.[0]);
  } finally {
    connection.closeSync();
  }
}

async function sort(folder: string, memory_limit: string): Promise<number> {
  const path = join(folder, 'sorted.duckdb');
  removeDatabase(path);
  const instance = await DuckDBInstance.create(':memory:', { memory_limit, threads: '2', temp_directory: join(folder, 'sort') });
  const connection = await instance.connect();
  try {
    await connection.run(`ATTACH '${plainPath(folder)}' AS plain (READ_ONLY)`);
    await connection.run(`ATTACH '${path}' AS sorted ${CREATE}`);
    await connection.run('CREATE TABLE sorted.socket_events AS SELECT * FROM plain.socket_events ORDER BY socket_id, ts_ns');
    await connection.run('CHECKPOINT sorted');
    await connection.run('DETACH sorted');
    return statSync(path).size;
  } finally {
    connection.closeSync();
    instance.closeSync();
    removeDatabase(path);
  }
}

async function measured(work: () => Promise<number>): Promise<Ran> {
  const started = performance.now();
  const cpu_before = process.cpuUsage();
  const made = await work();
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu_before);
  const peak_kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return { seconds, cpu_seconds: (user + system) / 1e6, peak_bytes: Number(peak_kib) * 1024, made };
}

async function inWarehouse(folder: string, memory_limit: string, work: (warehouse: Warehouse) => Promise<number>): Promise<Ran> {
  const warehouse = await Warehouse.open({ folder, memory_limit, threads: availableParallelism(), seal_every_ms: 0 });
  try {
    return await measured(() => work(warehouse));
  } finally {
    await warehouse.close();
  }
}

const PROGRAMS: Readonly<Record<string, (folder: string, memory_limit: string) => Promise<Ran>>> = {
  correlate: (folder, memory_limit) => inWarehouse(folder, memory_limit, async (warehouse) => (await recorrelate(warehouse, { from_ns: 0n, to_ns: NEVER })).spans),
  gather: (folder, memory_limit) => inWarehouse(folder, memory_limit, gather),
  sort: (folder, memory_limit) => measured(() => sort(folder, memory_limit)),
};

const [what = '', folder = '', memory_limit = ''] = process.argv.slice(2);
const program = PROGRAMS[what];
if (program === undefined) throw new Error(`${what} is none of ${Object.keys(PROGRAMS).join(', ')}`);
console.log(JSON.stringify(await program(folder, memory_limit)));
