import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { DuckDBConnection } from '@duckdb/node-api';
import { DuckDBInstance } from '@duckdb/node-api';
import { PACKINGS, packedName, tableOfPacked } from '../ingest/packed-tables.ts';
import type { Segment } from '../ingest/segment-catalog.ts';
import { copySegments, partsOf } from '../ingest/segment-copy.ts';
import { restOf } from '../ingest/segment-keeper.ts';
import { SEGMENT_KINDS } from '../ingest/segment-names.ts';
import type { SegmentKind } from '../ingest/segment-names.ts';
import { SegmentTables, countRows, schemaFolder } from '../ingest/segment-tables.ts';

const folder = mkdtempSync(join(tmpdir(), 'tracehouse-test-'));
const instance = await DuckDBInstance.create(':memory:');
const connection = await instance.connect();
const tables = await SegmentTables.load(connection, schemaFolder());
afterAll(() => {
  connection.closeSync();
  instance.closeSync();
  rmSync(folder, { recursive: true, force: true });
});

const kindOf = (table: string): SegmentKind => SEGMENT_KINDS.find((kind) => tables.of(kind).some(({ name }) => name === table)) as SegmentKind;
const all = async (sql: string): Promise<unknown[][]> => (await (await connection.run(sql)).getRowsJS()) as unknown[][];

/** Values of a column in a row: as in life, and as no collector would send them. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  BIGINT: ['0', '1', '4294967295', '1795892719046388783', '9223372036854775807', 'NULL'],
  INTEGER: ['0', '443', '2147483647', 'NULL'],
  BOOLEAN: ['true', 'false', 'NULL'],
  VARCHAR: ["'write'", "'read'", "''", "'ä'", 'NULL'],
  DOUBLE: ['0.1', '1.0', '0.30000000000000004', '1e-300', 'NULL'],
  BLOB: ["'\\x00\\xff'::BLOB", 'NULL'],
  TIMESTAMP_NS: ["make_timestamp_ns(1795892719046388783)", 'NULL'],
};

async function fillTable(alias: string, table: string, rows: number, odd: boolean): Promise<void> {
  const columns = (await all(`SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = '${alias}' AND table_name = '${table}' ORDER BY column_index`)) as [string, string][];
  const tuples = Array.from({ length: rows }, (_, row) =>
    columns.map(([name, type], at) => {
      const values = VALUES[type] as readonly string[];
      const value = values[(row * 7 + at * 3 + (row >> 3)) % values.length] as string;
      // What is subtracted from each other: there, and as large as it is in life, unless this is to be odd.
      if (!odd && type === 'BIGINT' && /_ns$|_offset$|^span_id$/.test(name)) return String(1_795_892_719_046_388_783n + BigInt(row * 1000 + at));
      return !odd && name.endsWith('tcp_seq') && value.length > 10 ? 'NULL' : value;
    }),
  );
  await connection.run(`INSERT INTO ${alias}.main.${table} VALUES ${tuples.map((tuple) => `(${tuple.join(', ')})`).join(', ')}`);
}

let made = 0;
async function make(kind: SegmentKind, level: number, fill: (alias: string) => Promise<void>): Promise<Segment> {
  const alias = `s${made++}`;
  await connection.run(`ATTACH '${join(folder, alias)}.duckdb' AS ${alias} (STORAGE_VERSION 'latest')`);
  await tables.create(connection, kind, alias);
  await fill(alias);
  return { kind, uid: alias, level, state: 'sealed', alias, path: '', from_ns: 0n, to_ns: 0n, rows: await countRows(connection, alias), bytes: 0, last_apply_no: null, born_ms: 0 };
}

const copyOf = (inputs: readonly Segment[], kind: SegmentKind, level: number): Promise<Segment> =>
  make(kind, level, (alias) => copySegments(connection, tables.of(kind), inputs, alias, { rest: () => 0, rows_together: 100 }));

const isPacked = async (c: DuckDBConnection, alias: string, table: string): Promise<boolean> =>
  (await (await c.run(`SELECT 1 FROM duckdb_tables() WHERE database_name = '${alias}' AND table_name = '${packedName(table)}'`)).getRowsJS()).length > 0;

async function expectSame(table: string, copy: Segment, inputs: readonly Segment[]): Promise<void> {
  const rowsOf = (segments: readonly Segment[]): string => `(${[`SELECT * FROM memory.template_${copy.kind}.${table}`, ...segments.map(({ alias }) => `SELECT * FROM ${alias}.main.${table}`)].join(' UNION ALL BY NAME ')})`;
  const [own, theirs] = [rowsOf([copy]), rowsOf(inputs)];
  expect(await all(`(FROM ${own} EXCEPT ALL FROM ${theirs}) UNION ALL (FROM ${theirs} EXCEPT ALL FROM ${own})`)).toEqual([]);
  expect(copy.rows?.get(table)).toBe(inputs.reduce((sum, { rows }) => sum + (rows?.get(table) ?? 0), 0));
  const types = (alias: string): string => `SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = '${alias}' AND table_name = '${table}' ORDER BY column_index`;
  expect(await all(types(copy.alias))).toEqual(await all(types((inputs[0] as Segment).alias)));
}

test.each(Object.keys(PACKINGS))('%s comes back from its packed form as it was, and from one that was copied again', async (table) => {
  const kind = kindOf(table);
  const inputs = [await make(kind, 0, (alias) => fillTable(alias, table, 120, false)), await make(kind, 0, (alias) => fillTable(alias, table, 50, false))];
  const copy = await copyOf(inputs, kind, 1);
  expect(await isPacked(connection, copy.alias, table)).toBe(true);
  await expectSame(table, copy, inputs);
  const again = await copyOf([copy, inputs[0] as Segment], kind, 2);
  expect(await isPacked(connection, again.alias, table)).toBe(true);
  await expectSame(table, again, [...inputs, inputs[0] as Segment]);
});

test.each(Object.keys(PACKINGS))('%s with numbers that cannot be packed is copied as it is', async (table) => {
  const kind = kindOf(table);
  const odd = await make(kind, 0, (alias) => fillTable(alias, table, 120, true));
  const sane = await copyOf([await make(kind, 0, (alias) => fillTable(alias, table, 20, false))], kind, 1);
  const copy = await copyOf([sane, odd], kind, 1);
  await expectSame(table, copy, [sane, odd]);
});

test('the span id of the other end takes no room of its own', async () => {
  const input = await make('derived', 0, async (alias) => {
    const rows = `SELECT 3_000_000_000 * i AS span_id, 3_000_000_000 * i + CASE WHEN i % 7 = 0 THEN -5 ELSE 4_000_000_000_000_000 END AS peer_span_id, peer_span_id AS parent_span_id, true AS is_server, i AS start_ns, i + 9 AS end_ns FROM range(5000) t (i)`;
    await connection.run(`INSERT INTO ${alias}.main.spans BY NAME ${rows}`);
    await connection.run(`UPDATE ${alias}.main.spans SET peer_span_id = NULL WHERE start_ns % 11 = 0`);
    await connection.run(`UPDATE ${alias}.main.spans SET peer_span_id = 5 WHERE peer_span_id < 0`);
  });
  const copy = await copyOf([input], 'derived', 1);
  await expectSame('spans', copy, [input]);
  expect(await all(`SELECT count(DISTINCT peer_distance) < 10, count(parent_span_id) < 500 FROM ${copy.alias}.main.${packedName('spans')}`)).toEqual([[true, true]]);
});

/** As queries/correlate/10-exchanges.sql computes them. */
const idAt = (conn: string, place: string): string => `((${conn} % 2147483629 * 1103515245 + ${place} % 1000000007 * 69069 + 7919) % 2147483647) * 4294967296
  + (${conn} % 4294967291 * 1073741789 + ${place} % 2147483629 * 1073741827 + 1299709) % 4294967291`;

test('span ids of a connection are counted from a few, and what a socket and a thread always say is there once', async () => {
  const [sockets, rows] = [50, 20_000];
  const input = await make('derived', 0, async (alias) => {
    const conn = `(i % ${sockets} * 123456789012345 + 987654321)`;
    const spans = `SELECT ${idAt(conn, `(i // ${sockets} * 137)`)} AS span_id, ${conn} AS socket_id, 4 AS fd, '10.0.0.1' AS local_ip, 80 AS local_port, CASE WHEN i % ${sockets} > 0 THEN '10.0.0.2' END AS remote_ip, i % ${sockets} AS remote_port,
      4000000000000000000 AS process_id, 42 AS pid, i % 5 AS tid, i % 5 + 10000000000 AS thread_id, true AS is_server, i * 1000 AS start_ns, i * 1000 + 9 AS end_ns, '/items/' || i AS path, '/items/{id}' AS url_template, i AS trace_hi, 1 AS trace_lo FROM range(${rows}) t (i)`;
    await connection.run(`INSERT INTO ${alias}.main.spans BY NAME ${spans}`);
  });
  expect(await all(`SELECT count(DISTINCT span_id) FROM ${input.alias}.main.spans`)).toEqual([[BigInt(rows)]]);
  const copy = await make('derived', 1, (alias) => copySegments(connection, tables.of('derived'), [input], alias, { rest: () => 0, rows_together: rows }));
  await expectSame('spans', copy, [input]);
  // 54,663 bytes of requests a socket: four ids to count from.
  expect(await all(`SELECT count(DISTINCT socket), count(DISTINCT thread), count(DISTINCT span_rest) <= 16, max(span_steps) < 4096, count(path), max(path_id) FROM ${copy.alias}.main.${packedName('spans')}`)).toEqual([[BigInt(sockets * 4), 5n, true, true, 0n, '9999']]);
});

test('paths come back whatever their template says', async () => {
  const pairs: readonly (readonly [string | null, string | null])[] = [
    ['/a/1', '/a/{id}'], ['/a/1/b', '/a/{id}/b'], ['/a', '/a'], ['/a/{id}', '/a/{id}'], ['/a/', '/a/{id}'], ['/a/1/b/2', '/a/{id}/b/{id}'], ['/a/1/b/1', '/a/{id}/b/{id}'],
    ['/b/1', '/a/{id}'], ['', '/a/{id}'], ['/a/ä|ö', '/a/{id}'], ['/x', null], [null, '/a/{id}'], [null, null], ['', ''],
  ];
  const text = (value: string | null): string => (value === null ? 'NULL' : `'${value}'`);
  const input = await make('derived', 0, async (alias) => {
    await connection.run(`INSERT INTO ${alias}.main.spans BY NAME SELECT i AS span_id, i AS start_ns, i AS end_ns, path, url_template FROM (VALUES ${pairs.map(([path, template], i) => `(${i}, ${text(path)}, ${text(template)})`).join(', ')}) t (i, path, url_template)`);
  });
  const copy = await copyOf([input], 'derived', 1);
  expect(await isPacked(connection, copy.alias, 'spans')).toBe(true);
  await expectSame('spans', copy, [input]);
});

test('a big file that is laid out otherwise is packed piece by piece, in order', async () => {
  const input = await make('derived', 1, (alias) => fillTable(alias, 'spans', 350, false));
  await connection.run(`UPDATE ${input.alias}.main.spans SET trace_hi = CASE WHEN span_id % 7000 = 0 THEN NULL ELSE span_id % 10007 * 7919 % 10007 // 9 END, trace_lo = 1`);
  const copy = await copyOf([input], 'derived', 2);
  expect(await isPacked(connection, copy.alias, 'spans')).toBe(true);
  await expectSame('spans', copy, [input]);
  expect(await all(`SELECT count(*) FROM (SELECT trace_hi < lag(trace_hi) OVER (ORDER BY rowid) AS back FROM ${copy.alias}.main.${packedName('spans')}) WHERE back`)).toEqual([[0n]]);
});

test('payload stays compressed as a whole', async () => {
  const input = await make('raw', 0, async (alias) => {
    await connection.run(`INSERT INTO ${alias}.main.socket_events BY NAME SELECT i AS ts_ns, i AS mono_ns, 0 AS stream_offset, 0 AS other_offset, CAST('GET /orders/' || hash(i) AS BLOB) AS payload FROM range(5000) t (i)`);
  });
  const copy = await copyOf([input], 'raw', 1);
  await connection.run(`CHECKPOINT ${copy.alias}`);
  expect(await all(`SELECT DISTINCT compression FROM pragma_storage_info('${copy.alias}.main.${packedName('socket_events')}') WHERE column_name = 'payload' AND segment_type = 'BLOB'`)).toEqual([['ZSTD']]);
  await expectSame('socket_events', copy, [input]);
});

test('small files are put in order together, bigger ones stay as they are', () => {
  const segment = (level: number, rows: number): Segment => ({ level, rows: new Map([['spans', rows]]) }) as unknown as Segment;
  const [a, b, c, d, e] = [segment(0, 60), segment(0, 60), segment(1, 500), segment(0, 0), segment(0, 10)];
  expect(partsOf([a, b, c, d, e] as Segment[], 'spans', 100)).toEqual([[a, b], [c], [e]]);
  expect(tableOfPacked(packedName('spans'))).toBe('spans');
});

test.each(['packed', 'as a table', 'through a view'])('files that are in order are copied a slice at a time (%s)', async (how) => {
  const table = 'messages';
  const [small, big] = [await make('raw', 0, (alias) => fillTable(alias, table, 90, false)), await make('raw', 0, (alias) => fillTable(alias, table, 250, how === 'as a table'))];
  const inputs = [await copyOf([small], 'raw', 1), await copyOf([big], 'raw', 1)];
  if (how === 'through a view') for (const { alias } of inputs) {
    // As a file of another layout: its rows are where only its own view knows.
    await connection.run(`CREATE TABLE ${alias}.main.${table}_packed_0 AS FROM ${alias}.main.${table}; CREATE OR REPLACE VIEW ${alias}.main.${table} AS FROM ${alias}.main.${table}_packed_0; DROP TABLE ${alias}.main.${packedName(table)}`);
  }
  const statements: string[] = [];
  const noted = { run: (sql: string) => (statements.push(sql), connection.run(sql)) };
  const copy = await make('raw', 2, (alias) => copySegments(noted, tables.of('raw'), inputs, alias, { rest: () => 0, rows_together: 100 }));
  await expectSame(table, copy, [small, big]);
  expect(statements.filter((sql) => sql.startsWith('INSERT') && sql.includes(`"${table}`)).length).toBe(how === 'through a view' ? 2 : 4);
});

test.each([['socket_events', 'socket_id'], ['messages', 'socket_id'], ['spans', 'trace_hi'], ['span_links', 'start_ns']])('%s of new files are put in order a piece at a time, and lie as if all had been at once', async (table, first) => {
  const kind = kindOf(table);
  const filled = (rows: number) => (alias: string): Promise<void> =>
    fillTable(alias, table, rows, false).then(async () => void (await connection.run(`UPDATE ${alias}.main.${table} SET ${first} = CASE WHEN rowid % 10 > 0 THEN rowid * 7919 % 997 END`)));
  const inputs = [await make(kind, 0, filled(90)), await make(kind, 0, filled(250))];
  const statements: string[] = [];
  const noted = { run: (sql: string) => (statements.push(sql), connection.run(sql)) };
  const copied = (rows_together: number): Promise<Segment> => make(kind, 1, (alias) => copySegments(noted, tables.of(kind), inputs, alias, { rest: () => 0, rows_together }));
  const [pieces, whole] = [await copied(100), await copied(1000)];
  const fills = statements.filter((sql) => sql.startsWith('INSERT') && sql.includes(`"${packedName(table)}"`));
  expect(fills.filter((sql) => sql.includes(`${first} >= `)).length).toBe(3); // 340 rows
  expect(fills.length).toBe(5);
  await expectSame(table, pieces, inputs);
  const order = `SELECT ${(PACKINGS[table] as Packing).order} FROM`;
  expect(await all(`${order} ${pieces.alias}.main.${table}`)).toEqual(await all(`${order} ${whole.alias}.main.${table}`));
});

test.each([['messages', 'last_turn'], ['spans', 'remote_port']])('files of %s that have texts as numbers, alone and together, and one without a column that packing names (%s)', async (table, lacking) => {
  const kind = kindOf(table);
  const numbered = (type: string) => (alias: string): Promise<void> =>
    fillTable(alias, table, 120, false).then(async () => void (await connection.run(`CREATE TYPE ${alias}.main.few AS ENUM (${type}); ALTER TABLE ${alias}.main.${table} ALTER method TYPE ${alias}.main.few`)));
  const one = await make(kind, 0, numbered("'write', 'read', '', 'ä'"));
  const other = await make(kind, 0, numbered("'ä', '', 'read', 'write', 'never'"));
  const older = await make(kind, 0, (alias) => fillTable(alias, table, 130, false).then(async () => void (await connection.run(`ALTER TABLE ${alias}.main.${table} DROP COLUMN ${lacking}`))));
  const apart = await copyOf([older, one, other], kind, 1);
  const together = await make(kind, 1, (alias) => copySegments(connection, tables.of(kind), [older, one, other], alias, { rest: () => 0, rows_together: 1000 }));
  const rows = (alias: string): string => `SELECT * REPLACE (CAST(method AS VARCHAR) AS method) FROM ${alias}.main.${table}`;
  const theirs = `(SELECT * FROM memory.template_${kind}.${table} UNION ALL BY NAME ${rows(one.alias)} UNION ALL BY NAME ${rows(other.alias)} UNION ALL BY NAME ${rows(older.alias)})`;
  for (const { alias } of [apart, together]) {
    expect(await isPacked(connection, alias, table)).toBe(true);
    const own = `(${rows(alias)})`;
    expect(await all(`(FROM ${own} EXCEPT ALL FROM ${theirs}) UNION ALL (FROM ${theirs} EXCEPT ALL FROM ${own})`)).toEqual([]);
    expect(await all(`SELECT data_type FROM duckdb_columns() WHERE database_name = '${alias}' AND table_name = '${table}' AND column_name = 'method'`)).toEqual([['VARCHAR']]);
  }
});

test('a copy rests as long as it is told to, and no longer once that is less, or something more urgent comes', async () => {
  const inputs = [await make('raw', 0, (alias) => fillTable(alias, 'messages', 120, false)), await make('raw', 0, (alias) => fillTable(alias, 'messages', 120, false))];
  const copied = async (options: { rest(): number; interrupted?(): boolean }): Promise<number> => {
    const begun = performance.now();
    await make('raw', 1, (alias) => copySegments(connection, tables.of('raw'), inputs, alias, { ...options, rows_together: 100 }));
    return performance.now() - begun;
  };
  let asked = 0;
  await copied({ rest: () => (++asked < 5 ? 1e6 : 0) });
  expect(asked).toBeGreaterThanOrEqual(5);
  let parts = 0;
  await expect(copied({ rest: () => ((parts += 1), 1e6), interrupted: () => parts > 0 })).rejects.toThrow('more urgent');
  expect(parts).toBe(1);
});

test('files are put together at leisure while something else lacks processors, until too many wait', () => {
  expect([0, 239, 240].map((waiting) => restOf(waiting, false))).toEqual([1, 1, 0]);
  expect([0, 239, 240].map((waiting) => restOf(waiting, true))).toEqual([6, 6, 0]);
});
