// Ad-hoc SQL from outside: read-only, over the public views, within limits of time and rows.
import { randomUUID } from 'node:crypto';
import { StatementType } from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBDataChunk, DuckDBPreparedStatement, DuckDBResult, DuckDBType } from '@duckdb/node-api';
import { bindParams, hasParams, resultColumns } from '../ingest/duckdb-query.ts';
import type { QueryParams } from '../ingest/duckdb-query.ts';
import type { SqlSource } from '../ingest/sql-source.ts';
import { TracehouseError } from '../schema/errors.ts';
import { requireAllowed } from './sql-allowed.ts';
import { Deadline } from './sql-deadline.ts';
import { SQL_DEFAULTS, SQL_LIMITS } from './sql-limits.ts';
import type { SqlLimits } from './sql-limits.ts';
import { Places } from './sql-places.ts';

export interface UserSql {
  /** Made up unless given. */
  readonly query_id?: string;
  readonly sql: string;
  readonly params?: QueryParams;
  readonly timeout_ms?: number;
  readonly max_rows?: number;
  readonly signal?: AbortSignal;
  /** SQL_LIMITS unless the operator says otherwise. */
  readonly limits?: SqlLimits;
}

export interface SqlColumn {
  readonly name: string;
  readonly type: string;
}

export interface UserSqlResult {
  readonly query_id: string;
  readonly columns: readonly SqlColumn[];
  /** As Warehouse.query gives them. */
  readonly rows: unknown[][];
  readonly row_count: number;
  /** There were more rows than max_rows. */
  readonly truncated: boolean;
  readonly elapsed_ms: number;
}

export interface UserSqlStream {
  readonly query_id: string;
  readonly columns: readonly SqlColumn[];
  readonly column_types: readonly DuckDBType[];
  /** To be read to its end, left by break, or closed: until then, or until time is up, a connection is taken. */
  readonly chunks: AsyncGenerator<{ readonly chunk: DuckDBDataChunk; readonly row_count: number }, void>;
  close(): void;
  /** Rows of the chunks given so far; final after the last. Only the first row_count rows of a chunk count. */
  progress(): { row_count: number; truncated: boolean; elapsed_ms: number };
}

interface GateState {
  readonly views: Promise<ReadonlySet<string>>;
  readonly places: Places;
}

const gates = new WeakMap<SqlSource, GateState>();

export async function publicViews(source: SqlSource): Promise<ReadonlySet<string>> {
  const { rows } = await source.query("SELECT view_name FROM duckdb_views() WHERE database_name = 'memory' AND schema_name = 'main' AND NOT internal");
  return new Set(rows.map(([name]) => (name as string).toLowerCase()));
}

function gateOf(source: SqlSource): GateState {
  let gate = gates.get(source);
  if (gate === undefined) {
    gate = { views: publicViews(source), places: new Places(SQL_LIMITS.at_once) };
    gates.set(source, gate);
  }
  return gate;
}

function limit(name: 'timeout_ms' | 'max_rows', asked: number | undefined, most: number): number {
  if (asked === undefined) return Math.min(SQL_DEFAULTS[name], most);
  if (!Number.isInteger(asked) || asked < 1 || asked > most) throw new TracehouseError('sql-limit', `${name} must be a whole number from 1 to ${most}`);
  return asked;
}

function sqlError(error: unknown): TracehouseError {
  if (error instanceof TracehouseError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/^(Parser|Syntax) Error/i.test(message)) return new TracehouseError('sql-syntax', message, { cause: error });
  if (/^(Permission|TransactionContext) Error|read-only/i.test(message)) return new TracehouseError('sql-forbidden', message, { cause: error });
  if (/^Out of Memory Error|^IO Error: (?:Could not write|.*(?:No space left|File too large))/i.test(message)) {
    return new TracehouseError('sql-memory', 'the statement needs more memory or disk than it may have', { mend: 'narrow its time range or aggregate earlier', cause: error });
  }
  // Where our files lie is nobody's business.
  return new TracehouseError('sql-failed', /^IO Error/i.test(message) ? message.replaceAll(/(["'])\/.*?\1/g, '$1…$1') : message, { cause: error });
}

/** Errors: sql-syntax, sql-forbidden, sql-limit, sql-busy, sql-failed, sql-timeout, sql-cancelled, sql-memory; from the chunks too. */
export async function streamUserSql(source: SqlSource, request: UserSql): Promise<UserSqlStream> {
  const started = performance.now();
  const limits = request.limits ?? SQL_LIMITS;
  const max_rows = limit('max_rows', request.max_rows, limits.max_rows);
  const timeout_ms = limit('timeout_ms', request.timeout_ms, limits.timeout_ms);
  const gate = gateOf(source);
  await gate.places.take();
  const deadline = new Deadline(timeout_ms, request.signal);
  let connection: DuckDBConnection | undefined;
  let working: Promise<unknown> = Promise.resolve();
  const step = <T>(work: Promise<T>): Promise<T> => {
    working = work;
    return deadline.race(work);
  };
  let released = false;
  const release = (): void => {
    if (released) return;
    released = true;
    deadline.clear();
    // What an interrupt could not stop keeps its place until it is done.
    void working
      .catch(() => undefined)
      .then(() => connection?.run('ROLLBACK'))
      .catch(() => undefined)
      .then(() => connection?.closeSync())
      .catch(() => undefined)
      .finally(() => gate.places.leave());
  };
  deadline.on_over = release;
  try {
    await step(requireAllowed(source, await gate.views, request.sql));
    connection = await source.connect();
    deadline.guard(connection);
    await step(connection.run('BEGIN TRANSACTION READ ONLY'));
    const prepared = await step(prepareOne(connection, request.sql));
    bind(prepared, request.params);
    const result = await step(prepared.stream());
    let row_count = 0;
    let truncated = false;
    let ended_ms: number | undefined;
    const chunks = readChunks(result, step, deadline, max_rows, (rows, more) => {
      row_count += rows;
      truncated ||= more;
    }, () => {
      ended_ms = performance.now() - started;
      release();
    });
    return {
      query_id: request.query_id ?? randomUUID(),
      columns: resultColumns(result),
      column_types: result.columnTypes(),
      chunks,
      close: release,
      progress: () => ({ row_count, truncated, elapsed_ms: ended_ms ?? performance.now() - started }),
    };
  } catch (error) {
    release();
    throw sqlError(error);
  }
}

async function prepareOne(connection: DuckDBConnection, sql: string): Promise<DuckDBPreparedStatement> {
  const statements = await connection.extractStatements(sql);
  if (statements.count !== 1) throw new TracehouseError('sql-forbidden', 'only one statement at a time is allowed');
  const prepared = await statements.prepare(0);
  if (prepared.statementType !== StatementType.SELECT && prepared.statementType !== StatementType.EXPLAIN) {
    throw new TracehouseError('sql-forbidden', 'only statements that read are allowed');
  }
  return prepared;
}

const parameterNames = (prepared: DuckDBPreparedStatement): string[] => Array.from({ length: prepared.parameterCount }, (_, at) => prepared.parameterName(at + 1));

/** Named parameters that are not given are null. */
function complete(names: readonly string[], params: QueryParams | undefined): QueryParams | undefined {
  const is_named = names.some((name) => !/^\d+$/.test(name));
  if (!is_named || Array.isArray(params)) return params;
  return { ...Object.fromEntries(names.map((name) => [name, null])), ...params };
}

function bind(prepared: DuckDBPreparedStatement, asked: QueryParams | undefined): void {
  const names = parameterNames(prepared);
  const takes = names.length === 0 ? 'it takes none' : `it takes ${names.map((name) => `$${name}`).join(', ')}`;
  const unknown = Array.isArray(asked) ? undefined : Object.keys(asked ?? {}).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TracehouseError('sql-params', `the statement has no parameter $${unknown}: ${takes}`);
  const params = complete(names, asked);
  const given = params === undefined ? 0 : Object.keys(params).length;
  if (given !== prepared.parameterCount) throw new TracehouseError('sql-params', `the statement has ${prepared.parameterCount} parameters, ${given} were given: ${takes}`);
  if (!hasParams(params)) return;
  const { values, types } = bindParams(params);
  try {
    prepared.bind(values, types);
  } catch (error) {
    throw new TracehouseError('sql-params', error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** What the statement takes, if it may be run at all: no row is read. Errors: sql-syntax, sql-forbidden, sql-failed, sql-busy, sql-memory. */
export async function checkUserSql(source: SqlSource, sql: string): Promise<string[]> {
  const gate = gateOf(source);
  await gate.places.take();
  let connection: DuckDBConnection | undefined;
  try {
    await requireAllowed(source, await gate.views, sql);
    connection = await source.connect();
    await connection.run('BEGIN TRANSACTION READ ONLY');
    return parameterNames(await prepareOne(connection, sql));
  } catch (error) {
    throw sqlError(error);
  } finally {
    await connection?.run('ROLLBACK').catch(() => undefined);
    connection?.closeSync();
    gate.places.leave();
  }
}

async function* readChunks(
  result: DuckDBResult,
  step: <T>(work: Promise<T>) => Promise<T>,
  deadline: Deadline,
  max_rows: number,
  count: (rows: number, more: boolean) => void,
  end: () => void,
): AsyncGenerator<{ chunk: DuckDBDataChunk; row_count: number }, void> {
  let left = max_rows;
  const was_streaming = result.isStreaming;
  try {
    for (;;) {
      const chunk = await step(result.fetchChunk());
      deadline.check();
      if (chunk === null || chunk.rowCount === 0) {
        // The client gives no error for a statement that fails on its way: its result only stops being a stream.
        if (was_streaming && !result.isStreaming) throw new TracehouseError('sql-failed', `the statement failed after ${max_rows - left} rows`, { mend: 'run it with a LIMIT beyond these rows, or aggregated, to see why' });
        return;
      }
      const row_count = Math.min(left, chunk.rowCount);
      const more = chunk.rowCount > left;
      left -= row_count;
      count(row_count, more);
      if (row_count > 0) yield { chunk, row_count };
      if (more) return;
    }
  } catch (error) {
    throw sqlError(error);
  } finally {
    end();
  }
}

export async function runUserSql(source: SqlSource, request: UserSql): Promise<UserSqlResult> {
  const stream = await streamUserSql(source, request);
  const rows: unknown[][] = [];
  for await (const { chunk, row_count } of stream.chunks) {
    const part = chunk.getRows();
    for (let row = 0; row < row_count; row++) rows.push(part[row] as unknown[]);
  }
  return { query_id: stream.query_id, columns: stream.columns, rows, ...stream.progress() };
}
