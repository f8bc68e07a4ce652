// node dist/bench/correlate-program.js correlate|sort FOLDER MEMORY_LIMIT: one of the two over a data folder, in a process of its own,
// so that the memory it took is its own. Prints a JSON line.
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Warehouse } from '../ingest/warehouse.ts';
import { recorrelate } from '../queries/recorrelate.ts';

export interface Ran {
  readonly seconds: number;
  /** User and system, of all its threads. */
  readonly cpu_seconds: number;
  /** Resident, at most. */
  readonly peak_bytes: number;
  /** Spans, or bytes of the sorted table. */
  readonly made: number;
}

const NEVER = 9_000_000_000_000_000_000n;

async function sort(warehouse: Warehouse): Promise<number> {
  const path = join(warehouse.folder, 'sorted.duckdb');
  const connection = await warehouse.connect();
  try {
    await connection.run(`ATTACH '${path}' AS sorted (STORAGE_VERSION 'latest')`);
    await connection.run('CREATE TABLE sorted.socket_events AS SELECT * FROM memory.stored.socket_events ORDER BY socket_id, ts_ns');
    await connection.run('CHECKPOINT sorted');
    await connection.run('DETACH sorted');
    return statSync(path).size;
  } finally {
    connection.closeSync();
    rmSync(path, { force: true });
  }
}

const [what, folder = '', memory_limit = ''] = process.argv.slice(2);
const warehouse = await Warehouse.open({ folder, memory_limit, threads: 2, seal_every_ms: 0 });
const started = performance.now();
const cpu_before = process.cpuUsage();
const made = what === 'sort' ? await sort(warehouse) : (await recorrelate(warehouse, { from_ns: 0n, to_ns: NEVER })).spans;
const seconds = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage(cpu_before);
await warehouse.close();
const peak_kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
console.log(JSON.stringify({ seconds, cpu_seconds: (user + system) / 1e6, peak_bytes: Number(peak_kib) * 1024, made } satisfies Ran));
