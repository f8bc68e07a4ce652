// Links from timing and structure alone: from the tables timing_calls, timing_requests and timing_allowed (see 10-candidates.sql)
// of a DuckDB connection to one row per call and candidate, with its probability.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { packageRoot } from '../../schema/package-root.ts';
import { parseSteps, runSteps } from '../step-runner.ts';
import type { Problem } from './problem.ts';
import { resolveService, type ResolveOptions } from './resolve-service.ts';

export interface TimingLink {
  readonly call_id: string;
  readonly request_id: string;
  readonly probability: number;
  /** Part of the most probable whole. */
  readonly chosen: boolean;
}

/** Creates the three input tables, empty. */
export async function createTimingTables(connection: DuckDBConnection): Promise<void> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE timing_calls (call_id VARCHAR, service VARCHAR, process VARCHAR, callee VARCHAR, operation VARCHAR, start_tick BIGINT, end_tick BIGINT);
    CREATE OR REPLACE TEMP TABLE timing_requests (request_id VARCHAR, service VARCHAR, process VARCHAR, operation VARCHAR, start_tick BIGINT, end_tick BIGINT);
    CREATE OR REPLACE TEMP TABLE timing_allowed (call_id VARCHAR, request_id VARCHAR, evidence DOUBLE)`);
}

export async function resolveTiming(connection: DuckDBConnection, options: ResolveOptions = {}): Promise<TimingLink[]> {
  const file = '10-candidates.sql';
  await runSteps(connection, parseSteps(file, readFileSync(join(packageRoot(), 'queries', 'timing', file), 'utf8')));
  const links: TimingLink[] = [];
  const columns = async (sql: string): Promise<unknown[][]> => (await connection.runAndReadAll(sql)).getColumns();
  const [services = []] = await columns('SELECT DISTINCT service FROM numbered_calls ORDER BY service');
  for (const service of services as string[]) {
    const name = `'${service.replaceAll("'", "''")}'`;
    const [request_ids = [], operations = [], request_starts = [], request_ends = []] = await columns(`SELECT request_id, operation, start_tick, end_tick FROM numbered_requests WHERE service = ${name} ORDER BY request_no`);
    const [call_ids = [], callees = [], call_starts = [], call_ends = []] = await columns(`SELECT call_id, coalesce(callee, '') || ' ' || coalesce(operation, ''), start_tick, end_tick FROM numbered_calls WHERE service = ${name} ORDER BY call_no`);
    const [call_nos = [], request_nos = [], evidence = []] = await columns(`SELECT call_no, request_no, evidence FROM candidates WHERE service = ${name} ORDER BY call_no, request_no`);
    const { problem } = makeProblem({ operations, request_starts, request_ends, callees, call_starts, call_ends, call_nos, request_nos, evidence } as unknown as Rows);
    const { probabilities, chosen } = resolveService(problem, options);
    for (let call = 0; call < call_ids.length; call += 1) {
      for (let at = problem.offsets[call] as number; at < (problem.offsets[call + 1] as number); at += 1) {
        links.push({ call_id: call_ids[call] as string, request_id: request_ids[problem.candidates[at] as number] as string, probability: probabilities[at] as number, chosen: chosen[call] === at });
      }
    }
  }
  return links;
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
function makeProblem(rows: Rows): { problem: Problem } {
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
  return { problem: { operations, callees, request_start, request_end, request_operation, call_start, call_end, call_callee, offsets, candidates: Int32Array.from(rows.request_nos), evidence: Float64Array.from(rows.evidence) } };
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
