import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, afterAll, expect, onTestFinished, test } from 'vitest';
import { exportQueries } from '../api/sql-export.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { relationOfFiles } from '../ingest/cold-files.ts';
import { formerColumns, portable, readColumns } from '../ingest/parquet-columns.ts';
import { EXPORT_RELATIONS } from '../queries/export/relations.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { columnsOf, partitionPath } from '../queries/export/write-parquet.ts';
import { makeBatch } from './support/make-batch.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
const out = join(folder, 'parquet');
let warehouse: Warehouse;
let scheduler: ExportScheduler;
let export_id: string;

beforeAll(async () => {
  ({ warehouse } = await shopWarehouse(folder));
  scheduler = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) });
  ({ export_id } = await scheduler.add({ destination: out }));
  await scheduler.run(export_id);
});

afterAll(async () => {
  await warehouse.close();
  remove();
});

const rowsOf = async (sql: string): Promise<unknown[][]> => (await warehouse.query(sql)).rows;

test('every relation that has rows can be read back exactly as it was stored', async () => {
  const connection = await warehouse.connect();
  let compared = 0;
  for (const [table, kind] of Object.entries(EXPORT_RELATIONS)) {
    if (Number((await rowsOf(`SELECT count(*) FROM stored.${table}`))[0]?.[0]) === 0) continue;
    const list = readColumns(table, await columnsOf(connection, kind, table));
    const files = `(SELECT ${list} FROM (SELECT *${formerColumns(table)} FROM read_parquet('${out}/${table}/**/*.parquet', hive_partitioning = false)))`;
    expect(await rowsOf(`(SELECT * FROM stored.${table} EXCEPT ALL SELECT * FROM ${files}) UNION ALL (SELECT * FROM ${files} EXCEPT ALL SELECT * FROM stored.${table})`), table).toEqual([]);
    compared += 1;
  }
  connection.closeSync();
  expect(compared).toBeGreaterThanOrEqual(8);
});

test('spans that older versions wrote are read beside those of today', async () => {
  const connection = await warehouse.connect();
  const columns = await columnsOf(connection, 'derived', 'spans');
  const former = join(folder, 'former.parquet');
  await connection.run(`COPY (SELECT make_timestamptz(trace_hi // 1000) AS trace_start, trace_hi AS trace_start_unix_nano, make_timestamptz(start_ns // 1000) AS start_time, start_ns AS start_time_unix_nano,
    make_timestamptz(end_ns // 1000) AS end_time, end_ns AS end_time_unix_nano, peer_span_id - span_id AS peer_distance, CASE WHEN is_server THEN 'server' ELSE 'client' END AS kind,
    * EXCLUDE (trace_start, start_time, start_ns, end_ns, peer_span_id) FROM stored.spans) TO '${former}' (FORMAT parquet)`);
  const paths = readdirSync(join(out, 'spans'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const files = relationOfFiles({ kind: 'derived', table: 'spans', groups: [{ alike: true, paths: [former] }, { alike: true, paths }] }, new Map([['spans', columns]])) as string;
  const twice = 'SELECT * FROM stored.spans UNION ALL SELECT * FROM stored.spans';
  expect(await rowsOf(`((${files}) EXCEPT ALL (${twice})) UNION ALL ((${twice}) EXCEPT ALL (${files}))`)).toEqual([]);
  expect(await rowsOf(`SELECT count(*) FROM (${files})`)).toEqual([[156n]]);
  connection.closeSync();
});

test('files hold only types that every reader gets right, and times in microseconds beside the exact number', async () => {
  const types = (await rowsOf(`SELECT DISTINCT type, coalesce(logical_type, '') FROM parquet_schema('${out}/**/*.parquet') WHERE type IS NOT NULL`)).map(([type, logical]) => `${type as string} ${(logical as string).replaceAll(/\s/g, '')}`);
  expect(types.filter((type) => /INT96|FIXED|isSigned=0|NanoSeconds/.test(type))).toEqual([]);
  const columns = await rowsOf(`SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet('${out}/spans/**/*.parquet', hive_partitioning = false)) WHERE column_name LIKE 'start_time%' OR column_name IN ('span_id', 'kind', 'remote_ip')`);
  expect(Object.fromEntries(columns as [string, string][])).toEqual({ start_time: 'TIMESTAMP WITH TIME ZONE', start_time_unix_nano: 'BIGINT', span_id: 'BIGINT', kind: 'VARCHAR', remote_ip: 'VARCHAR' });
});

test('rows lie in the partition of their hour and node, in order', async () => {
  const [row] = await rowsOf(`SELECT count(*), bool_and(date = strftime(start_time AT TIME ZONE 'UTC', '%Y-%m-%d')::DATE), bool_and(CAST(hour AS INTEGER) = hour(start_time AT TIME ZONE 'UTC')) FROM read_parquet('${out}/spans/**/*.parquet', hive_partitioning = true)`);
  expect(row).toEqual([78n, true, true]);
  for (const [path] of await rowsOf("SELECT path FROM export_files WHERE relation = 'spans'")) {
    expect(await rowsOf(`SELECT count(*) FROM (SELECT (trace_id, start_time_unix_nano) < lag((trace_id, start_time_unix_nano)) OVER (ORDER BY file_row_number) AS back FROM read_parquet('${path as string}', file_row_number = true)) WHERE back`)).toEqual([[0n]]);
  }
  expect(partitionPath(0n, 'a/b=..')).toBe('date=1970-01-01/hour=00/node=a%2Fb%3D%2E%2E');
});

test('the ledger says what each file holds, and a second run writes nothing', async () => {
  const files = await rowsOf('SELECT path, rows, bytes, checksum, state FROM export_files');
  for (const [path, rows, bytes, checksum, state] of files) {
    const content = readFileSync(path as string);
    expect([BigInt(content.length), createHash('sha256').update(content).digest('hex'), 'done']).toEqual([bytes, checksum, state]);
    expect(await rowsOf(`SELECT count(*) FROM read_parquet('${path as string}')`)).toEqual([[rows]]);
  }
  expect((await scheduler.run(export_id)).rows).toBe(0n);
  expect(readdirSync(join(warehouse.folder, 'tmp')).filter((name) => name.startsWith('export-'))).toEqual([]);
  expect((await scheduler.add({ destination: out })).export_id).toBe(export_id);
});

test('what lands later is exported once, though compaction has put it together with what was exported before', async () => {
  const event = { mono_ns: 1, socket_id: 1, op: 'read', bytes: 1, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false };
  for (const sequence of [2, 3]) {
    await warehouse.apply(makeBatch({ sequence: BigInt(sequence), node: 'node-2', run_id: 8n }, { socket_events: [{ ...event, ts_ns: NOW_NS + BigInt(sequence), stream_offset: sequence }] }));
    await warehouse.seal();
  }
  const report = await scheduler.run(export_id);
  expect(report.rows).toBeGreaterThanOrEqual(4n); // events and batches
  expect(await rowsOf(`SELECT count(*), count(DISTINCT filename) FROM read_parquet('${out}/socket_events/**/*.parquet', filename = true) WHERE node = 'node-2'`)).toEqual([[2n, 1n]]);
  await warehouse.compact();
  expect((await scheduler.run(export_id)).rows).toBe(0n);
});

test('rows that are computed again replace those in files', async () => {
  const before = await rowsOf("SELECT path FROM export_files WHERE relation = 'spans' AND state = 'done'");
  const ids = warehouse.derivedSegments(0n, NOW_NS * 2n).map(({ id }) => id);
  await warehouse.replaceDerived(ids, async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans BY NAME SELECT * FROM memory.stored.spans WHERE path LIKE '/orders/%'`)));
  await scheduler.run(export_id);
  expect((await rowsOf("SELECT path FROM export_files WHERE relation = 'spans' AND state = 'superseded' ORDER BY ALL")).length).toBe(before.length);
  expect(await rowsOf(`SELECT count(*), bool_and(path LIKE '/orders/%') FROM read_parquet('${out}/spans/**/*.parquet')`)).toEqual([[25n, true]]);
});

test.each(['here', 'in a process of its own'])('a saved query is asked for each stretch of time once: %s', async (where) => {
  let asked = scheduler;
  if (where !== 'here') {
    const pool = new SqlPool(warehouse);
    onTestFinished(() => pool.close());
    asked = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n), queries: exportQueries(pool) });
  }
  const to = join(folder, where);
  const { export_id: id } = await asked.add({ destination: to, query: 'SELECT trace_id, start_time, duration_ns::UBIGINT AS took, {a: 1} AS more FROM spans WHERE end_ns > $from_ns AND end_ns <= $to_ns -- all' });
  await asked.run(id);
  await asked.run(id);
  expect(await rowsOf(`SELECT count(*), count(DISTINCT trace_id), any_value(typeof(took)), any_value(typeof(start_time)), any_value(more) FROM read_parquet('${to}/**/*.parquet')`)).toEqual([[25n, 25n, 'BIGINT', 'TIMESTAMP WITH TIME ZONE', '{"a":1}']]);
  await expect(asked.add({ destination: to, query: 'SELECT 1' })).rejects.toMatchObject({ code: 'export-query' });
  await expect(asked.add({ destination: to, query: "SELECT * FROM read_csv('/etc/passwd') WHERE $from_ns < $to_ns" })).rejects.toMatchObject({ code: 'sql-forbidden' });
  rmSync(to, { recursive: true });
});

test('schedules and relations that make no sense are refused', async () => {
  await expect(scheduler.add({ destination: out, cron: 'now and then' })).rejects.toMatchObject({ code: 'export-cron' });
  await expect(scheduler.add({ destination: out, relations: ['nothing'] })).rejects.toMatchObject({ code: 'export-relations' });
  await expect(scheduler.run('000000000000')).rejects.toMatchObject({ code: 'export-not-found' });
  expect(portable('x', 'HUGEINT')).toEqual([['x', 'CAST("x" AS BIGINT)']]);
});

test('a folder that cannot be made fails the run, and names it', async () => {
  const { export_id: nowhere } = await scheduler.add({ destination: '/proc/nowhere/parquet', relations: ['spans'] });
  await expect(scheduler.run(nowhere)).rejects.toMatchObject({ code: 'export-failed', message: expect.stringMatching(/^\/proc\/nowhere\/parquet: ENOENT/) });
  expect(await rowsOf(`SELECT last_error FROM exports WHERE export_id = '${nowhere}'`)).toEqual([[expect.stringMatching(/ENOENT/)]]);
});
