// Timing as a kind of evidence: for calls that nothing else decides, from the tables of ../correlate/26-timing-input.sql to timing_claims.
import { createHash } from 'node:crypto';
import type { DuckDBConnection } from '@duckdb/node-api';
import { createTimingTables, resolveTiming, type TimingResult } from './resolve.ts';

/** A request's calls are looked at together with so many requests before and after. */
const WINDOW = { requests: 1000, around: 150 } as const;
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

/** Where timing told nothing, it is not asked again for this long. */
const HOPELESS_NS = 30_000_000_000n;
/** Service -> until when, ns since 1970. */
export type HopelessServices = Map<string, bigint>;

const EVER = 9_000_000_000_000_000_000n;

/** `pause` is awaited between windows: other work may go on. */
export async function claimByTiming(connection: DuckDBConnection, pause: () => Promise<void> = async () => undefined, hopeless: HopelessServices = new Map(), budget_ms = Infinity): Promise<void> {
  await connection.run('DELETE FROM timing_claims');
  const wanted = await connection.runAndReadAll("SELECT 1 FROM doubtful_calls WHERE NOT EXISTS (SELECT 1 FROM evidence_off WHERE evidence = 'timing') LIMIT 1");
  if (wanted.currentRowCount === 0) return;
  await createTimingTables(connection);
  const begun = performance.now();
  for (const window of await windows(connection)) {
    if (performance.now() - begun > budget_ms) return; // what is left stays undecided: better than that everything is late
    await pause();
    if (window.requests < LEAST_REQUESTS || (hopeless.get(window.service) ?? 0n) > window.from_ns || (await meanOpen(connection, window)) > MOST_OPEN) continue;
    await fill(connection, window);
    const trusted = await claim(connection, window, await resolveTiming(connection, { give_up_below: LEAST_GUESS, sample_sweeps: 50, cool: false, pause: pausing() }));
    if (trusted) hopeless.delete(window.service);
    else hopeless.set(window.service, window.from_ns + HOPELESS_NS);
  }
}

/** Lets other work go on, when it has waited for long. */
function pausing(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < PAUSE_AFTER_MS) return;
    await new Promise(setImmediate);
    last = performance.now();
  };
}

async function meanOpen(connection: DuckDBConnection, { service, from_ns, to_ns }: Window): Promise<number> {
  const rows = await connection.runAndReadAll('SELECT coalesce(avg(o.open), 0) FROM doubtful_calls d JOIN open_counts o ON o.span_id = d.span_id WHERE d.service = $1 AND d.at_ns >= $2 AND d.at_ns < $3', [service, from_ns, to_ns]);
  return rows.getRows()[0]?.[0] as number;
}

async function windows(connection: DuckDBConnection): Promise<Window[]> {
  const rows = (await connection.runAndReadAll('SELECT service, start_ns FROM timing_seen_requests ORDER BY service, start_ns')).getRows() as [string, bigint][];
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

async function fill(connection: DuckDBConnection, { service, first_ns, last_ns }: Window): Promise<void> {
  const name = `'${service.replaceAll("'", "''")}'`;
  await connection.run(`
    DELETE FROM timing_requests; DELETE FROM timing_calls; DELETE FROM timing_allowed;
    INSERT INTO timing_requests SELECT r.request_id, r.service, CAST(r.process_id AS VARCHAR), coalesce(r.method, '') || ' ' || coalesce(url_template(r.path), ''), r.start_ns, r.end_ns, NULL
      FROM timing_seen_requests r WHERE r.service = ${name} AND r.start_ns >= ${first_ns} AND r.start_ns < ${last_ns};
    INSERT INTO timing_calls SELECT c.call_id, c.service, CAST(c.process_id AS VARCHAR), c.callee_ip || ':' || c.callee_port, NULL, c.start_ns, c.end_ns
      FROM timing_seen_calls c LEFT JOIN timing_requests r ON r.request_id = CAST(c.request_id AS VARCHAR)
      WHERE c.service = ${name} AND c.start_ns >= ${first_ns} AND c.start_ns < ${last_ns} AND (c.request_id IS NULL OR r.request_id IS NOT NULL);
    INSERT INTO timing_allowed SELECT c.call_id, c.request_id, 0 FROM timing_seen_calls c SEMI JOIN timing_calls t ON t.call_id = CAST(c.call_id AS VARCHAR) WHERE c.request_id IS NOT NULL;
    INSERT INTO timing_allowed SELECT h.call_id, h.request_id, ln(greatest(h.score, 0.001)) FROM timing_hints h
      SEMI JOIN timing_calls t ON t.call_id = CAST(h.call_id AS VARCHAR) SEMI JOIN timing_requests r ON r.request_id = CAST(h.request_id AS VARCHAR)
      ANTI JOIN timing_allowed a ON a.call_id = CAST(h.call_id AS VARCHAR)`);
}

async function claim(connection: DuckDBConnection, { service, from_ns, to_ns, first_ns, last_ns }: Window, { links, models }: TimingResult): Promise<boolean> {
  const by_call = groupBy(links, (link) => link.call_id);
  const known = (await connection.runAndReadAll(`
    SELECT CAST(d.span_id AS VARCHAR), d.fresh FROM doubtful_calls d JOIN timing_calls t ON t.call_id = CAST(d.span_id AS VARCHAR) WHERE t.start_tick >= ${from_ns} AND t.start_tick < ${to_ns}`)).getRows() as [string, boolean][];
  const best = known.map(([id]) => (by_call.get(id) ?? []).reduce((most, link) => Math.max(most, link.probability), 0));
  const trust = best.reduce((sum, one) => sum + one, 0) / Math.max(1, best.length);
  if (trust < LEAST_TRUST) return false; // their candidates are known without this
  const least = trust >= HIGH_TRUST ? LEAST_AT_HIGH_TRUST : LEAST_PROBABILITY;
  const values: string[] = [];
  for (const [id, fresh] of known) {
    const own = (by_call.get(id) ?? []).toSorted((a, b) => b.probability - a.probability).slice(0, MOST_CANDIDATES);
    for (const { request_id, probability } of own) {
      if (probability < 0.01) continue;
      values.push(`(${id}, ${request_id}, ${probability >= least ? MOST_SCORE * probability : DOUBT * probability}, ${fresh})`);
    }
  }
  if (values.length === 0) return true;
  const [model] = models;
  const parameters = JSON.stringify({ requests: model?.requests, trust: Math.round(trust * 1000) / 1000, delays: model?.delays });
  const window_end = last_ns === EVER ? (await lastSeen(connection)) : last_ns;
  const model_version = createHash('sha256').update(`${service} ${first_ns} ${window_end} ${parameters}`).digest().readUInt32BE(0) >>> 1;
  await connection.run(`INSERT INTO timing_claims VALUES ${values.join(', ')}`);
  await connection.run('INSERT INTO timing_models VALUES ($1, $2, $3, $4, $5)', [model_version, service, first_ns, window_end, parameters]);
  const judged = known.map(([id]) => id);
  await connection.run(`DELETE FROM timing_versions WHERE span_id IN (${judged.join(', ')})`);
  await connection.run(`INSERT INTO timing_versions SELECT unnest([${judged.join(', ')}]::BIGINT[]), ${model_version}`);
  await connection.run(`UPDATE timing_seen_calls SET request_id = c.candidate_span_id FROM timing_claims c WHERE c.span_id = call_id AND c.score > ${DOUBT}`);
  return true;
}

async function lastSeen(connection: DuckDBConnection): Promise<bigint> {
  const rows = await connection.runAndReadAll('SELECT max(start_tick) FROM timing_requests');
  return rows.getRows()[0]?.[0] as bigint;
}

/** What ../step-runner.ts needs to know of it. */
export function computedSteps(connection: DuckDBConnection, pause?: () => Promise<void>, hopeless?: HopelessServices, budget_ms?: number): ReadonlyMap<string, () => Promise<void>> {
  return new Map([['claims', () => claimByTiming(connection, pause, hopeless, budget_ms)]]);
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
