// What queries/correlate/*.sql says by `-- @needs`: live cycles leave those steps out where a relation that they need is empty. And what is read for
// the last time: results that no step reads any more are dropped.
import { expect, onTestFinished, test, vi } from 'vitest';
import { generate } from '../bench/generate/generate.ts';
import { TruthList } from '../bench/generate/truth.ts';
import { readRows } from '../ingest/duckdb-query.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { StepMemory, lastReads, loadSteps, parseSteps, runSteps, type Step } from '../queries/step-runner.ts';
import { stepConnection } from './support/step-connection.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const EVENTS_A_CYCLE = 700;

test('what a step needs is read from the lines before it', () => {
  const text = '-- @name a\nSELECT 1\n-- @needs a, b\n-- @name c\nSELECT 2\n-- @name d @view\nSELECT 3\n-- @needs d\n-- @name e\nSELECT 4';
  expect(parseSteps('x.sql', text).map(({ name, needs }) => [name, needs])).toEqual([['a', []], ['c', ['a', 'b']], ['d', ['a', 'b']], ['e', ['d']]]);
});

test('what is within a step is part of its statement, computed once or wherever it is named', () => {
  const text = '-- @needs x\n-- @name a @within\nSELECT 1 AS n\n-- @name b @inline\nSELECT 2 * n AS n FROM a\n-- @name c\nSELECT * FROM a JOIN b ON TRUE\n-- @name d\nSELECT 3';
  expect(parseSteps('x.sql', text)).toEqual([
    { file: 'x.sql', name: 'c', sql: 'WITH a AS MATERIALIZED (\nSELECT 1 AS n\n), b AS NOT MATERIALIZED (\nSELECT 2 * n AS n FROM a\n)\nSELECT * FROM a JOIN b ON TRUE', repeat: false, view: false, needs: ['x'], within: ['a', 'b'] },
    { file: 'x.sql', name: 'd', sql: 'SELECT 3', repeat: false, view: false, needs: ['x'] },
  ]);
});

test.each([
  ['-- @name a @within\nSELECT 1\n-- @needs b\n-- @name c\nSELECT 2', 'x.sql: between a step and the one that it is within is a line @needs: move it before them'],
  ['-- @name a @within\nSELECT 1', 'x.sql: no step follows that the last one is within'],
  ['-- @name a @within\nSELECT 1\n-- @name c\nWITH d AS (SELECT 1) SELECT 2', 'x.sql: step c has steps within, and does not begin with SELECT'],
  ['-- @name a @within\n-- @name c\nSELECT 2', 'x.sql: step a is empty'],
])('a step within %j is refused', (text, error) => {
  expect(() => parseSteps('x.sql', text)).toThrow(error);
});

test('what is computed before a step that is not there is refused, as nothing would run it', async () => {
  await expect(runSteps({} as never, parseSteps('x.sql', '-- @name a\nSELECT 1'), { computed: new Map([['b', { reads: [], run: async () => undefined }]]) })).rejects.toThrow('what is computed before b would never be: no step is called so');
});

test('a result is read for the last time through the last view over it, by what is computed, or not at all', () => {
  const text = '-- @name a\nSELECT 1\n-- @name b\nSELECT 2 AS a\n-- @name v @view\nSELECT * FROM a\n-- @name w @view\nSELECT * FROM v JOIN b\n-- @name c\nSELECT * FROM w\n-- @name d\nSELECT * FROM c\n-- @name d @repeat\nSELECT * FROM d\n-- @name e\nSELECT 3';
  const steps = parseSteps('x.sql', text);
  const of = (kept: string[], computed: Parameters<typeof lastReads>[2] = new Map()): Record<string, readonly string[]> => Object.fromEntries([...lastReads(steps, new Set(kept), computed)].map(([at, names]) => [`${at} ${steps[at]?.name}`, names]));
  expect(of([])).toEqual({ '4 c': ['a', 'b'], '5 d': ['c'], '6 d': ['d'], '7 e': ['e'] });
  expect(of(['v'])).toEqual({ '4 c': ['b'], '5 d': ['c'], '6 d': ['d'], '7 e': ['e'] });
  expect(of(['e'], new Map([['e', { reads: ['w'], run: async () => undefined }]]))).toEqual({ '5 d': ['c'], '6 d': ['d'], '7 e': ['a', 'b'] });
});

test('steps are said to DuckDB together as far as none depends on the rows of another, and one by one where each is observed', async () => {
  const connection = await stepConnection();
  const steps = parseSteps('x.sql', '-- @name a\nSELECT 1 AS n\n-- @name b\nSELECT n FROM a WHERE n > 1 -- none\n-- @name v @view\nSELECT * FROM a\n-- @needs b\n-- @name c\nSELECT * FROM b\n-- @needs v\n-- @name d\nSELECT * FROM v');
  const memory = new StepMemory();
  const said = vi.spyOn(connection, 'run');
  const texts = (): string[] => said.mock.calls.splice(0).map(([sql]) => String(sql));
  await runSteps(connection, steps, { together: true, memory });
  expect(texts()).toHaveLength(1); // nothing is there yet, so everything is made
  await runSteps(connection, steps, { together: true, memory });
  expect(texts()).toEqual([expect.stringMatching(/TABLE a AS[^]*TABLE b AS[^]*count\(\*\) FROM b/), 'DELETE FROM c', 'SELECT 1 FROM v LIMIT 1', expect.stringMatching(/^CREATE OR REPLACE TEMP TABLE d AS/)]);
  await runSteps(connection, steps, { memory, observe: () => undefined, together: true });
  expect(texts()).toEqual([expect.stringMatching(/TABLE a AS/), expect.stringMatching(/TABLE b AS/), 'SELECT 1 FROM v LIMIT 1', expect.stringMatching(/TABLE d AS/)]);
  expect(await readRows(connection, 'SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT count(*) FROM c), (SELECT count(*) FROM d)')).toEqual([[1n, 0n, 0n, 1n]]);
});

/** Everything that many small cycles have stored, and the steps that they ran. */
async function correlated(shapes: readonly string[], steps: readonly Step[], many_rows?: number, observed = true): Promise<{ rows: string[]; ran: number }> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0 });
  onTestFinished(() => warehouse.close());
  const batches = generate({ events: 4500, seed: 21, shapes, applications: shapes.length, nodes: 1, truth: new TruthList() });
  let ran = 0;
  const correlator = new Correlator(warehouse, { silent_ms: 1e9, steps, ...(many_rows === undefined ? {} : { many_rows }), ...(observed ? { observe: () => (ran += 1) } : {}) });
  let waiting = 0;
  for (let next = batches.next(); next.done !== true; next = batches.next()) {
    await warehouse.apply(next.value);
    waiting += next.value.tables.socket_events.rows;
    if (waiting < EVENTS_A_CYCLE) continue;
    await correlator.cycle();
    waiting = 0;
  }
  await correlator.finish();
  const rows: string[] = [];
  for (const table of ['spans', 'exchanges', 'span_links', 'models']) rows.push(...(await warehouse.query(`SELECT * FROM stored.${table} ORDER BY ALL`)).rows.map((row) => `${table} ${row.map(String).join(' ')}`));
  return { rows, ran };
}

test.each([['kept-connections', 'timers'], ['java-pool', 'worker-pool'], ['asyncio', 'go-parallel', 'nginx']])('steps that are left out change nothing: %s and more', async (...shapes) => {
  const all = loadSteps();
  const found = await correlated(shapes, all);
  const whole = await correlated(shapes, all.map((step) => ({ ...step, needs: [] })));
  expect(found.rows).toEqual(whole.rows);
  expect(found.rows.length).toBeGreaterThan(300);
  expect(found.ran).toBeLessThan(whole.ran);
  // Where nobody looks at each step, several are said to DuckDB at once.
  expect((await correlated(shapes, all, undefined, false)).rows).toEqual(whole.rows);
}, 120_000);

test.each([['kept-connections', 'timers'], ['java-pool', 'worker-pool', 'shared-pool'], ['asyncio', 'go-parallel', 'nginx', 'node']])('results that are dropped are missed by nothing: %s and more', async (...shapes) => {
  const all = loadSteps();
  const kept = await correlated(shapes, all, Infinity);
  const dropped = await correlated(shapes, all, 0);
  expect(dropped.rows).toEqual(kept.rows);
  expect(kept.rows.length).toBeGreaterThan(300);
  expect((await correlated(shapes, all, 0, false)).rows).toEqual(kept.rows);
}, 120_000);
