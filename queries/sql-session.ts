// Where a stranger's statement runs: it has passed the gate, has a place, a deadline, a connection that only reads, and its values.
import { randomUUID } from 'node:crypto';
import type { DuckDBConnection, DuckDBPreparedStatement } from '@duckdb/node-api';
import type { QueryParams } from '../ingest/duckdb-query.ts';
import type { SqlSource } from '../ingest/sql-source.ts';
import { TracehouseError } from '../schema/errors.ts';
import { requireAllowed } from './sql-allowed.ts';
import { Deadline } from './sql-deadline.ts';
import { SQL_DEFAULTS, SQL_LIMITS } from './sql-limits.ts';
import type { SqlLimits } from './sql-limits.ts';
import { Places } from './sql-places.ts';
import { bindTo, prepareOne, sqlError } from './sql-statement.ts';

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

interface GateState {
  readonly views: Promise<ReadonlySet<string>>;
  readonly places: Places;
}

const gates = new WeakMap<SqlSource, GateState>();

export async function publicViews(source: SqlSource): Promise<ReadonlySet<string>> {
  const { rows } = await source.query("SELECT view_name FROM duckdb_views() WHERE database_name = 'memory' AND schema_name = 'main' AND NOT internal");
  return new Set(rows.map(([name]) => (name as string).toLowerCase()));
}

export function gateOf(source: SqlSource): GateState {
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

export interface SqlSession {
  readonly query_id: string;
  /** As it was asked for. */
  readonly sql: string;
  readonly params: QueryParams | undefined;
  readonly source: SqlSource;
  readonly connection: DuckDBConnection;
  /** With its values. */
  readonly prepared: DuckDBPreparedStatement;
  readonly max_rows: number;
  readonly deadline: Deadline;
  /** What the connection is busy with, until it is done or time is up. */
  step<T>(work: Promise<T>): Promise<T>;
  /** Connection and place are given back. */
  release(): void;
  elapsed_ms(): number;
}

/** Errors: sql-syntax, sql-forbidden, sql-limit, sql-busy, sql-failed, sql-timeout, sql-cancelled, sql-memory. */
export async function openSession(source: SqlSource, request: UserSql): Promise<SqlSession> {
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
  let ended_ms: number | undefined;
  const release = (): void => {
    if (ended_ms !== undefined) return;
    ended_ms = performance.now() - started;
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
    bindTo(prepared, request.params);
    return {
      query_id: request.query_id ?? randomUUID(),
      sql: request.sql, params: request.params, source, connection, prepared, max_rows, deadline, step, release,
      elapsed_ms: () => ended_ms ?? performance.now() - started,
    };
  } catch (error) {
    release();
    throw sqlError(error);
  }
}
