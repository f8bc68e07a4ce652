// Pages of a search while traces go on arriving, among many that tie: each trace that was there comes once.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FastifyInstance } from 'fastify';
import { buildApp } from '../api/app.ts';
import type { TraceSummary } from '../api/trace-json.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { EPOCH_NS, storeSpans } from './support/stored-spans.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
const TRACES = 60;
const END_NS = EPOCH_NS + 1_000_000_000n;
let warehouse: Warehouse;
let app: FastifyInstance;

/** Six an instant, four durations; the second span of each starts before its root, so that it lasts longer than the trace. */
const traces = (from: number, to: number, start_ns: bigint): string => `
  SELECT ${start_ns} + (i // 6) * 1000 AS trace_hi, i + 1 AS trace_lo, i * 2 + j AS span_id, CASE WHEN j = 2 THEN i * 2 + 1 END AS parent_span_id,
    ${start_ns} + (i // 6) * 1000 - CASE WHEN j = 2 THEN 5000 * (i % 3) ELSE 0 END AS start_ns, ${start_ns} + (i // 6) * 1000 + (i % 4) * 1000 AS end_ns
  FROM range(${from}, ${to}) AS r (i), range(1, 3) AS s (j)`;

beforeAll(async () => {
  warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 100 });
  await storeSpans(warehouse, traces(0, TRACES, EPOCH_NS));
  await warehouse.seal();
  app = buildApp({ warehouse }, { now_ns: () => END_NS });
});

afterAll(async () => {
  await app.close();
  await warehouse.close();
  remove();
});

test.each(['-start_time', 'start_time', '-duration', 'duration'])('in the order %s', async (sort) => {
  const range = `start=${EPOCH_NS - 1n}&sort=${sort}`;
  const ids = async (query: string): Promise<{ traces: TraceSummary[]; next_cursor: string | null }> => (await app.inject(`/api/v1/traces?${range}&${query}`)).json() as { traces: TraceSummary[]; next_cursor: string | null };
  const before = (await ids('limit=1000')).traces;
  const there = new Set(before.map(({ trace_id }) => trace_id));
  const seen: string[] = [];
  let [cursor, at] = ['', 0];
  for (;;) {
    const page = await ids(`limit=7${cursor}`);
    seen.push(...page.traces.map(({ trace_id }) => trace_id));
    if (page.next_cursor === null) break;
    cursor = `&cursor=${page.next_cursor}`;
    // Anywhere in the order, in the same instants and with the same durations as others.
    const id = 1000 * (['-start_time', 'start_time', '-duration', 'duration'].indexOf(sort) + 1) + 6 * at++;
    await storeSpans(warehouse, `SELECT trace_hi - ${Math.floor(id / 6) * 1000} + ${(at % 10) * 1000} AS trace_hi, trace_lo, span_id, parent_span_id, start_ns - ${Math.floor(id / 6) * 1000} + ${(at % 10) * 1000} AS start_ns, end_ns - ${Math.floor(id / 6) * 1000} + ${(at % 10) * 1000} AS end_ns FROM (${traces(id, id + 4, EPOCH_NS)})`);
  }
  expect(new Set(seen).size).toBe(seen.length);
  expect(seen.filter((id) => there.has(id))).toEqual(before.map(({ trace_id }) => trace_id));
  expect(at).toBeGreaterThan(5);
});
