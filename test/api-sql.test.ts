import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { tableFromIPC } from 'apache-arrow';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { SQL_FORMATS } from '../api/formats/sql-formats.ts';
import type { SqlFormatName } from '../api/formats/sql-formats.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { MOST_BIGINT, NOW_NS, ORDERS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let sql: SqlPool;
let app: FastifyInstance;
const logged: string[] = [];

beforeAll(async () => {
  ({ warehouse } = await shopWarehouse(folder));
  sql = new SqlPool(warehouse);
  app = buildApp({ warehouse, sql }, { now_ns: () => NOW_NS, log: (line) => logged.push(line) });
});

afterAll(async () => {
  await app.close();
  await sql.close();
  await warehouse.close();
  remove();
});

const run = (body: object, format?: SqlFormatName) => app.inject({ method: 'POST', url: `/api/v1/sql${format === undefined ? '' : `?format=${format}`}`, payload: body });

async function rowsOf(sql: string, more: object = {}): Promise<unknown[][]> {
  const answer = await run({ sql, ...more });
  expect(answer.statusCode, answer.body).toBe(200);
  return (answer.json() as { rows: unknown[][] }).rows;
}

async function refused(body: object | string, status: number, code: string): Promise<Record<string, unknown>> {
  const answer = typeof body === 'string' ? await app.inject({ method: 'POST', url: '/api/v1/sql', payload: body, headers: { 'content-type': 'application/json' } }) : await run(body);
  expect([answer.statusCode, (answer.json() as { code: string }).code], answer.body).toEqual([status, code]);
  expect(answer.headers['content-type']).toBe('application/problem+json');
  return answer.json() as Record<string, unknown>;
}

/** One column of every type that an answer may have, with a row of values and a row of nulls. */
const EVERY_TYPE = `SELECT * FROM (VALUES (
  true, 127::TINYINT, 32767::SMALLINT, 2147483647, ${MOST_BIGINT}::BIGINT, 255::UTINYINT, 65535::USMALLINT, 4294967295::UINTEGER, 18446744073709551615::UBIGINT,
  99999999999999999999999999999999999999::HUGEINT, -1.5::FLOAT, 0.1::DOUBLE, -12.34::DECIMAL(9, 2), 123456789012345678901234567890.12::DECIMAL(38, 2), 'añ''"\n字', ''::VARCHAR, 'a\\x00b'::BLOB, DATE '2026-09-21', TIME '12:34:56.789',
  make_timestamp_ns(${NOW_NS + 123456789n}), TIMESTAMP '2026-09-21 14:13:20.123456', TIMESTAMPTZ '2026-09-21 14:13:20+02', '2026-09-21 14:13:20'::TIMESTAMP_S, '2026-09-21 14:13:20.5'::TIMESTAMP_MS, INTERVAL 3 DAY,
  'c0ffee00-0000-4000-8000-000000000001'::UUID, [1, NULL, 3], {'a': 1, 'b': 'x'}, MAP {'k': 1::BIGINT}, [1, 2]::INTEGER[2], [[1], []], '{"j": 1}'::JSON
)) t(bool, i8, i16, i32, i64, u8, u16, u32, u64, huge, f32, f64, dec, bigdec, txt, empty, bytes, d, tm, ts_ns, ts, tz, ts_s, ts_ms, span, id, list, rec, dict, arr, nested, js)`;
const WITH_NULLS = `${EVERY_TYPE} UNION ALL SELECT ${Array.from({ length: 32 }, () => 'NULL').join(', ')}`;

describe('json', () => {
  test("has the contract's shape", async () => {
    const answer = await run({ sql: 'SELECT kind, count(*) AS n FROM spans GROUP BY 1 ORDER BY 1' });
    expect(answer.json()).toEqual({
      query_id: answer.headers['tracehouse-query-id'], columns: [{ name: 'kind', type: 'VARCHAR' }, { name: 'n', type: 'BIGINT' }], rows: [['client', String(ORDERS + 1)], ['server', String(2 * ORDERS + 2)]],
      row_count: 2, truncated: false, elapsed_ms: expect.any(Number),
    });
    expect(answer.trailers).toEqual({ 'tracehouse-row-count': '2', 'tracehouse-truncated': 'false' });
  });

  test('every type, exact', async () => {
    const [values, nulls] = await rowsOf(WITH_NULLS);
    expect(values).toEqual([
      true, 127, 32767, 2147483647, String(MOST_BIGINT), 255, 65535, 4294967295, '18446744073709551615', '9'.repeat(38), -1.5, 0.1, '-12.34', '123456789012345678901234567890.12', `añ'"\n字`, '', expect.any(String), '2026-09-21', '12:34:56.789',
      '2026-09-21 14:13:20.123456789', '2026-09-21 14:13:20.123456', '2026-09-21 12:13:20+00', '2026-09-21 14:13:20', '2026-09-21 14:13:20.5', expect.anything(), 'c0ffee00-0000-4000-8000-000000000001',
      [1, null, 3], { a: 1, b: 'x' }, [{ key: 'k', value: '1' }], [1, 2], [[1], []], '{"j": 1}',
    ]);
    expect(nulls?.every((value) => value === null)).toBe(true);
  });

  test('numbers that JSON has no word for are text', async () => {
    expect(await rowsOf("SELECT 'NaN'::DOUBLE, 'inf'::DOUBLE, '-inf'::FLOAT")).toEqual([['NaN', 'Infinity', '-Infinity']]);
  });

  test('no rows are an empty list', async () => {
    expect(await rowsOf('SELECT trace_id FROM traces WHERE false')).toEqual([]);
  });
});

describe('parameters', () => {
  test('by position and by name, 64 bits as text', async () => {
    expect(await rowsOf('SELECT count(*) FROM spans WHERE kind = ? AND http_response_status_code = ?', { params: ['server', 500] })).toEqual([['2']]);
    expect(await rowsOf('SELECT count(*) FROM spans WHERE process_id = $id::BIGINT', { params: { id: String(MOST_BIGINT) } })).toEqual([[String(ORDERS)]]);
    expect(await rowsOf('SELECT $1, $2, $3, $4', { params: [true, null, 1.5, ['a', 'b']] })).toEqual([[true, null, 1.5, ['a', 'b']]]);
  });

  test('by URL', async () => {
    const answer = await app.inject({ url: '/api/v1/sql', query: { q: 'SELECT $a || $b AS x', params: '{"a":"1","b":"2"}', format: 'csv' } });
    expect([answer.statusCode, answer.body]).toEqual([200, 'x\r\n12\r\n']);
    for (const params of ['{', '3', '[{}]', '[[[1]]]']) expect((await app.inject({ url: '/api/v1/sql', query: { q: 'SELECT 1', params } })).json()).toMatchObject({ code: 'sql-params', status: 400 });
  });

  test('what JSON rounded is refused rather than used', async () => {
    expect(await refused('{"sql": "SELECT $1", "params": [9223372036854775807]}', 400, 'sql-params')).toMatchObject({ mend: expect.stringContaining('$1::BIGINT') });
    expect(await rowsOf('SELECT $1', { params: [1e300] })).toEqual([[1e300]]);
  });

  test('too few, too many, wrong', async () => {
    await refused({ sql: 'SELECT ?' }, 400, 'sql-params');
    await refused({ sql: 'SELECT 1', params: [1] }, 400, 'sql-params');
    await refused({ sql: 'SELECT ?', params: [{}] }, 400, 'invalid-request');
    await refused({ sql: 'SELECT ?', params: 'x' }, 400, 'invalid-request');
  });
});

describe('formats', () => {
  test('csv by RFC 4180: quotes, line breaks, null apart from empty', async () => {
    const answer = await run({ sql: `SELECT 'a,b' AS "x,y", 'say "hi"' AS q, chr(10) AS nl, NULL AS nothing, '' AS empty, ${MOST_BIGINT}::BIGINT AS big` }, 'csv');
    expect(answer.body).toBe(`"x,y",q,nl,nothing,empty,big\r\n"a,b","say ""hi""","\n",,"",${MOST_BIGINT}\r\n`);
    expect(answer.headers['content-type']).toBe('text/csv; charset=utf-8; header=present');
  });

  test('ndjson: an object a line', async () => {
    const answer = await run({ sql: 'SELECT range AS n, range::INTEGER AS i, NULL AS z FROM range(3)' }, 'ndjson');
    expect(answer.body.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown)).toEqual([0, 1, 2].map((n) => ({ n: String(n), i: n, z: null })));
  });

  test('arrow: every type by value, over several record batches', async () => {
    const table = tableFromIPC((await run({ sql: WITH_NULLS }, 'arrow')).rawPayload);
    expect(table.numRows).toBe(2);
    const [values, nulls] = table.toArray() as Record<string, unknown>[];
    const column = (name: string): unknown => values?.[name];
    expect(['bool', 'i8', 'i16', 'i32', 'i64', 'u8', 'u16', 'u32', 'u64', 'f32', 'f64', 'txt', 'empty', 'js'].map(column)).toEqual([true, 127, 32767, 2147483647, MOST_BIGINT, 255, 65535, 4294967295, 18446744073709551615n, -1.5, 0.1, `añ'"\n字`, '', '{"j": 1}']);
    expect(Object.fromEntries(table.schema.fields.map((field) => [field.name, String(field.type)]))).toMatchObject({
      i64: 'Int64', u64: 'Uint64', huge: 'Decimal[38e0]', dec: 'Decimal[9e+2]', ts_ns: 'Timestamp<NANOSECOND>', ts: 'Timestamp<MICROSECOND>', tz: 'Timestamp<MICROSECOND, UTC>', d: 'Date32<DAY>', bytes: 'Binary', list: 'List<Int32>', span: 'Utf8', id: 'Utf8',
    });
    expect(table.getChild('ts_ns')?.data[0]?.values[0]).toBe(NOW_NS + 123456789n);
    expect(String(column('huge'))).toBe('9'.repeat(38));
    expect(String(column('dec'))).toBe('-1234');
    expect(JSON.stringify(column('list'))).toBe('[1,null,3]');
    expect(JSON.stringify(column('rec'))).toBe('{"a":1,"b":"x"}');
    expect(JSON.parse(JSON.stringify(column('dict'), (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)))).toEqual({ k: '1' });
    expect(JSON.stringify(column('nested'))).toBe('[[1],[]]');
    expect(Object.values(nulls ?? {}).every((value) => value === null)).toBe(true);

    const many = tableFromIPC((await run({ sql: 'SELECT range AS n, CASE WHEN range % 3 = 0 THEN NULL ELSE range::VARCHAR END AS t FROM range(100000)', max_rows: 90_001 }, 'arrow')).rawPayload);
    expect([many.numRows, many.batches.length > 1, many.getChild('n')?.get(90_000), many.getChild('t')?.get(89_999), many.getChild('t')?.get(89_998)]).toEqual([90_001, true, 90_000n, '89999', '89998']);
    expect(tableFromIPC((await run({ sql: 'SELECT 1::BIGINT AS a WHERE false' }, 'arrow')).rawPayload).schema.fields.map(String)).toEqual(['a: Int64']);
  });

  // Up to twelve bytes lie in DuckDB's vector itself, longer ones elsewhere, mostly one behind the other.
  test.each([
    ['of every length, some null', "CASE WHEN n % 7 = 3 THEN NULL ELSE repeat(chr(97 + (n % 26)::INTEGER), (n * 7919 % 31)::INTEGER) || CASE WHEN n % 5 = 0 THEN 'ß字' ELSE '' END END"],
    ['all long', "printf('%016x%016x', n, n * 7919)"],
    ['all short', "printf('%012d', n)"],
    ['long ones of a few values', "CASE n % 3 WHEN 0 THEN 'GET /orders/{id}/lines' WHEN 1 THEN 'POST /orders' ELSE 'DELETE /customers/{id}' END"],
    ['one for all', "'the same text in every row'"],
    ['long and short in turn', "CASE WHEN n % 2 = 0 THEN 'in the vector' ELSE '' END || n"],
  ])('arrow: texts %s, also as blobs, over several record batches', async (_name, text) => {
    const statement = `SELECT n, ${text} AS t, encode(${text}) AS b FROM range(70000) AS r (n)`;
    const table = tableFromIPC((await run({ sql: statement, max_rows: 70_000 }, 'arrow')).rawPayload);
    const rows = (await warehouse.query(`SELECT t FROM (${statement}) ORDER BY n`)).rows.map(([value]) => value as string | null);
    expect(table.batches.length).toBeGreaterThan(1);
    const [texts, blobs] = ['t', 'b'].map((name) => table.getChild(name)?.toJSON() ?? []) as [(string | null)[], (Uint8Array | null)[]];
    expect(texts).toEqual(rows);
    expect(blobs.map((bytes) => bytes && Buffer.from(bytes).toString())).toEqual(rows);
  });

  test('parquet: DuckDB reads back what it said, and no file stays', async () => {
    const answer = await run({ sql: `SELECT *, sum(i64) OVER () AS total FROM (${WITH_NULLS})` }, 'parquet');
    expect(answer.statusCode, answer.body.slice(0, 500)).toBe(200);
    expect(answer.trailers['tracehouse-row-count']).toBe('2');
    const target = join(folder, 'read-back');
    mkdirSync(target);
    writeFileSync(join(target, 'a.parquet'), answer.rawPayload);
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    const read = await connection.runAndReadAll(`SELECT * FROM '${target}/a.parquet'`);
    expect((read.getRowsJson()[0] as unknown[]).slice(0, 16)).toEqual([
      true, 127, 32767, 2147483647, String(MOST_BIGINT), 255, 65535, 4294967295, '18446744073709551615', '9'.repeat(38), -1.5, 0.1, '-12.34', '123456789012345678901234567890.12', `añ'"\n字`, '',
    ]);
    expect(String(read.columnTypes().at(-1))).toBe('DECIMAL(38,0)');
    expect(read.getRowsJson()[0]?.at(-1)).toBe(String(MOST_BIGINT));
    connection.closeSync();
    instance.closeSync();
    expect(readdirSync(join(folder, 'tmp')).filter((name) => name.endsWith('.parquet'))).toEqual([]);
  });

  test('Accept chooses, ?format= wins', async () => {
    const type = async (accept: string, url = '/api/v1/sql'): Promise<string> => (await app.inject({ method: 'POST', url, payload: { sql: 'SELECT 1' }, headers: { accept } })).headers['content-type'] as string;
    for (const { media_type, content_type } of Object.values(SQL_FORMATS)) expect(await type(media_type)).toBe(content_type);
    expect(await type('text/html,application/xhtml+xml,*/*;q=0.8')).toContain('application/json');
    expect(await type('application/json;q=0.5, text/csv')).toContain('text/csv');
    expect(await type('text/*')).toContain('text/csv');
    expect(await type('text/csv', '/api/v1/sql?format=ndjson')).toContain('ndjson');
    expect(await type('image/png')).toBe('application/problem+json');
    expect((await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: 'SELECT 1' }, headers: { accept: 'image/png' } })).json()).toMatchObject({ status: 406, code: 'not-acceptable' });
  });
});

describe('limits', () => {
  test.each(['json', 'ndjson', 'csv', 'arrow', 'parquet'] as const)('max_rows cuts %s, and the answer says so', async (format) => {
    const answer = await run({ sql: 'FROM range(100000)', max_rows: 3000 }, format);
    expect(answer.trailers).toEqual({ 'tracehouse-row-count': '3000', 'tracehouse-truncated': 'true' });
    if (format === 'json') expect(answer.json()).toMatchObject({ row_count: 3000, truncated: true });
  });

  test('time', async () => {
    const problem = await refused({ sql: 'SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7', timeout_ms: 100 }, 408, 'sql-timeout');
    expect(problem['mend']).toMatch(/timeout_ms/);
  });

  test('limits have limits', async () => {
    await refused({ sql: 'SELECT 1', max_rows: 5_000_001 }, 400, 'invalid-request');
    await refused({ sql: 'SELECT 1', timeout_ms: 60_001 }, 400, 'invalid-request');
    await refused({ sql: 'SELECT 1', max_rows: 0 }, 400, 'invalid-request');
  });
});

test('errors have a code each', async () => {
  await refused({ sql: 'SELEC 1' }, 400, 'sql-syntax');
  await refused({ sql: 'SELECT nothing FROM spans' }, 422, 'sql-failed');
  await refused({ sql: "SELECT * FROM read_csv('/etc/passwd')" }, 403, 'sql-forbidden');
  await refused({ sql: 'DROP VIEW spans' }, 403, 'sql-forbidden');
  await refused({ sql: "SELECT error('from inside')" }, 422, 'sql-failed');
  await refused({}, 400, 'invalid-request');
  await refused({ sql: '' }, 400, 'invalid-request');
  await refused({ sql: 'SELECT 1', nonsense: 1 }, 400, 'invalid-request');
  await refused('{"sql": ', 400, 'invalid-request');
  const text = await app.inject({ method: 'POST', url: '/api/v1/sql', payload: 'SELECT 1', headers: { 'content-type': 'text/plain' } });
  expect(text.json()).toMatchObject({ status: 415, code: 'unsupported-media-type' });
  const large = await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: 'x'.repeat(2 * 1024 * 1024) } });
  expect(large.json()).toMatchObject({ status: 413, code: 'body-too-large' });
});

describe('over a socket', () => {
  const socket_path = join(folder, 'sql.sock');

  beforeAll(async () => {
    await app.listen({ path: socket_path });
  });

  const post = (body: object, format: string) => {
    const sent = request({ socketPath: socket_path, path: `/api/v1/sql?format=${format}`, method: 'POST', headers: { host: 'localhost', 'content-type': 'application/json' } });
    sent.end(JSON.stringify(body));
    return sent;
  };
  const places = async (): Promise<boolean> => {
    // Four statements may run at once: all four places are free when four run.
    const answers = await Promise.all([1, 2, 3, 4].map(() => run({ sql: 'SELECT count(*) FROM spans' })));
    return answers.every((answer) => answer.statusCode === 200);
  };

  test('a client that goes away takes its statement with it', async () => {
    const endless = { sql: 'SELECT a.range + b.range AS n FROM range(3000000) a, range(3000000) b', max_rows: 5_000_000, timeout_ms: 60_000 };
    for (let round = 0; round < 5; round++) {
      const sent = post(endless, 'csv');
      await new Promise<void>((resolve) => {
        sent.once('response', (response) => {
          response.once('data', () => {
            sent.destroy();
            resolve();
          });
        });
      });
    }
    const before_head = post({ sql: 'SELECT count(*) FROM range(3000000) a, range(3000000) b WHERE a.range * b.range = 3', timeout_ms: 60_000 }, 'json');
    before_head.on('error', () => undefined);
    await new Promise((resolve) => before_head.once('finish', resolve));
    before_head.destroy();
    await expect.poll(places, { timeout: 5000 }).toBe(true);
  });

  test('an answer that is not whole does not end in order', async () => {
    const outcome = await new Promise<string>((resolve) => {
      post({ sql: "SELECT CASE WHEN range = 500000 THEN error('late') ELSE range END AS n FROM range(1000000)", max_rows: 1_000_000 }, 'ndjson').once('response', (response) => {
        response.resume();
        response.once('end', () => resolve(`ended ${response.statusCode} ${JSON.stringify(response.trailers)}`));
        response.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      });
    });
    expect(outcome).toBe('ECONNRESET');
    expect(logged.filter((line) => line.includes('after the answer had begun'))).toHaveLength(1);
    await expect.poll(places, { timeout: 5000 }).toBe(true);
  });

  test('a slow reader holds the statement back instead of filling memory', async () => {
    const response = await new Promise<import('node:http').IncomingMessage>((resolve) => post({ sql: "SELECT repeat('x', 1000) AS t FROM range(1000000)", max_rows: 1_000_000, timeout_ms: 30_000 }, 'csv').once('response', resolve));
    response.pause();
    const before = process.memoryUsage().arrayBuffers;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 1024 * 1024);
    response.destroy();
    await expect.poll(places, { timeout: 5000 }).toBe(true);
  });
});
