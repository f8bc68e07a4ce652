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

const EPOCH_NS = 1_790_000_000_000_000_000n;
const HOUR_NS = 3_600_000_000_000n;
const [SPANS_A_TRACE, SPANS_A_FILE, SERVICES] = [10, 500_000, 40];
const TRACES_A_FILE = SPANS_A_FILE / SPANS_A_TRACE;
/** One file is an hour. */
const TRACE_NS = HOUR_NS / BigInt(TRACES_A_FILE);

const startOf = (trace: number): bigint => EPOCH_NS + BigInt(trace) * TRACE_NS;
const loOf = (trace: number): bigint => (BigInt(trace) * 2_654_435_761n) % 9_007_199_254_740_881n;
const idOf = (trace: number): string => startOf(trace).toString(16).padStart(16, '0') + loOf(trace).toString(16).padStart(16, '0');

/** Spans of a file: each trace a chain of calls with a fan-out, durations with a long tail, one trace in fifty with an error. */
const spansOf = (file: number): string => `
  SELECT make_timestamp_ns(hi) AS trace_start, hi AS trace_hi, lo AS trace_lo, printf('%016x%016x', hi, lo) AS trace_id, (t * ${SPANS_A_TRACE} + s) * 7919 AS span_id,
    CASE WHEN s > 0 THEN (t * ${SPANS_A_TRACE} + (s - 1) // 2) * 7919 END AS parent_span_id, s % 2 = 0 AS is_server, make_timestamp_ns(hi + s * 10000) AS start_time, hi + s * 10000 AS start_ns,
    hi + s * 10000 + (1000000 * (1 + hash(t) % 50 + CASE WHEN hash(t) % 1000 = 0 THEN 3000 ELSE 0 END))::BIGINT // (s + 1) AS end_ns,
    'node-' || (s % 8) AS node, (s % 97 + 1) * 1000003 AS process_id, s % 97 + 1 AS pid, s % 389 + 1 AS tid, (s % 389 + 1) * 1000003 AS thread_id, 'worker' AS comm,
    'service-' || ((hash(t) + s // 2) % ${SERVICES}) AS service_name, t * 10 + s AS socket_id, 7 AS fd, '10.0.0.' || (s % 250) AS local_ip, 8080 AS local_port, '10.0.1.' || (t % 250) AS remote_ip, 30000 + t % 20000 AS remote_port,
    'http' AS protocol, 'GET' AS method, '/orders/' || t || '/' || s AS path, '/orders/{id}/' || s AS url_template, CASE WHEN hash(t) % 50 = 0 AND s = 3 THEN 500 ELSE 200 END AS status, '1.1' AS http_version,
    120 AS request_bytes, (hash(t + s) % 5000 + 200)::BIGINT AS response_bytes, 'length' AS end_reason, TRUE AS answered, s % 2 = 1 AS peer_seen, 1 AS candidates, 'thread' AS parent_evidence, 0.99 AS parent_confidence, 2 AS rule_version, TRUE AS complete
  FROM (SELECT t::BIGINT AS t, ${EPOCH_NS} + t::BIGINT * ${TRACE_NS} AS hi, (t::HUGEINT * 2654435761 % 9007199254740881)::BIGINT AS lo FROM range(${file * TRACES_A_FILE}, ${(file + 1) * TRACES_A_FILE}) AS r (t)), range(${SPANS_A_TRACE}) AS q (s)`;

async function fill(warehouse: Warehouse, files: number, by_hand: DuckDBConnection): Promise<void> {
  for (let file = 0; file < files; file++) {
    const range = { from_ns: EPOCH_NS + BigInt(file) * HOUR_NS, to_ns: EPOCH_NS + BigInt(file + 1) * HOUR_NS };
    await warehouse.replaceDerived([], async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans BY NAME ${spansOf(file)}`)), range);
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
        by_hand: () => runQuery(hand, summaries('SELECT trace_hi, trace_lo FROM spans GROUP BY ALL ORDER BY max(end_ns) - trace_hi DESC LIMIT 20', 'took DESC'), []),
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
