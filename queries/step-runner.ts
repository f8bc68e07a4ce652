// Runs the named SELECTs of queries/correlate/*.sql, each into a table of its own, as a view, or within the one that reads it: thin, so that the SQL stays the program.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { readRows } from '../ingest/duckdb-query.ts';
import { packageRoot } from '../schema/package-root.ts';

export interface Step {
  readonly file: string;
  readonly name: string;
  readonly sql: string;
  /** Run again on its own result, until no row says that it has moved. */
  readonly repeat: boolean;
  /** Used once or twice: computed where it is used. */
  readonly view: boolean;
  /** Where one of these relations is empty, so is the step's result, or nothing reads it then. */
  readonly needs: readonly string[];
  /** Steps that are part of its statement. */
  readonly within?: readonly string[];
}

/** What is part of the next step's statement: a common table expression. */
const WITHIN: Readonly<Record<string, string>> = { within: 'MATERIALIZED', inline: 'NOT MATERIALIZED' };

/**
 * The steps of one file: blocks that begin with `-- @name NAME`, and a mark after it: `@view`, `@repeat`, or, where the next step without such a mark is the
 * only one that reads it, `@within` (computed once) or `@inline` (wherever it is named). A line
 * `-- @needs RELATION, ...` says of all up to the next such line that they yield nothing, or nothing that is read, where one of these relations is empty.
 */
export function parseSteps(file: string, text: string): Step[] {
  const steps: Step[] = [];
  let current: { name: string; mark: string | undefined; lines: string[] } | undefined;
  let needs: readonly string[] = [];
  let parts: { name: string; sql: string }[] = [];
  const close = (): void => {
    if (current === undefined) return;
    const { name, mark, lines } = current;
    const sql = lines.filter((line) => !line.startsWith('--')).join('\n').trim();
    if (sql === '') throw new Error(`${file}: step ${name} is empty`);
    const within = WITHIN[mark ?? ''];
    if (within !== undefined) parts.push({ name, sql: `${name} AS ${within} (\n${sql}\n)` });
    else {
      if (parts.length > 0 && !sql.startsWith('SELECT')) throw new Error(`${file}: step ${name} has steps within, and does not begin with SELECT`);
      const step = { file, name, repeat: mark === 'repeat', view: mark === 'view', needs };
      steps.push(parts.length === 0 ? { ...step, sql } : { ...step, sql: `WITH ${parts.map((part) => part.sql).join(', ')}\n${sql}`, within: parts.map((part) => part.name) });
      parts = [];
    }
    current = undefined;
  };
  for (const line of text.split('\n')) {
    const needed = /^-- @needs (\w+(?:, \w+)*)$/.exec(line)?.[1];
    if (needed !== undefined) {
      close();
      if (parts.length > 0) throw new Error(`${file}: between a step and the one that it is within is a line @needs: move it before them`);
      needs = needed.split(', ');
      continue;
    }
    const head = /^-- @name (\w+)(?: @(repeat|view|within|inline))?$/.exec(line);
    if (head?.[1] !== undefined) {
      close();
      current = { name: head[1], mark: head[2], lines: [] };
    } else current?.lines.push(line);
  }
  close();
  if (parts.length > 0) throw new Error(`${file}: no step follows that the last one is within`);
  return steps;
}

function readSteps(folder: string): Step[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .toSorted()
    .flatMap((name) => parseSteps(name, readFileSync(join(folder, name), 'utf8')));
}

/** Every step of queries/correlate, in the order of the files' names; 'duckdb': with the few that have a faster form there. */
export function loadSteps(dialect: 'duckdb' | 'portable' = 'duckdb'): Step[] {
  const folder = join(packageRoot(), 'queries', 'correlate');
  const steps = readSteps(folder);
  const names = steps.filter((step) => !step.repeat).flatMap((step) => [step.name, ...(step.within ?? [])]);
  for (const name of names) if (names.indexOf(name) !== names.lastIndexOf(name)) throw new Error(`queries/correlate has two steps that are called ${name}: rename one`);
  if (dialect === 'portable') return steps;
  const own = new Map(readSteps(join(folder, 'duckdb')).map((step) => [step.name, step]));
  for (const name of own.keys()) if (!steps.some((step) => step.name === name)) throw new Error(`queries/correlate/duckdb replaces ${name}, which is no step`);
  for (const { name, within } of steps) if (within !== undefined && own.has(name)) throw new Error(`queries/correlate/duckdb replaces ${name} without what is within it: replace a step that has none`);
  return steps.map((step) => own.get(step.name) ?? step);
}

/** A chain of 2^20 calls has met a circle. */
const MOST_ROUNDS = 20;

/** Of one connection: results that are known to be empty need not be computed again, nor views be made again. */
export class StepMemory {
  readonly empty = new Set<string>();
  readonly made = new Set<string>();
  /** Found out once: the steps stay the same. */
  last_reads: ReadonlyMap<number, readonly string[]> | undefined;
}

/** What is computed otherwise than in SQL. */
export interface Computed {
  readonly run: () => Promise<void>;
  /** Results of steps. */
  readonly reads: readonly string[];
}

export interface StepWatch {
  readonly observe?: ((step: Step, elapsed_ms: number) => void) | undefined;
  readonly between?: (() => Promise<void>) | undefined;
  readonly memory?: StepMemory | undefined;
  /** By the name of the step that it comes before. */
  readonly computed?: ReadonlyMap<string, Computed> | undefined;
  /** Results that are read after the last step. Given: others of many rows are dropped as soon as no step reads them any more, and their memory goes to the next ones. */
  readonly kept?: ReadonlySet<string> | undefined;
  /** How many are many; 10,000. */
  readonly many_rows?: number | undefined;
  /**
   * Steps that do not depend on whether one before them has rows are said to DuckDB at once: on busy processors each answer takes milliseconds to come. Results
   * that nothing reads any more stay until then. Not where each step is observed.
   */
  readonly together?: boolean;
}

/** Dropping a table, and making it anew in the next cycle, costs more than so many rows take. */
const MANY_ROWS = 10_000;

/** Which results are read for the last time by which step (its place among `steps`): a view reads what it is made of wherever it is read itself. */
export function lastReads(steps: readonly Step[], kept: ReadonlySet<string>, computed: ReadonlyMap<string, Computed> = new Map()): ReadonlyMap<number, readonly string[]> {
  const made = new Set(steps.map(({ name }) => name));
  const namedBy = ({ name, sql, needs }: Step): string[] => [...new Set([...[...sql.matchAll(/\b(?:FROM|JOIN)\s+(\w+)/g)].map(([, relation]) => relation as string), ...needs, ...(computed.get(name)?.reads ?? [])])].filter((word) => made.has(word) && word !== name);
  const reads = steps.map(namedBy);
  const views = new Map(steps.flatMap((step, at) => (step.view ? [[step.name, reads[at] as string[]] as const] : [])));
  const through = (name: string): string[] => [name, ...(views.get(name) ?? []).flatMap(through)];
  const staying = new Set([...kept].flatMap(through));
  const last = new Map<string, number>();
  for (const [at, step] of steps.entries()) for (const name of [step.name, ...(reads[at] as string[]).flatMap(through)]) last.set(name, at);
  const by_step = new Map<number, string[]>();
  for (const [name, at] of last) if (!staying.has(name) && !views.has(name)) by_step.set(at, [...(by_step.get(at) ?? []), name]);
  return by_step;
}

/** What is more urgent waits for all of them. */
const MOST_TOGETHER = 12;

/** A statement of a step. */
interface Said {
  readonly step: Step;
  readonly sql: string;
  /** It makes a table. */
  readonly made: boolean;
}

const countOf = ({ step }: Said, place: number): string => `SELECT ${place} AS place, count(*) FROM ${step.name}`;

/** Makes each step a temp table (or view) of `connection`; the inputs are temp tables too. */
export async function runSteps(connection: DuckDBConnection, steps: readonly Step[], watch: StepWatch = {}): Promise<void> {
  for (const name of watch.computed?.keys() ?? []) if (!steps.some((step) => step.name === name)) throw new Error(`what is computed before ${name} would never be: no step is called so`);
  const memory = watch.memory ?? new StepMemory();
  const together = watch.together === true && watch.observe === undefined;
  const filled = new Map<string, boolean>();
  if (watch.kept !== undefined) memory.last_reads ??= lastReads(steps, watch.kept, watch.computed);
  const large = new Set<string>();
  /** Large results that nothing reads any more: they go before the next statement. */
  let over: string[] = [];
  let said: Said[] = [];
  /** Places of steps that what is said is the last to read something of. */
  let passed: number[] = [];
  const release = (): void => {
    const names = passed.flatMap((at) => memory.last_reads?.get(at) ?? []).filter((name) => large.has(name));
    for (const name of names) memory.made.delete(name);
    over.push(...names);
    passed = [];
  };
  const say = async (): Promise<void> => {
    const made = said.filter((one) => one.made);
    const [only] = made;
    const says_itself = made.length === 1 && said.at(-1) === only;
    const counts = made.length === 0 || says_itself ? [] : [`${made.map(countOf).join(' UNION ALL ')} ORDER BY place`];
    const statements = [...over.map((name) => `DROP TABLE ${name}`), ...said.map(({ sql }) => sql), ...counts];
    [said, over] = [[], []];
    if (statements.length > 0) {
      if (together) await watch.between?.();
      const rows = await readRows(connection, statements.join('\n;\n'));
      for (const [place, { step }] of made.entries()) {
        const count = Number(says_itself ? (rows[0]?.[0] ?? 0) : rows[place]?.[1]);
        filled.set(step.name, count > 0);
        if (count >= (watch.many_rows ?? MANY_ROWS)) large.add(step.name);
      }
    }
    release();
  };
  for (const [at, step] of steps.entries()) {
    if (!together) await watch.between?.();
    const begun = performance.now();
    const computed = watch.computed?.get(step.name);
    const known = memory.made.has(step.name);
    if (computed !== undefined || step.repeat || (known && !step.needs.every((name) => filled.has(name)))) await say();
    await computed?.run();
    if (known && (await isEmptyAny(connection, step.needs, filled))) {
      if (!step.view && !memory.empty.has(step.name)) said.push({ step, sql: `DELETE FROM ${step.name}`, made: false });
      memory.empty.add(step.name);
      if (!step.view) filled.set(step.name, false);
    } else {
      memory.made.add(step.name);
      memory.empty.delete(step.name);
      filled.delete(step.name);
      if (step.repeat) await repeatStep(connection, step);
      else if (step.view) said.push(...(known ? [] : [{ step, sql: `CREATE OR REPLACE TEMP VIEW ${step.name} AS ${step.sql}`, made: false }]));
      else said.push({ step, sql: `CREATE OR REPLACE TEMP TABLE ${step.name} AS ${step.sql}`, made: true });
      if (!together || said.length >= MOST_TOGETHER) await say();
      watch.observe?.(step, performance.now() - begun);
    }
    passed.push(at);
    if (said.length === 0) release();
  }
  await say();
  if (over.length > 0) await say();
}

/** filled: what is known of relations in this run. */
async function isEmptyAny(connection: DuckDBConnection, relations: readonly string[], filled: Map<string, boolean>): Promise<boolean> {
  for (const relation of relations) {
    if (!filled.has(relation)) filled.set(relation, (await readRows(connection, `SELECT 1 FROM ${relation} LIMIT 1`)).length > 0);
    if (filled.get(relation) === false) return true;
  }
  return false;
}

async function repeatStep(connection: DuckDBConnection, { name, sql }: Step): Promise<void> {
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const moved = await readRows(connection, `CREATE OR REPLACE TEMP TABLE step_next AS ${sql}\n; DROP TABLE ${name}; ALTER TABLE step_next RENAME TO ${name}; SELECT 1 FROM ${name} WHERE moved LIMIT 1`);
    if (moved.length === 0) return;
  }
}
