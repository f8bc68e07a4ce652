// Links from timing and structure alone: from the tables timing_calls, timing_requests and timing_allowed (see 10-candidates.sql)
// of a DuckDB connection to one row per call and candidate, with its probability.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { packageRoot } from '../../schema/package-root.ts';
import { parseSteps, runSteps } from '../step-runner.ts';
import { withGroups, type Problem } from './problem.ts';
import type { LearnedDelay } from './service-model.ts';
import { resolveService, type Resolution, type ResolveOptions } from './resolve-service.ts';

export interface TimingLink {
  readonly call_id: string;
  readonly request_id: string;
  readonly probability: number;
  /** Part of the most probable whole. */
  readonly chosen: boolean;
}

export interface TimingResult {
  readonly links: TimingLink[];
  /** What was learned, per service. */
  readonly models: readonly { readonly service: string; readonly requests: number; readonly delays: readonly LearnedDelay[] }[];
}

/** Creates the three input tables, empty. `id`: DuckDB's type of calls', requests' and processes' ids. */
export async function createTimingTables(connection: DuckDBConnection, id: 'VARCHAR' | 'BIGINT' = 'VARCHAR'): Promise<void> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE timing_calls (call_id ${id}, service VARCHAR, process ${id}, callee VARCHAR, operation VARCHAR, start_tick BIGINT, end_tick BIGINT);
    CREATE OR REPLACE TEMP TABLE timing_requests (request_id ${id}, service VARCHAR, process ${id}, operation VARCHAR, start_tick BIGINT, end_tick BIGINT, caller_id ${id});
    CREATE OR REPLACE TEMP TABLE timing_allowed (call_id ${id}, request_id ${id}, evidence DOUBLE)`);
}

/** Twice: once that traces are roughly known, services that several requests of a trace meet at are looked at again. */
export async function resolveTiming(connection: DuckDBConnection, options: ResolveOptions = {}): Promise<TimingResult> {
  const problems: ServiceProblem<string>[] = [];
  for await (const problem of readProblems<string>(connection)) problems.push(problem);
  const found: Resolution[] = [];
  for (const { problem } of problems) found.push(await resolveService(problem, options));
  const groups = groupByTrace(problems, found);
  const links: TimingLink[] = [];
  const models: { service: string; requests: number; delays: LearnedDelay[] }[] = [];
  for (const [i, { service, request_ids, call_ids, callee_names, tick_ns, problem }] of problems.entries()) {
    const request_group = groups[i] as Int32Array;
    const resolution = request_group.some((group) => group >= 0) ? await resolveService(withGroups(problem, request_group), { ...options, first: found[i] as Resolution }) : (found[i] as Resolution);
    const { probabilities, chosen, model } = resolution;
    models.push({ service, requests: request_ids.length, delays: model.describe(callee_names, tick_ns) });
    for (let call = 0; call < call_ids.length; call += 1) {
      for (let at = problem.offsets[call] as number; at < (problem.offsets[call + 1] as number); at += 1) {
        links.push({ call_id: call_ids[call] as string, request_id: request_ids[problem.candidates[at] as number] as string, probability: probabilities[at] as number, chosen: chosen[call] === at });
      }
    }
  }
  return { links, models };
}

/** Per problem: requests that lead to the same root have the same number. */
function groupByTrace(problems: readonly ServiceProblem<string>[], found: readonly Resolution[]): Int32Array[] {
  const parents = new Map<string, string>(); // of requests: the request before
  const owner = new Map<string, string>(); // of calls
  for (const [i, { request_ids, call_ids, problem }] of problems.entries()) {
    found[i]?.chosen.forEach((at, call) => {
      if (at >= 0) owner.set(call_ids[call] as string, request_ids[problem.candidates[at] as number] as string);
    });
  }
  for (const { request_ids, caller_ids } of problems) {
    request_ids.forEach((id, at) => {
      const before = owner.get(caller_ids[at] ?? '');
      if (before !== undefined) parents.set(id, before);
    });
  }
  const rootOf = (id: string): string => {
    let at = id;
    for (let hops = 0; hops < 100; hops += 1) {
      const next = parents.get(at);
      if (next === undefined) break;
      at = next;
    }
    return at;
  };
  return problems.map(({ request_ids }) => {
    const roots = request_ids.map(rootOf);
    const sizes = new Map<string, number>();
    for (const root of roots) sizes.set(root, (sizes.get(root) ?? 0) + 1);
    const numbers = new Map<string, number>();
    return Int32Array.from(roots, (root) => {
      if ((sizes.get(root) as number) < 2) return -1;
      if (!numbers.has(root)) numbers.set(root, numbers.size);
      return numbers.get(root) as number;
    });
  });
}

/** Id: as createTimingTables was told. */
export interface ServiceProblem<Id extends string | bigint> {
  readonly service: string;
  readonly request_ids: readonly Id[];
  /** The other end of each request: the call that sent it. */
  readonly caller_ids: readonly (Id | null)[];
  readonly call_ids: readonly Id[];
  /** By the numbers that stand for them in the problem. */
  readonly callee_names: readonly string[];
  /** A tick of the problem in units of the input. */
  readonly tick_ns: number;
  /** Start of the newest request. */
  readonly newest_ns: bigint;
  readonly problem: Problem;
}

/** One problem per service that makes calls. */
export async function* readProblems<Id extends string | bigint>(connection: DuckDBConnection): AsyncGenerator<ServiceProblem<Id>> {
  const file = '10-candidates.sql';
  await runSteps(connection, parseSteps(file, readFileSync(join(packageRoot(), 'queries', 'timing', file), 'utf8')));
  const read = (relation: string, columns: string, number: string): Promise<ServiceRows> => ServiceRows.read(connection, relation, columns, number);
  const all_requests = await read('numbered_requests', 'request_id, operation, start_tick, end_tick, caller_id', 'request_no');
  const all_calls = await read('numbered_calls', "call_id, coalesce(callee, '') || ' ' || coalesce(operation, ''), start_tick, end_tick", 'call_no');
  const all_candidates = await read('candidates', 'call_no, request_no, evidence', 'call_no, request_no');
  for (const service of all_calls.services) {
    const [request_ids, operations, request_starts, request_ends, caller_ids] = all_requests.of(service);
    const [call_ids, callees, call_starts, call_ends] = all_calls.of(service);
    const [call_nos, request_nos, evidence] = all_candidates.of(service);
    const rows = { operations, request_starts, request_ends, callees, call_starts, call_ends, call_nos, request_nos, evidence } as unknown as Rows;
    const newest_ns = rows.request_starts.at(-1) ?? 0n;
    yield { service, request_ids: request_ids as Id[], caller_ids: caller_ids as (Id | null)[], call_ids: call_ids as Id[], newest_ns, ...makeProblem(rows) };
  }
}

/** Columns of rows in order of their service, and where each service's begin and end: its name a million times would be a million texts. */
class ServiceRows {
  readonly #columns: readonly unknown[][];
  readonly #places = new Map<string, [number, number]>();

  private constructor(columns: readonly unknown[][], counts: readonly (readonly [string, bigint])[]) {
    this.#columns = columns;
    let from = 0;
    for (const [service, count] of counts) this.#places.set(service, [from, (from += Number(count))]);
  }

  static async read(connection: DuckDBConnection, relation: string, columns: string, order: string): Promise<ServiceRows> {
    const counts = await connection.runAndReadAll(`SELECT service, count(*) FROM ${relation} GROUP BY service ORDER BY service`);
    const rows = await connection.runAndReadAll(`SELECT ${columns} FROM ${relation} ORDER BY service, ${order}`);
    const found = rows.getColumns(); // none at all where there is no row
    return new ServiceRows(Array.from({ length: rows.columnCount }, (_, at) => found[at] ?? []), counts.getRows() as [string, bigint][]);
  }

  get services(): string[] {
    return [...this.#places.keys()];
  }

  of(service: string): unknown[][] {
    const [from, to] = this.#places.get(service) ?? [0, 0];
    return this.#columns.map((column) => column.slice(from, to));
  }
}

interface Rows {
  readonly operations: (string | null)[];
  readonly request_starts: bigint[];
  readonly request_ends: (bigint | null)[];
  readonly callees: string[];
  readonly call_starts: bigint[];
  readonly call_ends: (bigint | null)[];
  readonly call_nos: number[];
  readonly request_nos: number[];
  readonly evidence: number[];
}

/** The clock's tick is the greatest common divisor of all times: a thousand when a microsecond clock counts milliseconds. */
function makeProblem(rows: Rows): { problem: Problem; callee_names: string[]; tick_ns: number } {
  const origin = [rows.request_starts[0], rows.call_starts[0]].reduce<bigint>((least, at) => (at !== undefined && at < least ? at : least), 2n ** 62n);
  const relative = (at: bigint | null): number => (at === null ? Infinity : Number(at - origin));
  const times = [rows.request_starts, rows.request_ends, rows.call_starts, rows.call_ends].map((column) => Float64Array.from(column, relative));
  let tick = 0;
  for (const column of times) for (const at of column) if (tick !== 1 && at !== Infinity) tick = divisor(tick, at);
  if (tick > 1) for (const column of times) for (let i = 0; i < column.length; i += 1) column[i] = (column[i] as number) / tick;
  const [operations, request_operation] = numbered(rows.operations);
  const [callees, call_callee] = numbered(rows.callees);
  const offsets = new Int32Array(rows.call_starts.length + 1);
  for (const call of rows.call_nos) offsets[call + 1] = (offsets[call + 1] as number) + 1;
  for (let call = 0; call < rows.call_starts.length; call += 1) offsets[call + 1] = (offsets[call + 1] as number) + (offsets[call] as number);
  const [request_start, request_end, call_start, call_end] = times as [Float64Array, Float64Array, Float64Array, Float64Array];
  const problem = { operations, callees, request_start, request_end, request_operation, call_start, call_end, call_callee, offsets, candidates: Int32Array.from(rows.request_nos), evidence: Float64Array.from(rows.evidence), request_group: new Int32Array(rows.operations.length).fill(-1), group_start: request_start };
  return { problem, callee_names: [...new Set(rows.callees)], tick_ns: Math.max(1, tick) };
}

function divisor(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  return x;
}

function numbered(names: readonly (string | null)[]): [number, Int32Array] {
  const numbers = new Map<string | null, number>();
  const column = Int32Array.from(names, (name) => {
    const known = numbers.get(name);
    if (known !== undefined) return known;
    numbers.set(name, numbers.size);
    return numbers.size - 1;
  });
  return [numbers.size, column];
}
