// Trace by id, search by service and time, the slowest 20: inside the server against the same question by hand to DuckDB, over
// one table in order of time; and what HTTP adds.
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { DuckDBConnection } from '@duckdb/node-api';
import { buildApp } from '../api/app.ts';
import { openDatabase } from '../api/database.ts';
import { requireTrace } from '../api/lookups/one-trace.ts';
import { searchTraces } from '../api/lookups/trace-search.ts';
import { runQuery } from '../ingest/duckdb-query.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { figure, quantile, rounded } from './figure.ts';
import type { Figure } from './figure.ts';
import { EPOCH_NS, SERVICES, SPANS_A_FILE, SPANS_A_TRACE, TRACES_A_FILE, addSpans, idOf, loOf, spansOf, startOf } from './stored-spans.ts';

async function fill(warehouse: Warehouse, files: number, by_hand: DuckDBConnection): Promise<void> {
  for (let file = 0; file < files; file++) {
    await addSpans(warehouse, file);
    await by_hand.run(file === 0 ? `CREATE TABLE spans AS ${spansOf(0)}` : `INSERT INTO spans ${spansOf(file)}`);
  }
  await by_hand.run('CHECKPOINT');
}

interface Question {
  readonly name: string;
  ours(at: number): Promise<unknown>;
  by_hand(at: number): Promise<unknown>;
  readonly url: (at: number) => string;
  readonly rounds: number;
  readonly most_ms?: number;
}

/** Summaries of the traces that `ids` finds, as the API gives them. */
const summaries = (ids: string, order: string): string => `
  WITH ids AS (${ids})
  SELECT s.trace_id, any_value(service_name) FILTER (parent_span_id IS NULL), any_value(url_template) FILTER (parent_span_id IS NULL), s.trace_hi, max(end_ns) - s.trace_hi AS took, count(*), count(*) FILTER (status >= 500), list(DISTINCT service_name), bool_and(complete)
  FROM spans s JOIN ids ON ids.trace_hi = s.trace_hi AND ids.trace_lo = s.trace_lo
  WHERE s.trace_hi BETWEEN (SELECT min(trace_hi) FROM ids) AND (SELECT max(trace_hi) FROM ids)
  GROUP BY s.trace_id, s.trace_hi, s.trace_lo ORDER BY ${order}`;

function get(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    request(url, { agent: false }, (answer) => {
      answer.resume();
      answer.once('end', () => (answer.statusCode === 200 ? resolve() : reject(new Error(`${url}: ${answer.statusCode}`))));
    }).once('error', reject).end();
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Over so many million spans. */
export async function measureQuestions(million_spans: number, rounds: number): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const files = Math.max(1, Math.round((million_spans * 1_000_000) / SPANS_A_FILE));
  const traces = files * TRACES_A_FILE;
  const warehouse = await Warehouse.open({ folder: join(folder, 'data'), seal_every_ms: 0, threads: 2 });
  const instance = await DuckDBInstance.create(join(folder, 'by-hand.duckdb'), { threads: '2', memory_limit: '512MB' });
  const hand = await instance.connect();
  const app = buildApp({ warehouse }, { now_ns: () => startOf(traces) });
  try {
    await fill(warehouse, files, hand);
    await app.listen({ port: 0, host: '127.0.0.1' });
    const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/api/v1/traces`;
    const db = openDatabase(warehouse);
    const pick = (at: number): number => (at * 7_368_787 + 13) % traces;
    const minute = (at: number): { start_ns: bigint; end_ns: bigint } => ({ start_ns: startOf(pick(at)), end_ns: startOf(pick(at)) + 60_000_000_000n });
    const all = { start_ns: EPOCH_NS, end_ns: startOf(traces) };
    const service = (at: number): string => `service-${at % SERVICES}`;
    const questions: Question[] = [
      {
        name: 'trace by id', rounds: rounds * 20, most_ms: 20,
        ours: (at) => requireTrace(db, warehouse, idOf(pick(at)), { max_spans: 10_000 }),
        by_hand: (at) => runQuery(hand, 'SELECT * FROM spans WHERE trace_hi = $1 AND trace_lo = $2 ORDER BY start_ns, span_id', [startOf(pick(at)), loOf(pick(at))]),
        url: (at) => `${url}/${idOf(pick(at))}`,
      },
      {
        name: 'service in a minute', rounds: rounds * 10,
        ours: (at) => searchTraces(db, warehouse, { range: minute(at), filters: { service: service(at) }, order: '-start_time', limit: 20 }),
        by_hand: (at) => runQuery(hand, summaries(`SELECT DISTINCT trace_hi, trace_lo FROM spans WHERE trace_hi >= $1 AND trace_hi < $2 AND service_name = $3 ORDER BY trace_hi DESC, trace_lo DESC LIMIT 20`, 's.trace_hi DESC'), [minute(at).start_ns, minute(at).end_ns, service(at)]),
        url: (at) => `${url}?start=${minute(at).start_ns}&end=${minute(at).end_ns}&service=${service(at)}&limit=20`,
      },
      {
        name: 'slowest 20 of all', rounds,
        ours: () => searchTraces(db, warehouse, { range: all, filters: {}, order: '-duration', limit: 20 }),
        by_hand: () => runQuery(hand, summaries('SELECT trace_hi, trace_lo FROM spans GROUP BY trace_hi, trace_lo ORDER BY max(end_ns) - trace_hi DESC LIMIT 20', 'took DESC'), []),
        url: () => `${url}?start=${all.start_ns}&end=${all.end_ns}&sort=-duration&limit=20`,
      },
    ];
    const figures: Figure[] = [];
    for (const question of questions) {
      await question.ours(0); // warm
      await question.by_hand(0);
      await get(question.url(0));
      const taken = { ours: [] as number[], hand: [] as number[], http: [] as number[] };
      for (let at = 1; at <= question.rounds; at++) {
        taken.ours.push(await timed(() => question.ours(at)));
        taken.hand.push(await timed(() => question.by_hand(at)));
        taken.http.push(await timed(() => get(question.url(at))));
      }
      const [ours, by_hand, http] = [taken.ours, taken.hand, taken.http].map((values) => ({ p50: quantile(values, 0.5), p99: quantile(values, 0.99) })) as [Tail, Tail, Tail];
      const notes = { spans: traces * SPANS_A_TRACE, p50_ms: rounded(ours.p50), by_hand_p50_ms: rounded(by_hand.p50), http_p50_ms: rounded(http.p50), http_adds_p50_ms: rounded(http.p50 - ours.p50), times: question.rounds };
      figures.push(figure({ figure: 'lookup_p99', variant: `${question.name}, ${million_spans} M spans`, unit: 'ms', values: [ours.p99], reference: { what: 'by hand in DuckDB', values: [by_hand.p99] }, goal: { of: 'ratio', at_most: 1.5 }, notes }));
      if (question.most_ms !== undefined) figures.push(figure({ figure: 'lookup_p99', variant: `${question.name}, in all`, unit: 'ms', values: [ours.p99], goal: { of: 'value', at_most: question.most_ms } }));
      figures.push(figure({ figure: 'http_adds', variant: `${question.name}, ${million_spans} M spans`, unit: 'ms', values: [http.p50 - ours.p50], goal: { of: 'value', at_most: 3 } }));
    }
    return figures;
  } finally {
    await app.close();
    await warehouse.close();
    hand.closeSync();
    instance.closeSync();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Tail {
  readonly p50: number;
  readonly p99: number;
}
