// What is said of a trace follows from its spans here, and from the stored rows in the view traces: both must say the same.
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openDatabase } from '../api/database.ts';
import { findTraceIds } from '../api/lookups/matching-traces.ts';
import { requireTrace } from '../api/lookups/one-trace.ts';
import { TRACE_ORDERS, searchTraces, tracesWithIds } from '../api/lookups/trace-search.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { EPOCH_NS } from './support/stored-spans.ts';
import { keptFolder } from './support/temporary-folder.ts';

const TRACES = 300;
const { folder, remove } = keptFolder();
let warehouse: Warehouse;

/** Every value that decides is missing now and then: names, methods, templates, protocols, answers; roots too, and whole traces of services without a name. */
const ROWS = `
  SELECT printf('%016x%016x', hi, lo) AS trace_id, make_timestamp_ns(hi) AS trace_start, hi AS trace_hi, lo AS trace_lo, lo + s AS span_id, CASE WHEN s > 0 THEN lo END AS parent_span_id, s % 2 = 0 AS is_server,
    make_timestamp_ns(hi + s * 10) AS start_time, hi + s * 10 - CASE WHEN t % 9 = 0 THEN 5000 ELSE 0 END AS start_ns, hi + s * 10 + h % 1000 AS end_ns, 'node' AS node,
    CASE WHEN h % 5 > 0 AND t % 13 > 0 THEN ['zeta', 'Äpfel', 'alpha', '服务', '😀'][1 + h % 7 % 5] END AS service_name, CASE WHEN h % 4 > 0 THEN 'http' END AS protocol,
    CASE WHEN h % 3 > 0 THEN 'GET' END AS method, CASE WHEN h % 11 > 2 THEN '/x/{id}' END AS url_template, CASE WHEN h % 3 > 0 THEN [200, 404, 500][1 + h % 3] END AS status,
    CASE WHEN h % 17 = 0 THEN 104 END AS errno, h % 6 > 0 AS answered, ['length', 'open', 'stop', 'gap', 'close'][1 + h % 5] AS end_reason, h % 19 > 0 AS complete
  FROM (SELECT t, s, ${EPOCH_NS} + t * 1000000 AS hi, (t + 1) * 1000 AS lo, (hash(t * 100 + s) % 1000003)::BIGINT AS h FROM range(${TRACES}) AS r (t), range(8) AS q (s) WHERE s <= t % 8 AND NOT (s = 0 AND t % 10 = 9))`;

beforeAll(async () => {
  warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  await warehouse.withDerived(async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans BY NAME ${ROWS}`)));
});

afterAll(async () => {
  await warehouse.close();
  remove();
});

const sameText = (value: unknown): string => JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part));

test('a search and a lookup say of each trace what the view says', async () => {
  const db = openDatabase(warehouse);
  const range = { start_ns: EPOCH_NS, end_ns: EPOCH_NS + 10n ** 12n };
  const found = await searchTraces(db, warehouse, { range, filters: {}, order: 'start_time', limit: 1000 });
  expect(found.length).toBeGreaterThan(250);
  const of_view = new Map((await tracesWithIds(db, warehouse, found.map(({ trace_id }) => trace_id))).map((row) => [row.trace_id, { ...row, services: { items: row.services?.items ?? [] } }]));
  expect(found.some(({ services }) => services?.items.length === 0)).toBe(true);
  for (const trace of found) expect(sameText(trace)).toBe(sameText(of_view.get(trace.trace_id)));
  for (const { trace_id } of found.slice(0, 60)) expect(sameText((await requireTrace(db, warehouse, trace_id, { max_spans: 100 })).trace)).toBe(sameText(of_view.get(trace_id)));
  await db.destroy();
});

test('a long history, searched a piece at a time, is searched as one, page by page', async () => {
  const { folder: own, remove: removeOwn } = keptFolder();
  const many = await Warehouse.open({ folder: own, seal_every_ms: 0 });
  const db = openDatabase(many);
  const HOURS = 3;
  try {
    for (let hour = 0; hour < HOURS; hour++) {
      await many.withDerived(async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans BY NAME SELECT * REPLACE (trace_hi + ${hour} * 3600000000000 AS trace_hi, start_ns + ${hour} * 3600000000000 AS start_ns, end_ns + ${hour} * 3600000000000 AS end_ns,
        printf('%016x%016x', trace_hi + ${hour} * 3600000000000, trace_lo) AS trace_id) FROM (${ROWS})`)));
      await many.seal();
    }
    const range = { start_ns: EPOCH_NS, end_ns: EPOCH_NS + BigInt(HOURS) * 3_600_000_000_000n };
    const pages = async (order: (typeof TRACE_ORDERS)[number], filters: { service?: string }, most_grouped: number): Promise<string[]> => {
      const ids: string[] = [];
      for (let [last, more] = [undefined as { duration_ns: bigint; trace_id: string } | undefined, true]; more; ) {
        const page = await searchTraces(db, many, { range, filters, order, limit: 400, after: last, most_grouped });
        ids.push(...page.map(({ trace_id }) => trace_id));
        [last, more] = [page.at(-1), page.length === 400];
      }
      return ids;
    };
    const asked = vi.spyOn(many, 'windowsWhere');
    for (const order of TRACE_ORDERS) {
      for (const filters of order.endsWith('duration') ? [{}, { service: 'zeta' }] : [{}]) {
        const whole = await pages(order, filters, 1e9);
        asked.mockClear();
        expect(await pages(order, filters, 600)).toEqual(whole);
        expect(Math.max(...asked.mock.results.map(({ value }) => (value as unknown[]).length))).toBeGreaterThan(HOURS);
        expect(new Set(whole).size).toBe(whole.length);
        expect(whole.length).toBeGreaterThan(filters.service === undefined ? 800 : 100);
      }
    }
    // By their spans, of which some are in another piece than the start of their trace, or begin before it.
    for (const begin_ns of [EPOCH_NS - 10_000n, EPOCH_NS + 150_000_000n + 30n]) {
      const match = { range: { start_ns: begin_ns, end_ns: range.end_ns }, conditions: [sql<boolean>`service_name = 'zeta'`], limit: 1000 };
      const whole = await findTraceIds(db, many, match, 1e9);
      asked.mockClear();
      expect(await findTraceIds(db, many, match, 600)).toEqual(whole);
      expect(asked.mock.results.flatMap(({ value }) => value as unknown[]).length).toBeGreaterThan(HOURS);
      expect(whole).toEqual((await many.query(`SELECT DISTINCT trace_id FROM spans WHERE service_name = 'zeta' AND start_ns >= ${begin_ns} ORDER BY 1 DESC`)).rows.map(([id]) => id));
      expect(whole.length).toBeGreaterThan(100);
      expect(await findTraceIds(db, many, { ...match, limit: 70 }, 600)).toEqual(whole.slice(0, 70));
    }
  } finally {
    await db.destroy();
    await many.close();
    removeOwn();
  }
});
