import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { runUserSql, streamUserSql } from '../queries/sql-gate.ts';
import { SQL_LIMITS } from '../queries/sql-limits.ts';
import { makeBatch } from './support/make-batch.ts';
import { SQL_ATTACKS, fillAttack } from './support/sql-attacks.ts';

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


test.each(SQL_ATTACKS)('refused: %s', async (sql) => {
  await expect(runUserSql(warehouse, { sql: fillAttack(sql, warehouse) })).rejects.toMatchObject({ code: expect.stringMatching(/^sql-(forbidden|syntax)$/) });
});

test('the list of attacks is long, and left nothing behind', async () => {
  expect(SQL_ATTACKS.length).toBeGreaterThan(100);
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
