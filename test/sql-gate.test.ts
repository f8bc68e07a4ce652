import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { runUserSql, streamUserSql } from '../queries/sql-gate.ts';
import { SQL_LIMITS } from '../queries/sql-limits.ts';
import { makeBatch } from './support/make-batch.ts';

let folder: string;
let warehouse: Warehouse;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tracehouse-test-'));
  warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 10 });
  const rows = Array.from({ length: 5000 }, (_, i) => ({ ts_ns: i, mono_ns: i, socket_id: i % 10, op: i % 2 === 0 ? 'read' : 'write', bytes: i, stream_offset: i, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false, pid: i % 3, comm: `c${i % 4}` }));
  await warehouse.apply(makeBatch({ sequence: 1n }, { socket_events: rows }));
  await warehouse.seal();
  await warehouse.apply(makeBatch({ sequence: 2n }, { socket_events: rows.slice(0, 5) }));
  await warehouse.query('CREATE VIEW memory.main.events AS SELECT ts_ns, socket_id, op, bytes, pid, comm FROM stored.socket_events');
  await warehouse.query("CREATE TABLE memory.live.secret AS SELECT 'hidden' AS word");
  writeFileSync(join(folder, 'secret.csv'), 'a,b\n1,2\n');
  writeFileSync(join(folder, 'secret.json'), '{"a":1}');
});

afterAll(async () => {
  await warehouse.close();
  rmSync(folder, { recursive: true, force: true });
});

/** F = the data folder, S = a sealed segment's file, A = its catalog. */
function fill(sql: string): string {
  const sealed = warehouse.segments.find((segment) => segment.state === 'sealed');
  return sql.replaceAll('$F', folder).replaceAll('$S', sealed?.path ?? '').replaceAll('$A', sealed?.alias ?? '');
}

const ATTACKS = [
  // files, inside the data folder and outside
  "SELECT * FROM read_csv('$F/secret.csv')", "SELECT * FROM '$F/secret.csv'", 'FROM "$F/secret.csv"', "FROM '$F/secret.json'", "FROM '/etc/passwd'",
  "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM read_text('$F/secret.csv')", "SELECT * FROM read_blob('$S')", "SELECT * FROM read_json_auto('$F/secret.json')",
  "SELECT * FROM read_ndjson_objects('$F/*')", "SELECT * FROM glob('$F/*')", "SELECT * FROM sniff_csv('$F/secret.csv')", "SELECT * FROM read_parquet('$F/x.parquet')",
  "SELECT * FROM parquet_metadata('$F/x.parquet')", "SELECT * FROM parquet_scan('x')", "SELECT * FROM read_duckdb('$S')", "SELECT * FROM \"READ_CSV\"('$F/secret.csv')", "SELECT * FROM system.main.read_csv('$F/secret.csv')",
  "DESCRIBE '$F/secret.csv'", "SUMMARIZE '$F/secret.csv'", "DESCRIBE SELECT * FROM read_csv('$F/secret.csv')", "SELECT (SELECT count(*) FROM read_csv('$F/secret.csv'))",
  "SELECT * FROM events WHERE ts_ns IN (SELECT a FROM read_csv('$F/secret.csv'))", "SELECT * FROM events, LATERAL (SELECT * FROM read_text('/etc/passwd'))",
  "EXPLAIN SELECT * FROM read_csv('$F/secret.csv')", "EXPLAIN ANALYZE SELECT * FROM '$F/secret.csv'", "EXPLAIN (FORMAT json) SELECT * FROM '$F/secret.csv'",
  "WITH \"$F/secret.csv\" AS (SELECT 1) SELECT * FROM \"$F/secret.csv\"", "WITH x AS (FROM '$F/secret.csv') FROM x", "FROM (WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings), duckdb_settings",
  "PIVOT '$F/secret.csv' ON a IN (1) USING sum(b)", "VALUES ((SELECT content FROM read_text('/etc/passwd')))", "SELECT * FROM 'https://example.org/x.parquet'", "SELECT * FROM 's3://bucket/x.parquet'",
  "COPY events TO '$F/out.csv'", "COPY (SELECT 1) TO '/tmp/out.csv'", "COPY (SELECT 1) TO '$F/out.parquet' (FORMAT parquet)", "EXPORT DATABASE '$F/out'", "IMPORT DATABASE '$F/out'",
  // other databases, extensions, secrets
  "ATTACH '$S' AS x", "ATTACH '$F/new.duckdb'", 'DETACH ledger', 'USE ledger', 'INSTALL httpfs', "LOAD '$F/x.duckdb_extension'", 'CREATE SECRET s (TYPE s3)', 'SELECT * FROM duckdb_secrets()', "SELECT * FROM which_secret('x', 's3')",
  // what is not public
  'SELECT * FROM ledger.applied', 'SELECT * FROM ledger.main.numbers', 'FROM stored.socket_events', 'FROM live.secret', 'FROM memory.live.secret', 'SELECT * FROM $A.socket_events', 'TABLE ledger.applied', 'FROM template_raw.batches',
  'DESCRIBE ledger.applied', 'SUMMARIZE stored.batches', 'SHOW ALL TABLES', 'SHOW DATABASES', 'SHOW SCHEMAS', 'DESCRIBE', "SELECT * FROM query('SELECT * FROM ledger.applied')", "SELECT * FROM query_table('live.secret')", "SELECT * FROM query_table(['live.secret'])",
  "FROM histogram_values('live.secret', word)", "FROM histogram('live.secret', word)", "SELECT * FROM json_execute_serialized_sql('{}')", "SELECT json_serialize_plan('SELECT * FROM read_csv(''$F/secret.csv'')')", 'SELECT * FROM tracehouse_rows_socket_events()',
  'SELECT * FROM information_schema.tables', 'SELECT * FROM pg_catalog.pg_class', 'FROM sqlite_master', 'FROM duckdb_tables', "SELECT pg_get_viewdef(1)", 'FROM duckdb_views()', 'SELECT * FROM pragma_storage_info(\'stored.batches\')',
  // settings, variables, the machine
  'SELECT * FROM duckdb_settings()', "SELECT current_setting('temp_directory')", 'SET memory_limit = \'100GB\'', 'RESET memory_limit', 'PRAGMA database_list', 'PRAGMA memory_limit=\'1TB\'', "SELECT getenv('HOME')", 'SET VARIABLE x = 1', "SELECT getvariable('x')",
  'SELECT * FROM duckdb_databases()', 'SELECT * FROM duckdb_logs', 'CALL enable_logging()', "SELECT write_log('x')", 'SELECT * FROM duckdb_temporary_files()', 'CALL pragma_version()', 'SELECT sleep_ms(100000)', 'SELECT pg_sleep(100)', 'SELECT * FROM checkpoint()', 'FROM force_checkpoint()',
  // writing and state
  'CREATE TABLE x (i INT)', 'CREATE TEMP TABLE x AS SELECT 1', 'CREATE VIEW memory.main.v AS SELECT 1', 'CREATE MACRO m() AS 1', 'CREATE TYPE t AS ENUM (\'a\')', 'DROP VIEW events', 'DELETE FROM stored.batches', 'INSERT INTO live.secret VALUES (1)', 'UPDATE live.secret SET word = 1',
  'TRUNCATE live.secret', 'ALTER TABLE live.secret ADD COLUMN x INT', 'MERGE INTO live.secret USING events ON true WHEN MATCHED THEN DELETE', 'BEGIN', 'COMMIT', 'ROLLBACK', 'CHECKPOINT', 'VACUUM', 'ANALYZE', 'PREPARE p AS SELECT 1', 'EXECUTE p', "SELECT nextval('s')",
  'EXPLAIN ANALYZE DELETE FROM live.secret', 'EXPLAIN ANALYZE CREATE TABLE live.x AS SELECT 1', "EXPLAIN ANALYZE COPY (SELECT 1) TO '$F/out.csv'", "EXPLAIN /* /* */ SELECT 1 -- */ */ ANALYZE COPY (SELECT 1) TO '$F/out.csv'",
  "/* x */ EXPLAIN ANALYZE COPY (SELECT 1) TO '$F/out.csv'", 'WITH x AS (DELETE FROM live.secret RETURNING *) SELECT * FROM x', 'SELECT 1; SELECT 2', 'SELECT 1; DROP VIEW events', 'SELECT 1; ; DELETE FROM live.secret', 'PIVOT events ON op USING sum(bytes)',
  'SELECT * FROM seq_scan()', 'SELECT * FROM arrow_scan(1, 2, 3)', 'SELECT __internal_compress_string_ubigint(\'x\')', 'LOAD icu', 'FROM sql_auto_complete(\'SEL\')', 'CALL disable_peg_parser()',
];

test.each(ATTACKS)('refused: %s', async (sql) => {
  await expect(runUserSql(warehouse, { sql: fill(sql) })).rejects.toMatchObject({ code: expect.stringMatching(/^sql-(forbidden|syntax)$/) });
});

test('the list of attacks is long, and left nothing behind', async () => {
  expect(ATTACKS.length).toBeGreaterThan(100);
  expect((await warehouse.query('SELECT word FROM live.secret')).rows).toEqual([['hidden']]);
  expect((await warehouse.query("SELECT count(*) FROM glob('" + folder + "/out*')")).rows).toEqual([[0n]]);
});

const ALLOWED: [sql: string, rows: unknown[][]][] = [
  ['SELECT count(*) FROM events', [[5005n]]],
  ['select count(*) from memory.main.EVENTS', [[5005n]]],
  ['FROM events SELECT op, count(*) AS n GROUP BY ALL ORDER BY ALL', [['read', 2503n], ['write', 2502n]]],
  ['-- a comment\nSELECT 1 /* another */;', [[1]]],
  ['WITH a AS (SELECT bytes FROM events WHERE bytes < 3), b AS (FROM a) SELECT sum(bytes)::BIGINT FROM b', [[6n]]],
  ['WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT sum(n)::INT FROM r', [[10]]],
  ['SELECT ts_ns, lag(bytes) OVER (PARTITION BY op ORDER BY ts_ns) FROM events WHERE ts_ns > 4 ORDER BY ts_ns LIMIT 2', [[5n, null], [6n, null]]],
  ['SELECT pid FROM events QUALIFY row_number() OVER (PARTITION BY pid ORDER BY ts_ns) = 1 ORDER BY pid', [[0], [1], [2]]],
  ['SELECT list_sum(list_transform([1, 2, 3], lambda x: x * 2))', [[12n]]],
  ['SELECT unnest([1, 2])', [[1], [2]]],
  ['SELECT x FROM unnest([1, 2]) AS t(x) ORDER BY x DESC', [[2], [1]]],
  ['SELECT e.ts_ns, r.bytes FROM (SELECT 10 AS ts_ns) e ASOF JOIN events r ON e.ts_ns >= r.ts_ns', [[10, 10n]]],
  ['PIVOT (SELECT op, pid FROM events) ON op IN (\'read\', \'write\') USING count(*) GROUP BY pid ORDER BY pid LIMIT 1', [[0, 835n, 834n]]],
  ['UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b', [['a', 1], ['b', 2]]],
  ['SELECT l.v FROM (SELECT 3 AS k) o, LATERAL (SELECT o.k + 1 AS v) l', [[4]]],
  ["SELECT json_extract_string('{\"a\": [1, \"x\"]}', '$.a[1]'), '{\"b\": 2}'::JSON ->> 'b'", [['x', '2']]],
  ["SELECT value FROM json_each('[7, 8]') ORDER BY key", [['7'], ['8']]],
  ['SELECT count(*) FROM range(5)', [[5n]]],
  ["SELECT split_part('a-b', '-', 2), geomean(x), list_avg([1, 3]) FROM (VALUES (2.0::DOUBLE)) t(x)", [['b', 2, 2]]],
  ['SELECT histogram(pid) IS NOT NULL, quantile_cont(bytes, 0.5), approx_count_distinct(pid) FROM events WHERE bytes < 3', [[true, 1, 3n]]],
  ['VALUES (1, \'a\'), (2, \'b\')', [[1, 'a'], [2, 'b']]],
  ["SELECT date_trunc('hour', make_timestamp_ns(3600000000001))::VARCHAR, printf('%016x', 255::BIGINT)", [['1970-01-01 01:00:00', '00000000000000ff']]],
  ['SELECT COLUMNS(\'^o\') FROM events LIMIT 1', [['read']]],
  ['SELECT * EXCLUDE (ts_ns, socket_id, bytes, pid, comm) FROM events LIMIT 1', [['read']]],
  ['SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 1', [[2]]],
  ["SELECT column_name FROM (DESCRIBE events) LIMIT 2", [['ts_ns'], ['socket_id']]],
  ['SELECT max(bytes) FILTER (WHERE op = \'read\'), arg_max(op, bytes) FROM events', [[4998n, 'write']]],
  ["SELECT regexp_extract('/a/1', '/([a-z]+)/', 1), struct_pack(a := 1).a, {'b': 2}.b, MAP {'k': 3}['k']", [['a', 1, 2, 3]]],
];

test.each(ALLOWED)('works: %s', async (sql, rows) => {
  expect((await runUserSql(warehouse, { sql })).rows).toEqual(rows);
});

test('relations can be looked at, plans too', async () => {
  expect((await runUserSql(warehouse, { sql: 'SHOW TABLES' })).rows.flat()).toContain('events');
  expect((await runUserSql(warehouse, { sql: 'SHOW TABLES' })).rows.flat()).not.toContain('secret');
  expect((await runUserSql(warehouse, { sql: 'DESCRIBE events' })).rows[0]?.slice(0, 2)).toEqual(['ts_ns', 'BIGINT']);
  expect((await runUserSql(warehouse, { sql: 'SUMMARIZE events' })).rows).toHaveLength(6);
  for (const sql of ['EXPLAIN SELECT * FROM events', 'explain analyze FROM events', 'EXPLAIN (FORMAT json) SELECT 1', 'EXPLAIN (ANALYZE, FORMAT json) FROM events', 'EXPLAIN (SELECT 1)']) {
    expect((await runUserSql(warehouse, { sql })).rows.length).toBeGreaterThan(0);
  }
});

describe('limits', () => {
  test('rows beyond max_rows are cut and said so', async () => {
    const cut = await runUserSql(warehouse, { sql: 'SELECT ts_ns FROM events', max_rows: 3000 });
    expect([cut.rows.length, cut.row_count, cut.truncated]).toEqual([3000, 3000, true]);
    const whole = await runUserSql(warehouse, { sql: 'SELECT ts_ns FROM events', max_rows: 5005 });
    expect([whole.rows.length, whole.truncated]).toEqual([5005, false]);
    expect((await runUserSql(warehouse, { sql: 'FROM range(20000)' })).row_count).toBe(10_000);
    for (const max_rows of [0, -1, 1.5, SQL_LIMITS.max_rows + 1]) await expect(runUserSql(warehouse, { sql: 'SELECT 1', max_rows })).rejects.toMatchObject({ code: 'sql-limit' });
  });

  test('a statement that takes too long is stopped', async () => {
    const started = performance.now();
    await expect(runUserSql(warehouse, { sql: 'SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range + b.range = -1', timeout_ms: 200 })).rejects.toMatchObject({ code: 'sql-timeout' });
    expect(performance.now() - started).toBeLessThan(2000);
    await expect(runUserSql(warehouse, { sql: 'SELECT 1', timeout_ms: 70_000 })).rejects.toMatchObject({ code: 'sql-limit' });
  });

  test('a caller that goes away stops its statement', async () => {
    const controller = new AbortController();
    const running = runUserSql(warehouse, { sql: 'SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range + b.range = -1', signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await expect(running).rejects.toMatchObject({ code: 'sql-cancelled' });
    await expect(runUserSql(warehouse, { sql: 'SELECT 1', signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'sql-cancelled' });
  });

  test('only so many at once, and each place is given back', async () => {
    const streams = await Promise.all(Array.from({ length: SQL_LIMITS.at_once }, () => streamUserSql(warehouse, { sql: 'SELECT ts_ns FROM events' })));
    await expect(runUserSql(warehouse, { sql: 'SELECT 1' })).rejects.toMatchObject({ code: 'sql-busy' });
    const [first, second, ...others] = streams as [(typeof streams)[0], (typeof streams)[0], ...typeof streams];
    for await (const { row_count } of first.chunks) {
      expect(row_count).toBeGreaterThan(0);
      break;
    }
    let rows = 0;
    for await (const { row_count } of second.chunks) rows += row_count;
    expect([rows, second.progress().row_count]).toEqual([5005, 5005]);
    for (const other of others) other.close();
    await expect.poll(() => runUserSql(warehouse, { sql: 'SELECT 1' }).then((result) => result.row_count, (error: Error) => error.message)).toBe(1);
  });

  test('mistakes are told as mistakes', async () => {
    await expect(runUserSql(warehouse, { sql: 'SELEC 1' })).rejects.toMatchObject({ code: 'sql-syntax' });
    await expect(runUserSql(warehouse, { sql: '' })).rejects.toMatchObject({ code: 'sql-syntax' });
    await expect(runUserSql(warehouse, { sql: `SELECT '${'x'.repeat(300_000)}'` })).rejects.toMatchObject({ code: 'sql-syntax' });
    await expect(runUserSql(warehouse, { sql: 'SELECT no_such_column FROM events' })).rejects.toMatchObject({ code: 'sql-failed' });
    await expect(runUserSql(warehouse, { sql: 'SELECT ?::INT' })).rejects.toMatchObject({ code: 'sql-params' });
    await expect(runUserSql(warehouse, { sql: 'SELECT 1', params: [1] })).rejects.toMatchObject({ code: 'sql-params' });
    await expect(runUserSql(warehouse, { sql: `SELECT ${'abs('.repeat(5000)}1${')'.repeat(5000)}` })).rejects.toMatchObject({ code: 'sql-syntax' });
  });

  test('parameters by position and by name', async () => {
    expect((await runUserSql(warehouse, { sql: 'SELECT count(*) FROM events WHERE op = ? AND bytes < ?', params: ['read', 10] })).rows).toEqual([[8n]]);
    expect((await runUserSql(warehouse, { sql: 'SELECT $a || $b', params: { a: 'x', b: 'y' } })).rows).toEqual([['xy']]);
  });
});

test('what it reads goes on while segments are sealed', async () => {
  const stream = await streamUserSql(warehouse, { sql: 'SELECT e.ts_ns FROM events e, range(20)', max_rows: 1_000_000 });
  const first = await stream.chunks.next();
  await warehouse.seal();
  await new Promise((resolve) => setTimeout(resolve, 60));
  let rows = first.done === true ? 0 : first.value.row_count;
  for await (const { row_count } of stream.chunks) rows += row_count;
  expect(rows).toBe(100_100);
});
