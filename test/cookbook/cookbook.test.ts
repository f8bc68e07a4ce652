import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildApp } from '../../api/app.ts';
import { readRecording } from '../../ingest/recording.ts';
import { Warehouse } from '../../ingest/warehouse.ts';
import { cookbookQueries } from '../../queries/cookbook.ts';
import { Correlator } from '../../queries/correlator.ts';
import { checkUserSql, runUserSql } from '../../queries/sql-gate.ts';
import { packageRoot } from '../../schema/package-root.ts';
import { keptFolder } from '../support/temporary-folder.ts';
import { storeStory } from '../support/told-story.ts';
import { STORIES } from './stories.ts';

const queries = cookbookQueries();
const sqlOf = (name: string): string => queries.find((query) => query.name === name)?.sql ?? '';

test('each query has a story, and each story a query', () => {
  expect(Object.keys(STORIES).toSorted()).toEqual(queries.map(({ name }) => name));
  expect(queries.length).toBe(20);
});

describe.each(Object.entries(STORIES))('%s', (name, cases) => {
  test.each(cases.map((one, index) => [index + 1, one] as const))('story %i', async (_number, { params, expect: expected, ...story }) => {
    const warehouse = await storeStory(story);
    const app = buildApp({ warehouse });
    const answer = await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: sqlOf(name), ...(params === undefined ? {} : { params }) } });
    await app.close();
    expect(answer.statusCode, answer.body).toBe(200);
    const { columns, rows } = answer.json() as { columns: { name: string }[]; rows: unknown[][] };
    const found = rows.map((row) => Object.fromEntries(columns.map(({ name: column }, at) => [column, row[at]])));
    expect(found).toEqual(expected.map((row) => expect.objectContaining(row) as unknown));
  });
});

describe('on the recording that ships', () => {
  const { folder, remove } = keptFolder();
  let warehouse: Warehouse;

  beforeAll(async () => {
    warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
    for await (const batch of readRecording(`${packageRoot()}/recordings/demo.arrow`)) await warehouse.apply(batch);
    await new Correlator(warehouse).finish();
  });

  afterAll(async () => {
    await warehouse.close();
    remove();
  });

  test.each(queries.map((query) => [query.name, query] as const))('%s: as it is, with every parameter, and planned without comparing all with all', async (name, { sql, parameters }) => {
    expect((await checkUserSql(warehouse, sql)).toSorted()).toEqual(parameters.map(({ name }) => name).toSorted());
    const plain = await runUserSql(warehouse, { sql });
    const nulls = await runUserSql(warehouse, { sql, params: Object.fromEntries(parameters.map(({ name }) => [name, null])) });
    expect(nulls.rows).toEqual(plain.rows);
    const example: Record<string, string> = { TIMESTAMP: '2026-11-23T14:54:40Z', INTEGER: '1', DOUBLE: '0.5', VARCHAR: 'shop', BOOLEAN: 'true' };
    const one_by_one = parameters.map(({ name, type }) => runUserSql(warehouse, { sql, params: { [name]: example[type] } }));
    await Promise.all(one_by_one.slice(0, 3));
    await Promise.all(one_by_one.slice(3));
    const plan = (await runUserSql(warehouse, { sql: `EXPLAIN (FORMAT json) ${sql}` })).rows.map((row) => String(row[1])).join('');
    expect(plan).toMatch(/"name": *"/);
    expect([...plan.matchAll(/NESTED_LOOP_JOIN|BLOCKWISE_NL_JOIN|IE_JOIN|PIECEWISE_MERGE_JOIN/g)].map(([join]) => join)).toEqual([]);
    // A value for all rows is joined as a relation of one row, and nothing else is without a condition.
    expect([...plan.matchAll(/CROSS_PRODUCT/g)]).toHaveLength(name === 'what-changed-since-yesterday' ? 1 : 0);
  });

  test('a parameter that is not the statement\'s is refused', async () => {
    await expect(runUserSql(warehouse, { sql: sqlOf('slowest-operations'), params: { servise: 'shop' } })).rejects.toMatchObject({ code: 'sql-params' });
    await expect(runUserSql(warehouse, { sql: 'SELECT $a, $b', params: [1] })).rejects.toMatchObject({ code: 'sql-params' });
    expect((await runUserSql(warehouse, { sql: 'SELECT $a, $b', params: { b: 'x' } })).rows).toEqual([[null, 'x']]);
  });
});
