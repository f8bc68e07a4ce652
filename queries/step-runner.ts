// Runs the named SELECTs of queries/correlate/*.sql, each into a table of its own: thin, so that the SQL stays the program.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { packageRoot } from '../schema/package-root.ts';

export interface Step {
  readonly file: string;
  readonly name: string;
  readonly sql: string;
  /** Run again, its result replacing its input, until nothing changes. */
  readonly repeat: boolean;
}

/** The steps of one file: blocks that begin with `-- @name NAME` or `-- @name NAME @repeat`. */
export function parseSteps(file: string, text: string): Step[] {
  const steps: Step[] = [];
  let current: { name: string; repeat: boolean; lines: string[] } | undefined;
  const close = (): void => {
    if (current === undefined) return;
    const sql = current.lines.join('\n').trim();
    if (sql === '') throw new Error(`${file}: step ${current.name} is empty`);
    steps.push({ file, name: current.name, sql, repeat: current.repeat });
  };
  for (const line of text.split('\n')) {
    const head = /^-- @name (\w+)( @repeat)?$/.exec(line);
    if (head?.[1] !== undefined) {
      close();
      current = { name: head[1], repeat: head[2] !== undefined, lines: [] };
    } else current?.lines.push(line);
  }
  close();
  return steps;
}

/** Every step of queries/correlate, in the order of the files' names. */
export function loadSteps(): Step[] {
  const folder = join(packageRoot(), 'queries', 'correlate');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .toSorted()
    .flatMap((name) => parseSteps(name, readFileSync(join(folder, name), 'utf8')));
}

/** A trace of 2^20 hops has met a cycle. */
const MOST_ROUNDS = 20;

/** A number that differs when the rows do, whatever their order. */
async function contents(connection: DuckDBConnection, table: string): Promise<string> {
  const reader = await connection.runAndReadAll(`SELECT bit_xor(hash(t)) FROM ${table} t`);
  return String(reader.getRows()[0]?.[0]);
}

/** Materialises each step as temp table of `connection`; the inputs are temp tables or found by the search path. */
export async function runSteps(connection: DuckDBConnection, steps: readonly Step[]): Promise<void> {
  for (const step of steps) {
    if (!step.repeat) {
      await connection.run(`CREATE OR REPLACE TEMP TABLE ${step.name} AS ${step.sql}`);
      continue;
    }
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      await connection.run(`CREATE OR REPLACE TEMP TABLE step_next AS ${step.sql}`);
      const before = await contents(connection, step.name);
      const after = await contents(connection, 'step_next');
      await connection.run(`DROP TABLE ${step.name}`);
      await connection.run(`ALTER TABLE step_next RENAME TO ${step.name}`);
      if (after === before) break;
    }
  }
}
