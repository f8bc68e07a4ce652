import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SqlFormatName } from '../api/formats/sql-formats.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { RowCutter } from '../queries/row-cutter.ts';
import { SQL_DEFAULTS } from '../queries/sql-limits.ts';
import { shopWarehouse } from './support/shop-warehouse.ts';
import { SQL_ATTACKS, fillAttack } from './support/sql-attacks.ts';
import { keptFolder } from './support/temporary-folder.ts';

const FORMATS = ['csv', 'json', 'ndjson'] as const;
/** Up to so many rows the text is made in JavaScript; when more may come, by DuckDB. */
const [FEW, MANY] = [SQL_DEFAULTS.max_rows, SQL_DEFAULTS.max_rows + 1];

const { folder, remove } = keptFolder();
const data = join(folder, 'data');
let warehouse: Warehouse;
let pool: SqlPool;

beforeAll(async () => {
  mkdirSync(data);
  ({ warehouse } = await shopWarehouse(data));
  pool = new SqlPool(warehouse, { memory_bytes: 256e6 });
});

afterAll(async () => {
  await pool.close();
  await warehouse.close();
  remove();
});

interface Told {
  readonly text: string;
  readonly row_count: number;
  readonly truncated: boolean;
}

async function tell(sql: string, format: SqlFormatName, max_rows: number, more: object = {}): Promise<Told> {
  const { parts, progress } = await pool.run({ sql, max_rows, ...more }, format);
  const bytes: Buffer[] = [];
  for await (const part of parts) bytes.push(Buffer.from(part));
  return { text: Buffer.concat(bytes).toString().replace(/"query_id":"[^"]*"/, '').replace(/"elapsed_ms":[\d.]+/, ''), ...progress() };
}

/** What a reader of JSON gets: 1.0 and 1 are one number. */
const read = (format: string, text: string): unknown => (format === 'json' ? JSON.parse(text.replace('{,', '{').replace(',}', '}')) : format === 'ndjson' ? text.trimEnd().split('\n').map((line) => (line === '' ? null : (JSON.parse(line) as unknown))) : text);

async function bothWays(sql: string, format: SqlFormatName, more: object = {}): Promise<string> {
  const [here, copied] = [await tell(sql, format, FEW, more), await tell(sql, format, MANY, more)];
  expect(read(format, copied.text), sql).toEqual(read(format, here.text));
  expect([copied.row_count, copied.truncated]).toEqual([here.row_count, here.truncated]);
  return copied.text;
}

const VALUES: Readonly<Record<string, readonly string[]>> = {
  BOOLEAN: ['true', 'false'],
  TINYINT: ['-128', '127'], SMALLINT: ['-32768'], INTEGER: ['2147483647', '-1'], BIGINT: ['9223372036854775807', '-9223372036854775808'],
  UTINYINT: ['255'], USMALLINT: ['65535'], UINTEGER: ['4294967295'], UBIGINT: ['18446744073709551615'], HUGEINT: ['-99999999999999999999999999999999999999'], UHUGEINT: ['340282366920938463463374607431768211455'],
  FLOAT: ['0.1', '-1.5', '3.4e38', '1e-30', 'nan', 'inf', '16777216'],
  DOUBLE: ['0.1', '1', '-0.0', '0', '1e15', '1e16', '123456789012345678', '1e21', '1e100', '0.0001', '0.00001', '1.25e-7', '5e-324', '1.7976931348623157e308', 'nan', 'inf', '-inf', '1234.5'],
  'DECIMAL(9, 2)': ['-12.34', '0.00'], 'DECIMAL(38, 2)': ['123456789012345678901234567890.12'],
  VARCHAR: ['', 'plain', 'a,b', 'say "hi"', '"', 'line\nbreak', 'cr\r', 'crlf\r\nx', '#no comment', 'a#b', ' spaces ', "quote's", 'añ字🙂', 'back\\slash', '\t', '\u0001\u001f\u007f\u2028', 'null', 'NULL', '{"j": 1}', '[1]', 'x'.repeat(5000)],
  JSON: ['{"j": [1, "x"]}', '"text"', '12'],
  UUID: ['c0ffee00-0000-4000-8000-000000000001'],
  DATE: ['2026-09-21', '0001-01-01', 'infinity', '-infinity'], TIME: ['12:34:56.789', '00:00:00'],
  TIMESTAMP: ['2026-09-21 14:13:20.123456', '2026-09-21 14:13:20', '1969-12-31 23:59:59.5', '12026-01-01 00:00:00', 'infinity'],
  TIMESTAMPTZ: ['2026-09-21 14:13:20+02', '2026-09-21 14:13:20.5+00'], TIMESTAMP_S: ['2026-09-21 14:13:20'], TIMESTAMP_MS: ['2026-09-21 14:13:20.5'], TIMESTAMP_NS: ['2026-09-21 14:13:20.123456789', '2026-09-21 14:13:20'],
  INTERVAL: ['3 days', '1 month 2 hours', '0 days', '-1 years'],
  "ENUM('a', 'b,c')": ['a', 'b,c'],
};
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const column = (type: string, texts: readonly string[]): string => `SELECT v::${type} AS "the, ""column""" FROM (VALUES ${[...texts.map(literal), 'NULL'].map((text, at) => `(${at}, ${text})`).join(', ')}) t(n, v) ORDER BY n`;

describe('DuckDB writes the same text as we do', () => {
  test.each(FORMATS)('%s: every type by value, and null', async (format) => {
    for (const [type, texts] of Object.entries(VALUES)) expect(await bothWays(column(type, texts), format)).not.toBe('');
    expect(await bothWays("SELECT 'a\\x00\\xff'::BLOB AS b", 'csv')).toBe('b\r\na\\x00\\xFF\r\n');
  });

  test.each(FORMATS)('%s: columns side by side, names that are alike, no rows, nulls alone', async (format) => {
    const all = Object.entries(VALUES).map(([type, [text = '']], at) => `${literal(text)}::${type} AS "c ${at % 5}"`);
    for (const sql of [`SELECT ${all.join(', ')}`, 'SELECT 1 AS a, 2 AS a, 3 AS "a:1"', 'SELECT 1 AS a WHERE false', 'SELECT NULL', 'SELECT NULL, NULL', "SELECT ''"]) await bothWays(sql, format);
  });

  test.each(FORMATS)('%s: the public relations', async (format) => {
    for (const view of ['spans', 'traces', 'socket_events', 'span_links', 'processes', 'exports']) await bothWays(`FROM ${view} ORDER BY ALL`, format);
  });

  test.each(FORMATS)('%s: lists and structs, in whose depth nothing is long', async (format) => {
    for (const sql of ["SELECT ['a', NULL, 'b,\"c\"'] AS l", "SELECT {'a': 1, 'b': ['x']} AS s", 'SELECT [1::BIGINT] AS l', "SELECT MAP {'k': 1} AS m", 'SELECT [1, 2]::INTEGER[2] AS a', 'SELECT NULL::INTEGER[] AS n']) await bothWays(sql, format);
  });

  test.each([
    ['parameters by position', 'SELECT range AS n, ?::VARCHAR AS t FROM range(?::BIGINT)', { params: ['a"b', 3] }],
    ['parameters by name, one left out', 'SELECT range AS n, $x::VARCHAR AS t, $y::VARCHAR AS u FROM range(3)', { params: { x: "it's" } }],
    ['a parameter of no known type', 'SELECT $1 AS p', { params: ['x'] }],
    ['a semicolon and blanks behind it', 'SELECT 1 AS a ; \n', {}],
    ['a comment behind it', 'SELECT 1 AS a -- the end', {}],
    ['a comment behind a semicolon', 'SELECT 1 AS a; -- the end', {}],
    ['FROM first', 'FROM range(3) SELECT range', {}],
    ['WITH', 'WITH a AS (SELECT 1 AS x), b AS (FROM a) SELECT * FROM b', {}],
    ['a relation named as ours', 'WITH answer AS (SELECT 5 AS c0) SELECT c0 FROM answer', {}],
    ['VALUES', "VALUES (1, 'a'), (2, NULL)", {}],
    ['PIVOT', "PIVOT (SELECT 1 AS a, 2 AS b) ON a IN (1) USING sum(b)", {}],
    ['DESCRIBE', 'DESCRIBE spans', {}],
    ['SHOW TABLES', 'SHOW TABLES', {}],
    ['SUMMARIZE', "SUMMARIZE SELECT 1 AS a", {}],
    ['EXPLAIN', "EXPLAIN SELECT 1", {}],
  ])('%s', async (_name, sql, more) => {
    for (const format of FORMATS) await bothWays(sql, format, more);
  });
});

describe('the rows that were asked for, in their order', () => {
  const ROWS = 50_000;
  const texts = `SELECT n, CASE WHEN n % 3 = 0 THEN 'a' || chr(10) || '"' || n ELSE n::VARCHAR END AS t FROM (SELECT range AS n FROM range(${ROWS})) ORDER BY hash(n)`;

  test.each(FORMATS)('%s: cut behind the last one, and told', async (format) => {
    const whole = await tell(texts, format, ROWS);
    expect([whole.row_count, whole.truncated]).toEqual([ROWS, false]);
    for (const max_rows of [MANY, ROWS - 1]) {
      const cut = await tell(texts, format, max_rows);
      expect([cut.row_count, cut.truncated]).toEqual([max_rows, true]);
      if (format !== 'json') expect(whole.text.startsWith(cut.text)).toBe(true);
      else expect((read(format, cut.text) as { rows: unknown[] }).rows).toEqual((read(format, whole.text) as { rows: unknown[] }).rows.slice(0, max_rows));
    }
    const expected = (await warehouse.query(texts)).rows.map(([n]) => String(n as bigint));
    const rows = format === 'json' ? (read(format, whole.text) as { rows: string[][] }).rows.map(([n]) => n) : format === 'ndjson' ? (read(format, whole.text) as { n: string }[]).map(({ n }) => n) : [...whole.text.matchAll(/(?<=\r\n)(\d+),/g)].map(([, n]) => n);
    expect(rows).toEqual(expected);
  }, 30_000);

  test('a table comes as it lies there', async () => {
    const { text } = await tell(`FROM range(${ROWS})`, 'csv', ROWS);
    expect(text).toBe(`range\r\n${Array.from({ length: ROWS }, (_, n) => `${n}\r\n`).join('')}`);
  });

  test('a statement that fails on its way tells why, before its first row with a status of its own', async () => {
    await expect(tell("SELECT error('at once')", 'csv', MANY)).rejects.toMatchObject({ code: 'sql-failed', message: expect.stringContaining('at once') });
    const { parts } = await pool.run({ sql: "SELECT CASE WHEN range = 900000 THEN error('late') ELSE range END AS n FROM range(1000000)", max_rows: 1_000_000 }, 'csv');
    await expect((async () => { for await (const part of parts) expect(part.length).toBeGreaterThan(0); })()).rejects.toMatchObject({ code: 'sql-failed', message: expect.stringContaining('late') });
    expect((await tell('SELECT 1 AS a', 'csv', MANY)).text).toBe('a\r\n1\r\n');
  });

  test('one that is left half read leaves nothing to the next', async () => {
    for (let n = 0; n < 3; n++) {
      const { parts } = await pool.run({ sql: `SELECT repeat('x', 1000) AS t FROM range(${ROWS})`, max_rows: ROWS }, 'csv');
      await parts.next();
      await parts.return();
      expect((await tell('SELECT 2 AS b', 'ndjson', MANY)).text).toBe('{"b":2}\n');
    }
  });

  test('neither is there an end to one that is cut while it goes on', async () => {
    const started = performance.now();
    const { row_count, truncated } = await tell('SELECT a.range AS n FROM range(1000000000) a, range(1000000) b', 'csv', 100_000);
    expect([row_count, truncated]).toEqual([100_000, true]);
    expect(performance.now() - started).toBeLessThan(8000);
  }, 10_000);

  test('time and memory are limited as ever', async () => {
    await expect(tell('SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range + b.range = -1', 'csv', MANY, { timeout_ms: 300 })).rejects.toMatchObject({ code: 'sql-timeout' });
    await expect(tell("SELECT string_agg(repeat('x', 1000000), '') FROM range(20000)", 'csv', MANY)).rejects.toMatchObject({ code: expect.stringMatching(/^sql-(memory|died)$/) });
    expect((await tell('SELECT 1 AS a', 'csv', MANY)).text).toBe('a\r\n1\r\n');
  }, 30_000);
});

describe('attacks', () => {
  const refused = /^sql-(forbidden|syntax)$/;
  const code = (sql: string, format: SqlFormatName = 'csv'): Promise<string> => tell(sql, format, MANY).then(({ text }) => `answered ${text.slice(0, 100)}`, (error: { code?: string }) => error.code ?? String(error));

  test('the whole list is refused where a COPY is put around it', async () => {
    const wrong: string[] = [];
    for (const attack of SQL_ATTACKS) {
      const sql = fillAttack(attack.replaceAll(/\bevents\b/g, 'socket_events'), warehouse);
      const found = await code(sql);
      if (!refused.test(found)) wrong.push(`${found}: ${sql}`);
    }
    expect(wrong).toEqual([]);
  }, 30_000);

  test('no bracket, comment or quote gets out of ours', async () => {
    const out = join(folder, 'out');
    const own = `${data}/tmp`;
    for (const sql of [
      `SELECT 1) TO '${out}1' (FORMAT csv); --`, `SELECT 1) AS answer(c0)) TO '${out}2' (FORMAT csv) --`, `SELECT 1 /*`, `SELECT 1) AS a, (SELECT 2`, `SELECT 1) AS a, read_text('/etc/passwd') AS b(c, d, e, f) WHERE (true`, `SELECT (1`,
      `SELECT 'x`, `SELECT $$x`, `SELECT 1 AS a; COPY (SELECT 1) TO '${out}3'`, `COPY (SELECT 1) TO '${out}4'`, `COPY (SELECT 1) TO '${own}/text'`, `FROM (COPY (SELECT 1) TO '${out}5')`, `WITH x AS (COPY (SELECT 1) TO '${out}6' RETURNING *) FROM x`,
      `SELECT 1 AS c0) AS answer(c0)) TO '${out}7' (FORMAT csv, NEW_LINE '`, `SELECT 1 UNION ALL SELECT * FROM read_text('${own}/text')`, `EXPORT DATABASE '${out}8'`, "PREPARE x AS SELECT 1", "EXECUTE x",
    ]) expect(await code(sql), sql).toMatch(refused);
    expect(readdirSync(folder).filter((name) => name.startsWith('out'))).toEqual([]);
    // Names and texts of theirs stand in the COPY of ours as names and texts.
    expect((await tell(`SELECT 1 AS "') TO '${out}9' (FORMAT csv) --"`, 'ndjson', MANY)).text).toBe(`{"') TO '${out}9' (FORMAT csv) --":1}\n`);
    expect(await code(`SELECT 'a' AS "b'', error('x')) --"`, 'ndjson')).toMatch(/^answered/);
    expect(readdirSync(folder).filter((name) => name.startsWith('out'))).toEqual([]);
  });

  test('what looks like the end of a row in a text of theirs is none', async () => {
    const sql = `SELECT 'a' || chr(13) || chr(10) || 'b' || chr(34) || chr(10) AS t, range AS n FROM range(20000)`;
    for (const format of FORMATS) {
      const { row_count, truncated } = await tell(sql, format, 15_000);
      expect([row_count, truncated]).toEqual([15_000, true]);
    }
  });
});

describe('rows are counted as the text comes by', () => {
  const csv = Buffer.from(Array.from({ length: 3000 }, (_, n) => (n % 7 === 0 ? `${n},"a\n""b"\r\n` : `${n},${'x'.repeat(n % 13)}\r\n`)).join(''));

  test.each([1, 2, 3, 5, 64, 1021, 1_000_000])('in pieces of %i bytes, wherever they are cut', (size) => {
    for (const max_rows of [1, 2, 8, 1500, 2999, 3000, 3001]) {
      const cutter = new RowCutter(max_rows, { has_quotes: true });
      let taken = 0;
      for (let at = 0; at < csv.byteLength && !cutter.more; at += size) taken += cutter.take(csv.subarray(at, at + size));
      const rows = Math.min(max_rows, 3000);
      expect([cutter.rows, cutter.more]).toEqual([rows, max_rows < 3000]);
      expect(csv.subarray(0, taken).toString().replaceAll(/"(?:[^"]|"")*"/g, '').split('\n').length - 1).toBe(rows);
    }
  });
});
