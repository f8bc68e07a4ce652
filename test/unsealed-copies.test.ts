// What SQL sees of rows that are not sealed yet, while DuckDB refuses to finish the copies that other processes read.
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { expect, onTestFinished, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { exportQueries } from '../api/sql-export.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import type { VisibleFiles } from '../ingest/visible-files.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { smallDisk } from './support/disks.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

async function open(): Promise<{ warehouse: Warehouse; lines: string[] }> {
  const lines: string[] = [];
  const warehouse = await Warehouse.open({ folder: join(temporaryFolder(), 'data'), seal_every_ms: 0, log: (line) => lines.push(line) });
  onTestFinished(() => warehouse.close());
  return { warehouse, lines };
}

const event = (sequence: number) => ({ ts_ns: sequence, mono_ns: sequence, socket_id: 7n, op: 'read', bytes: 10, stream_offset: 0, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false });
const apply = (warehouse: Warehouse, sequence: number): Promise<unknown> => warehouse.apply(makeBatch({ sequence: BigInt(sequence) }, { socket_events: [event(sequence)] }));

/** A transaction that looks at every database there is keeps each from its checkpoint, until it is over. On a busy machine a copy may be finished before it has looked. */
async function holdUp(warehouse: Warehouse): Promise<() => Promise<void>> {
  const connection: DuckDBConnection = await warehouse.connect();
  await connection.run('BEGIN');
  let over = false;
  const looking = (async () => {
    while (!over) await connection.run('SELECT count(*) FROM duckdb_tables()');
  })();
  return async () => {
    over = true;
    await looking;
    await connection.run('COMMIT');
    connection.closeSync();
  };
}

const told = ({ segments, missing_since_ms }: VisibleFiles): { copies: string[]; missing_since_ms: number | null } => ({ copies: segments.map(({ id }) => id), missing_since_ms });

test('whoever asks meanwhile gets the copies there are, and is told since when rows are missing; whoever can wait gets all', async () => {
  const { warehouse, lines } = await open();
  const before_ms = Date.now();
  await apply(warehouse, 1);
  const first = told(await warehouse.visibleFiles(0));
  expect(first).toEqual({ copies: [expect.any(String)], missing_since_ms: null });
  const letGo = await holdUp(warehouse);
  let { copies } = first;
  let answers: VisibleFiles[] = [];
  let elapsed_ms = 0;
  for (let sequence = 2; sequence < 50 && (answers.length === 0 || answers.some(({ missing_since_ms }) => missing_since_ms === null)); sequence += 1) {
    copies = answers.at(-1)?.segments.map(({ id }) => id) ?? copies;
    await apply(warehouse, sequence);
    const from = performance.now();
    answers = await Promise.all([0, 1, 2].map(() => warehouse.visibleFiles(0, 100)));
    elapsed_ms = performance.now() - from;
  }
  expect(elapsed_ms).toBeLessThan(2500);
  for (const answer of answers) {
    expect(told(answer)).toEqual({ copies, missing_since_ms: expect.any(Number) });
    expect(answer.missing_since_ms).toBeGreaterThanOrEqual(before_ms);
    expect(answer.missing_since_ms).toBeLessThanOrEqual(Date.now());
  }
  // A copy that is new enough needs no other.
  expect(told(await warehouse.visibleFiles(60_000, 0))).toEqual({ copies, missing_since_ms: null });
  const patient = warehouse.visibleFiles(0);
  await letGo();
  expect(told(await patient)).toEqual({ copies: [expect.not.stringMatching(copies[0] as string)], missing_since_ms: null });
  expect(lines).toEqual([]);
});

test('before there is any copy, all of the open segment may be missing, and the next answer is whole', async () => {
  for (let attempt = 0; ; attempt += 1) {
    const { warehouse } = await open();
    await warehouse.visibleFiles(null); // the ledger, without which nothing can be read
    await apply(warehouse, 1);
    const letGo = await holdUp(warehouse);
    const answer = told(await warehouse.visibleFiles(1000, 50));
    await letGo();
    if (answer.missing_since_ms === null && attempt < 20) continue;
    const born_ms = Math.min(...warehouse.segments.filter(({ state }) => state === 'open').map((segment) => segment.born_ms));
    expect(answer).toEqual({ copies: [], missing_since_ms: born_ms });
    expect(told(await warehouse.visibleFiles(0, 10_000))).toEqual({ copies: [expect.any(String)], missing_since_ms: null });
    return;
  }
});

test('copies that cannot be written leave no files behind, and answers say so', async (context) => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'tmp'));
  const disk = smallDisk(8, join(folder, 'tmp'));
  if (typeof disk === 'string') return context.skip(disk);
  const lines: string[] = [];
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, log: (line) => lines.push(line) });
  onTestFinished(() => warehouse.close());
  await warehouse.visibleFiles(null);
  await apply(warehouse, 1);
  disk.fill(20_000);
  const files = readdirSync(disk.path);
  for (let n = 0; n < 3; n++) expect((await warehouse.visibleFiles(0)).missing_since_ms).toEqual(expect.any(Number));
  expect(readdirSync(disk.path)).toEqual(files);
  expect(lines).toEqual([expect.stringMatching(/SQL does not see what is not sealed yet: .*No space left/)]);
  disk.fill(undefined);
  expect(told(await warehouse.visibleFiles(0))).toEqual({ copies: [expect.any(String)], missing_since_ms: null });
});

test('the first two that ask, at once, are told of the same copies', async () => {
  const { warehouse } = await open();
  await apply(warehouse, 1);
  const [one, other] = await Promise.all([warehouse.visibleFiles(0), warehouse.visibleFiles(0)]);
  expect(other).toEqual(one);
  expect(readdirSync(join(warehouse.folder, 'tmp')).toSorted()).toEqual([one.ledger.id, ...one.segments.map(({ id }) => id)].map((id) => `copy-${id}.duckdb`).toSorted());
});

test('a copy that is not needed any more and cannot be removed is told, and nothing ends', async () => {
  const { warehouse, lines } = await open();
  await apply(warehouse, 1);
  const { segments: [copy] } = await warehouse.visibleFiles(0);
  rmSync(copy?.path as string);
  mkdirSync(copy?.path as string);
  await apply(warehouse, 2);
  await warehouse.visibleFiles(0);
  await expect.poll(() => lines, { timeout: 15_000 }).toEqual([expect.stringMatching(/a copy stays until the next start: .*copy-/)]);
});

test('an answer over HTTP has a header for it, an asynchronous one and an export wait', async () => {
  const { warehouse } = await open();
  const sql = new SqlPool(warehouse);
  const app = buildApp({ warehouse, sql });
  onTestFinished(async () => {
    await app.close();
    await sql.close();
  });
  const count = async (): Promise<{ rows: number; since: unknown }> => {
    const answer = await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: 'SELECT count(*) AS n FROM socket_events' } });
    expect(answer.statusCode, answer.body).toBe(200);
    return { rows: Number((answer.json() as { rows: [[string]] }).rows[0][0]), since: answer.headers['tracehouse-missing-since'] };
  };
  await apply(warehouse, 1);
  expect(await count()).toEqual({ rows: 1, since: undefined });
  const letGo = await holdUp(warehouse);
  let all = 1;
  let held = await count();
  // Until then the copy is as new as it has to be.
  for (; all < 500 && held.since === undefined; held = await count()) await apply(warehouse, (all += 1));
  expect(held.since).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  expect(held.rows).toBeLessThan(all);
  const { query_id } = (await app.inject({ method: 'POST', url: '/api/v1/sql/async', payload: { sql: 'SELECT count(*) AS n FROM socket_events' } })).json() as { query_id: string };
  const path = join(warehouse.folder, 'exported.parquet');
  const exported = exportQueries(sql).writeParquet('FROM socket_events', path);
  await letGo();
  // The copy that was held up may have been begun before the last row: it is as new as it has to be.
  expect(await exported).toBeGreaterThan(held.rows);
  await expect.poll(async () => (await app.inject(`/api/v1/sql/${query_id}`)).json() as unknown, { timeout: 20_000 }).toMatchObject({ state: 'done', missing_since: null });
  const result = await app.inject(`/api/v1/sql/${query_id}/result`);
  expect(result.statusCode, result.body).toBe(200);
  expect(Number((result.json() as { rows: [[string]] }).rows[0][0])).toBeGreaterThan(held.rows);
  expect(result.headers['tracehouse-missing-since']).toBeUndefined();
  await expect.poll(count, { timeout: 20_000 }).toEqual({ rows: all, since: undefined });
});
