import { DuckDBInstance } from '@duckdb/node-api';
import { Kysely, sql } from 'kysely';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DuckDbDialect } from '../api/kysely-duckdb-dialect.ts';

interface Tables {
  calls: { id: bigint; name: string | null; took: number };
}

let instance: DuckDBInstance;
let db: Kysely<Tables>;

beforeEach(async () => {
  instance = await DuckDBInstance.create(':memory:');
  db = new Kysely<Tables>({ dialect: new DuckDbDialect({ connect: () => instance.connect(), max_connections: 2 }) });
  await db.schema.createTable('calls').addColumn('id', 'bigint', (column) => column.notNull()).addColumn('name', 'varchar').addColumn('took', sql`DOUBLE`, (column) => column.defaultTo(0)).execute();
});

afterEach(async () => {
  await db.destroy();
  instance.closeSync();
});

test('64-bit integers go in and out whole, and are bound as BIGINT', async () => {
  const most = 2n ** 63n - 1n;
  await db.insertInto('calls').values({ id: most, name: 'a', took: 1.5 }).execute();
  expect(await db.selectFrom('calls').selectAll().where('id', '=', most).execute()).toEqual([{ id: most, name: 'a', took: 1.5 }]);
  expect((await sql<{ a: string; b: string; c: string }>`SELECT typeof(${1n}) AS a, typeof(${7}) AS b, typeof(${0.5}) AS c`.execute(db)).rows).toEqual([{ a: 'BIGINT', b: 'BIGINT', c: 'DOUBLE' }]);
});

test('text is a parameter, whatever it holds', async () => {
  const nasty = `'; DROP TABLE calls; -- $1 "x"`;
  await db.insertInto('calls').values([{ id: 1n, name: nasty, took: 0 }, { id: 2n, name: null, took: 0 }]).execute();
  expect(await db.selectFrom('calls').select('id').where('name', '=', nasty).execute()).toEqual([{ id: 1n }]);
  expect(await db.selectFrom('calls').select('id').where('name', 'is', null).execute()).toEqual([{ id: 2n }]);
});

test('streams chunk by chunk, and may be left early', async () => {
  await sql`INSERT INTO calls SELECT range, 'n', 0 FROM range(10000)`.execute(db);
  let rows = 0;
  for await (const { id } of db.selectFrom('calls').select('id').orderBy('id').stream()) {
    expect(id).toBe(BigInt(rows));
    rows += 1;
    if (rows === 5000) break;
  }
  expect(await db.selectFrom('calls').select(({ fn }) => fn.countAll<bigint>().as('n')).executeTakeFirst()).toEqual({ n: 10000n });
});

test('a stream that fails on its way does not pass for a whole one', async () => {
  const failing = db.selectFrom(sql<{ n: bigint }>`(SELECT CASE WHEN range = 500000 THEN error('late') ELSE range END AS n FROM range(1000000))`.as('late')).select('n').stream();
  await expect((async () => {
    for await (const row of failing) expect(row).toHaveProperty('n');
  })()).rejects.toThrow('failed after some of its rows');
});

test('a transaction that fails leaves nothing', async () => {
  const failed = db.transaction().execute(async (transaction) => {
    await transaction.insertInto('calls').values({ id: 1n, name: 'a', took: 0 }).execute();
    throw new Error('no');
  });
  await expect(failed).rejects.toThrow('no');
  expect(await db.selectFrom('calls').selectAll().execute()).toEqual([]);
});

test('more queries at once than connections wait their turn', async () => {
  const answers = await Promise.all(Array.from({ length: 9 }, (_, n) => sql<{ n: bigint }>`SELECT ${n} AS n`.execute(db)));
  expect(answers.map(({ rows }) => rows[0]?.n)).toEqual([0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n]);
});

test('ASOF and QUALIFY fit in through templates', async () => {
  await sql`INSERT INTO calls VALUES (1, 'a', 1), (5, 'b', 2), (9, 'c', 3)`.execute(db);
  const { rows } = await sql`SELECT a.t, c.name FROM (VALUES (6), (2)) a(t) ASOF JOIN calls c ON a.t >= c.id ORDER BY a.t`.execute(db);
  expect(rows).toEqual([{ t: 2, name: 'a' }, { t: 6, name: 'b' }]);
  const last = await db.selectFrom('calls').select('id').modifyEnd(sql`QUALIFY row_number() OVER (ORDER BY id DESC) = 1`).execute();
  expect(last).toEqual([{ id: 9n }]);
});

test('introspection names tables, views and columns', async () => {
  await sql`CREATE VIEW slow AS SELECT id FROM calls WHERE took > 1`.execute(db);
  const tables = await db.introspection.getTables();
  expect(tables.map(({ name, isView }) => [name, isView])).toEqual([['calls', false], ['slow', true]]);
  expect(tables[0]?.columns.map(({ name, dataType, isNullable, hasDefaultValue }) => [name, dataType, isNullable, hasDefaultValue])).toEqual([
    ['id', 'BIGINT', false, false], ['name', 'VARCHAR', true, false], ['took', 'DOUBLE', true, true],
  ]);
  expect((await db.introspection.getSchemas()).map(({ name }) => name)).toContain('main');
});
