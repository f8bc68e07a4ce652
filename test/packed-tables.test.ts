import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { DuckDBConnection } from '@duckdb/node-api';
import { DuckDBInstance } from '@duckdb/node-api';
import { PACKINGS, packedName, tableOfPacked } from '../ingest/packed-tables.ts';
import type { Segment } from '../ingest/segment-catalog.ts';
import { copySegments, partsOf } from '../ingest/segment-copy.ts';
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
  make(kind, level, (alias) => copySegments(connection, tables.of(kind), inputs, alias, { rest: 0, rows_together: 100 }));

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
