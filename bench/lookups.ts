// Trace by id, search by service and time, the slowest 20: inside the server against the same question by hand to DuckDB, over
// one table in order of time; and what HTTP adds. Over files as they are sealed, and as compaction packs them once their hour is over.
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
import { COMPACTION_LIMITS } from '../ingest/segment-compaction.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { alternate, figure, quantile, rounded } from './figure.ts';
import type { Figure } from './figure.ts';
import { EPOCH_NS, SERVICES, SPANS_A_FILE, SPANS_A_TRACE, TRACES_A_FILE, addSpans, idOf, loOf, spansOf, startOf } from './stored-spans.ts';

const TOLD_EVERY = 20;

/** A file at a time, so that memory is that of one file, however many there are. */
async function fill(warehouse: Warehouse, files: number, by_hand: DuckDBConnection): Promise<void> {
  for (let file = 0; file < files; file++) {
    await addSpans(warehouse, file);
    await by_hand.run(file === 0 ? `CREATE TABLE spans AS ${spansOf(0)}` : `INSERT INTO spans ${spansOf(file)}`);
    if ((file + 1) % TOLD_EVERY === 0) console.error(`  ${((file + 1) * SPANS_A_FILE) / 1e6} M spans stored`);
  }
  await by_hand.run('CHECKPOINT');
}

interface Question {
  readonly name: string;
  ours(at: number): Promise<unknown>;
  by_hand(at: number): Promise<unknown>;
  readonly url: (at: number) => string;
  /** In each round. */
  readonly times: number;
  readonly most_ms?: number;
}

/** Of all three in turn. */
const ROUNDS = 5;

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

/** Each in turn inside, by hand and through HTTP. */
async function ask(questions: readonly Question[], { spans, over }: { spans: number; over: string }): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { name, times, most_ms, ours, by_hand, url } of questions) {
    const several = (work: (at: number) => Promise<unknown>) => async (round: number): Promise<number[]> => {
      const taken: number[] = [];
      for (let at = 0; at < times; at++) taken.push(await timed(() => work(1 + round * times + at)));
      return taken;
    };
    const work = { ours: several(ours), hand: several(by_hand), http: several((at) => get(url(at))) };
    await Promise.all([ours(0), by_hand(0), get(url(0))]); // warm
    const taken = await alternate(ROUNDS, work);
    const of = (rounds: readonly number[][], q: number): number[] => rounds.map((values) => quantile(values, q));
    const [p50, all_p99] = [{ ours: of(taken.ours, 0.5), hand: of(taken.hand, 0.5), http: of(taken.http, 0.5) }, quantile(taken.ours.flat(), 0.99)];
    // Hours may have gone into what is asked: should a later question fail, this is known.
    console.error(`  ${name}, ${over}: p99 ${of(taken.ours, 0.99).map(rounded).join(' ')} ms, by hand ${of(taken.hand, 0.99).map(rounded).join(' ')} ms; ${times} of each in each round`);
    const adds = p50.http.map((http, round) => http - (p50.ours[round] as number));
    const notes = { spans, p50_ms: rounded(quantile(taken.ours.flat(), 0.5)), by_hand_p50_ms: rounded(quantile(taken.hand.flat(), 0.5)), http_p50_ms: rounded(quantile(taken.http.flat(), 0.5)), all_p99_ms: rounded(all_p99), by_hand_all_p99_ms: rounded(quantile(taken.hand.flat(), 0.99)), times_a_round: times };
    figures.push(figure({ figure: 'lookup_p99', variant: `${name}, ${over}`, unit: 'ms', values: of(taken.ours, 0.99), reference: { what: 'by hand in DuckDB', values: of(taken.hand, 0.99) }, goal: { of: 'ratio', at_most: 1.5 }, notes }));
    if (most_ms !== undefined) figures.push(figure({ figure: 'lookup_p99', variant: `${name}, ${over}, in all`, unit: 'ms', values: of(taken.ours, 0.99), goal: { of: 'value', at_most: most_ms } }));
    figures.push(figure({ figure: 'http_adds', variant: `${name}, ${over}`, unit: 'ms', values: adds, goal: { of: 'value', at_most: 3 } }));
  }
  return figures;
}

/** Over so many million spans. */
export async function measureQuestions(million_spans: number, effort: number): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const files = Math.max(1, Math.round((million_spans * 1_000_000) / SPANS_A_FILE));
  const traces = files * TRACES_A_FILE;
  const warehouse = await Warehouse.open({ folder: join(folder, 'data'), seal_every_ms: 0, threads: 2, compaction: { ...COMPACTION_LIMITS, idle_ms: 0 } });
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
        name: 'trace by id', times: effort * 20, most_ms: 20,
        ours: (at) => requireTrace(db, warehouse, idOf(pick(at)), { max_spans: 10_000 }),
        by_hand: (at) => runQuery(hand, 'SELECT * FROM spans WHERE trace_hi = $1 AND trace_lo = $2 ORDER BY start_ns, span_id', [startOf(pick(at)), loOf(pick(at))]),
        url: (at) => `${url}/${idOf(pick(at))}`,
      },
      {
        name: 'service in a minute', times: effort * 10,
        ours: (at) => searchTraces(db, warehouse, { range: minute(at), filters: { service: service(at) }, order: '-start_time', limit: 20 }),
        by_hand: (at) => runQuery(hand, summaries(`SELECT DISTINCT trace_hi, trace_lo FROM spans WHERE trace_hi >= $1 AND trace_hi < $2 AND service_name = $3 ORDER BY trace_hi DESC, trace_lo DESC LIMIT 20`, 's.trace_hi DESC'), [minute(at).start_ns, minute(at).end_ns, service(at)]),
        url: (at) => `${url}?start=${minute(at).start_ns}&end=${minute(at).end_ns}&service=${service(at)}&limit=20`,
      },
      {
        name: 'slowest 20 of all', times: effort,
        ours: () => searchTraces(db, warehouse, { range: all, filters: {}, order: '-duration', limit: 20 }),
        by_hand: () => runQuery(hand, summaries('SELECT trace_hi, trace_lo FROM spans GROUP BY trace_hi, trace_lo ORDER BY max(end_ns) - trace_hi DESC LIMIT 20', 'took DESC'), []),
        url: () => `${url}?start=${all.start_ns}&end=${all.end_ns}&sort=-duration&limit=20`,
      },
    ];
    const figures = await ask(questions, { spans: traces * SPANS_A_TRACE, over: `${million_spans} M spans` });
    await warehouse.compact();
    if (warehouse.segments.some(({ kind, state, level }) => kind === 'derived' && state === 'sealed' && level === 0)) throw new Error('files of hours that are over were not packed');
    return [...figures, ...(await ask(questions, { spans: traces * SPANS_A_TRACE, over: `${million_spans} M spans, packed` }))];
  } finally {
    await app.close();
    await warehouse.close();
    hand.closeSync();
    instance.closeSync();
    rmSync(folder, { recursive: true, force: true });
  }
}
