// Timing as a kind of evidence: for calls that nothing else decides, from the tables of ../correlate/26-timing-input.sql to timing_claims.
import { createHash } from 'node:crypto';
import type { DuckDBConnection } from '@duckdb/node-api';
import { readRows } from '../../ingest/duckdb-query.ts';
import type { Computed } from '../step-runner.ts';
import { workOf } from './problem.ts';
import { createTimingTables, readProblems, type ServiceProblem } from './resolve.ts';
import { resolveService, type Resolution } from './resolve-service.ts';

/** A request's calls are looked at together with so many requests before and after. */
const WINDOW = { requests: 1000, around: 150 } as const;
/** Of all services that are looked at together. */
const MOST_REQUESTS = 20_000;
/** Fewer requests than this teach nothing. */
const LEAST_REQUESTS = 50;
/** What a link is said to be worth at least, to be claimed: below, links of busy services are wrong too often. */
const LEAST_PROBABILITY = 0.9;
const HIGH_TRUST = 0.95;
const LEAST_AT_HIGH_TRUST = 0.6;
/** And how sure a service's calls that could be moved are on average: where few are, the sure ones are not to be trusted either. */
const LEAST_TRUST = 0.85;
/** Where a first guess is less sure than this, or a call has more candidates than that on average, weighing is not worth its time. */
const LEAST_GUESS = 0.6;
const MOST_OPEN = 64;
/** Two requests of 100 calls each that may be either's are this much (workOf), some 2 s; windows of 1000 requests that timing tells anything about a twentieth at most. */
const MOST_WORK = 5_000_000;
/** Of the budget: a service that has had so much of it and is not done is not asked again soon. */
const ITS_SHARE = 0.5;
/** Other work waits no longer than this. */
const PAUSE_AFTER_MS = 8;
/** A claim is at most so sure: what happens to be alone in its time can be something else. */
const MOST_SCORE = 0.97;
/** Of candidates that are not claimed, so that none is chosen. */
const DOUBT = 0.5;
const MOST_CANDIDATES = 16;

interface Window {
  readonly service: string;
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  /** With what lies around. */
  readonly first_ns: bigint;
  readonly last_ns: bigint;
  readonly requests: number;
}

interface DoubtfulCall {
  readonly service: string;
  readonly call_id: bigint;
  readonly fresh: boolean;
}

/** What is claimed of a window's doubtful calls, as rows of timing_claims, and after which model. */
interface Weighed {
  readonly claims: readonly string[];
  readonly call_ids: readonly bigint[];
  readonly model: { readonly version: number; readonly service: string; readonly from_ns: bigint; readonly to_ns: bigint; readonly parameters: string };
}

/** Where timing told nothing, it is not asked again for this long. */
const HOPELESS_NS = 30_000_000_000n;
/** Service -> until when, ns since 1970. */
export type HopelessServices = Map<string, bigint>;

const EVER = 9_000_000_000_000_000_000n;

/** `pause` is awaited between windows: other work may go on. */
export async function claimByTiming(connection: DuckDBConnection, pause: () => Promise<void> = async () => undefined, hopeless: HopelessServices = new Map(), budget_ms = Infinity): Promise<void> {
  await connection.run('DELETE FROM timing_claims');
  const wanted = await readRows(connection, "SELECT 1 FROM doubtful_calls WHERE NOT EXISTS (SELECT 1 FROM evidence_off WHERE evidence = 'timing') LIMIT 1");
  if (wanted.length === 0) return;
  const until = performance.now() + budget_ms;
  const options = { give_up_below: LEAST_GUESS, sample_sweeps: 50, cool: false, pause: pausing(until) };
  for (const round of rounds(await windows(connection))) {
    const worth = await worthWeighing(connection, round.filter(({ service, from_ns, requests }) => requests >= LEAST_REQUESTS && (hopeless.get(service) ?? 0n) <= from_ns));
    if (worth.length === 0) continue;
    await fill(connection);
    const doubtful = await doubtfulCalls(connection);
    const found: Weighed[] = [];
    for await (const problem of readProblems<bigint>(connection)) {
      if (performance.now() > until) break; // what is left stays undecided: better than that everything is late
      await pause();
      const window = worth.find(({ service }) => service === problem.service) as Window;
      const begun = performance.now();
      const resolution = workOf(problem.problem) > MOST_WORK ? undefined : await resolveService(problem.problem, options).catch(unlessLate);
      if (resolution === LATE && performance.now() - begun < budget_ms * ITS_SHARE) break; // others had the time: it is asked again
      const weighed = resolution === undefined || resolution === LATE ? undefined : weigh(window, problem, resolution, doubtful.get(problem.service) ?? []);
      if (weighed === undefined) hopeless.set(window.service, window.from_ns + HOPELESS_NS);
      else {
        hopeless.delete(window.service);
        found.push(weighed);
      }
    }
    await store(connection, found);
    if (performance.now() > until) return;
  }
}

class OutOfTime extends Error {}

const LATE = Symbol('late');

function unlessLate(error: unknown): typeof LATE {
  if (!(error instanceof OutOfTime)) throw error;
  return LATE;
}

/** Lets other work go on, when it has waited for long. Error: OutOfTime. */
function pausing(until: number): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() > until) throw new OutOfTime();
    if (performance.now() - last < PAUSE_AFTER_MS) return;
    await new Promise(setImmediate);
    last = performance.now();
  };
}

async function windows(connection: DuckDBConnection): Promise<Window[]> {
  const rows = (await readRows(connection, 'SELECT service, start_ns FROM timing_seen_requests ORDER BY service, start_ns')) as [string, bigint][];
  const found: Window[] = [];
  for (const [service, starts] of groupBy(rows, ([name]) => name)) {
    const startOf = (at: number): bigint => starts[at]?.[1] ?? (at < 0 ? 0n : EVER);
    for (let at = 0; at < starts.length; at += WINDOW.requests) {
      const [first, end] = [at - WINDOW.around, at + WINDOW.requests];
      found.push({
        service,
        from_ns: startOf(at),
        to_ns: startOf(end),
        first_ns: startOf(Math.max(0, first)),
        last_ns: startOf(end + WINDOW.around),
        requests: Math.min(end + WINDOW.around, starts.length) - Math.max(0, first),
      });
    }
  }
  return found;
}

/** Windows of different services are looked at together: a statement for all of them costs little more than for one. A service's own follow each other. */
function rounds(all: readonly Window[]): Window[][] {
  const found: Window[][] = [];
  const of_service = [...groupBy(all, ({ service }) => service).values()];
  for (let nth = 0; of_service.some((own) => own.length > nth); nth += 1) {
    let [round, requests]: [Window[], number] = [[], 0];
    for (const window of of_service.flatMap((own) => own[nth] ?? [])) {
      if (round.length > 0 && requests + window.requests > MOST_REQUESTS) {
        found.push(round);
        [round, requests] = [[], 0];
      }
      round.push(window);
      requests += window.requests;
    }
    found.push(round);
  }
  return found;
}

/** Those with doubtful calls, where these have few enough candidates. Temp table timing_windows: the same. */
async function worthWeighing(connection: DuckDBConnection, round: readonly Window[]): Promise<Window[]> {
  if (round.length === 0) return [];
  const values = round.map(({ service, from_ns, to_ns, first_ns, last_ns }) => `('${service.replaceAll("'", "''")}', ${from_ns}, ${to_ns}, ${first_ns}, ${last_ns})`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE timing_windows (service VARCHAR, from_ns BIGINT, to_ns BIGINT, first_ns BIGINT, last_ns BIGINT);
    INSERT INTO timing_windows VALUES ${values.join(', ')};
    DELETE FROM timing_windows WHERE service NOT IN (
      SELECT d.service FROM doubtful_calls d JOIN open_counts o ON o.span_id = d.span_id JOIN timing_windows w ON w.service = d.service AND d.at_ns >= w.from_ns AND d.at_ns < w.to_ns
      GROUP BY d.service HAVING avg(o.open) <= ${MOST_OPEN})`);
  const left = new Set((await readRows(connection, 'SELECT service FROM timing_windows')).map(([service]) => service as string));
  return round.filter(({ service }) => left.has(service));
}

async function fill(connection: DuckDBConnection): Promise<void> {
  await createTimingTables(connection, 'BIGINT');
  await connection.run(`
    INSERT INTO timing_requests SELECT r.request_id, r.service, r.process_id, coalesce(r.method, '') || ' ' || coalesce(url_template(r.path, r.quick), ''), r.start_ns, r.end_ns, NULL
      FROM (SELECT s.*, quick_template(s.path) AS quick FROM timing_seen_requests s JOIN timing_windows w ON w.service = s.service AND s.start_ns >= w.first_ns AND s.start_ns < w.last_ns) r;
    INSERT INTO timing_calls SELECT c.call_id, c.service, c.process_id, c.callee_ip || ':' || c.callee_port, NULL, c.start_ns, c.end_ns
      FROM timing_seen_calls c JOIN timing_windows w ON w.service = c.service AND c.start_ns >= w.first_ns AND c.start_ns < w.last_ns
      LEFT JOIN timing_requests r ON r.request_id = c.request_id
      WHERE c.request_id IS NULL OR r.request_id IS NOT NULL;
    INSERT INTO timing_allowed SELECT c.call_id, c.request_id, 0 FROM timing_seen_calls c SEMI JOIN timing_calls t ON t.call_id = c.call_id WHERE c.request_id IS NOT NULL;
    INSERT INTO timing_allowed SELECT h.call_id, h.request_id, ln(greatest(h.score, 0.001)) FROM timing_hints h
      SEMI JOIN timing_calls t ON t.call_id = h.call_id SEMI JOIN timing_requests r ON r.request_id = h.request_id
      ANTI JOIN timing_allowed a ON a.call_id = h.call_id`);
}

/** By service: those of its window, not of what lies around. */
async function doubtfulCalls(connection: DuckDBConnection): Promise<Map<string, DoubtfulCall[]>> {
  const rows = await readRows(connection, `
    SELECT d.service, t.call_id, d.fresh FROM doubtful_calls d JOIN timing_calls t ON t.call_id = d.span_id JOIN timing_windows w ON w.service = d.service AND t.start_tick >= w.from_ns AND t.start_tick < w.to_ns`);
  const calls = (rows as [string, bigint, boolean][]).map(([service, call_id, fresh]) => ({ service, call_id, fresh }));
  return groupBy(calls, ({ service }) => service);
}

/** Undefined: the service cannot be told by timing. */
function weigh({ service, first_ns, last_ns }: Window, { call_ids, request_ids, callee_names, tick_ns, newest_ns, problem }: ServiceProblem<bigint>, { probabilities, model }: Resolution, doubtful: readonly DoubtfulCall[]): Weighed | undefined {
  const place = new Map(call_ids.map((id, at) => [id, at]));
  const weighed = doubtful.map(({ call_id, fresh }) => {
    const call = place.get(call_id) as number;
    const own: { request_id: bigint; probability: number }[] = [];
    for (let at = problem.offsets[call] as number; at < (problem.offsets[call + 1] as number); at += 1) own.push({ request_id: request_ids[problem.candidates[at] as number] as bigint, probability: probabilities[at] as number });
    return { call_id, fresh, candidates: own.toSorted((a, b) => b.probability - a.probability).slice(0, MOST_CANDIDATES) };
  });
  const trust = weighed.reduce((sum, { candidates }) => sum + (candidates[0]?.probability ?? 0), 0) / Math.max(1, weighed.length);
  if (trust < LEAST_TRUST) return undefined; // their candidates are known without this
  const least = trust >= HIGH_TRUST ? LEAST_AT_HIGH_TRUST : LEAST_PROBABILITY;
  const claims: string[] = [];
  for (const { call_id, fresh, candidates } of weighed) {
    for (const { request_id, probability } of candidates) {
      if (probability < 0.01) continue;
      claims.push(`(${call_id}, ${request_id}, ${probability >= least ? MOST_SCORE * probability : DOUBT * probability}, ${fresh})`);
    }
  }
  const parameters = JSON.stringify({ requests: request_ids.length, trust: Math.round(trust * 1000) / 1000, delays: model.describe(callee_names, tick_ns) });
  const to_ns = last_ns === EVER ? newest_ns : last_ns;
  const version = createHash('sha256').update(`${service} ${first_ns} ${to_ns} ${parameters}`).digest().readUInt32BE(0) >>> 1;
  return { claims, call_ids: doubtful.map(({ call_id }) => call_id), model: { version, service, from_ns: first_ns, to_ns, parameters } };
}

async function store(connection: DuckDBConnection, found: readonly Weighed[]): Promise<void> {
  const claims = found.flatMap((one) => one.claims);
  if (claims.length === 0) return;
  const judged = found.flatMap(({ call_ids, model: { version } }) => call_ids.map((id) => `(${id}, ${version})`)).join(', ');
  await connection.run(`INSERT INTO timing_claims VALUES ${claims.join(', ')}`);
  for (const { claims: own, model: { version, service, from_ns, to_ns, parameters } } of found) {
    if (own.length > 0) await connection.run('INSERT INTO timing_models VALUES ($1, $2, $3, $4, $5)', [version, service, from_ns, to_ns, parameters]);
  }
  await connection.run(`CREATE OR REPLACE TEMP TABLE timing_judged (span_id BIGINT, model_version INTEGER);
    INSERT INTO timing_judged VALUES ${judged};
    DELETE FROM timing_versions WHERE span_id IN (SELECT span_id FROM timing_judged);
    INSERT INTO timing_versions FROM timing_judged;
    UPDATE timing_seen_calls SET request_id = c.candidate_span_id FROM timing_claims c WHERE c.span_id = call_id AND c.score > ${DOUBT}`);
}

/** What ../step-runner.ts needs to know of it. */
export function computedSteps(connection: DuckDBConnection, pause?: () => Promise<void>, hopeless?: HopelessServices, budget_ms?: number): ReadonlyMap<string, Computed> {
  const reads = ['doubtful_calls', 'open_counts', 'timing_seen_requests', 'timing_seen_calls', 'timing_hints'];
  return new Map([['claims', { reads, run: () => claimByTiming(connection, pause, hopeless, budget_ms) }]]);
}

function groupBy<T>(rows: readonly T[], keyOf: (row: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const group = groups.get(keyOf(row));
    if (group === undefined) groups.set(keyOf(row), [row]);
    else group.push(row);
  }
  return groups;
}
