// Ad-hoc SQL from outside: read-only, over the public views, within limits of time and rows.
import type { DuckDBConnection, DuckDBDataChunk, DuckDBResult, DuckDBType } from '@duckdb/node-api';
import { resultColumns } from '../ingest/duckdb-query.ts';
import type { SqlSource } from '../ingest/sql-source.ts';
import { TracehouseError } from '../schema/errors.ts';
import { requireAllowed } from './sql-allowed.ts';
import { gateOf, openSession } from './sql-session.ts';
import type { SqlSession, UserSql } from './sql-session.ts';
import { parameterNames, prepareOne, sqlError } from './sql-statement.ts';

export type { UserSql } from './sql-session.ts';
export { publicViews } from './sql-session.ts';

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

/** Errors: those of openSession; from the chunks too. */
export async function streamUserSql(source: SqlSource, request: UserSql): Promise<UserSqlStream> {
  return streamSession(await openSession(source, request));
}

/** The rows of a statement, chunk by chunk. */
export async function streamSession(session: SqlSession): Promise<UserSqlStream> {
  const { query_id, prepared, step, release } = session;
  try {
    const result = await step(prepared.stream());
    let row_count = 0;
    let truncated = false;
    const chunks = readChunks(result, session, (rows, more) => {
      row_count += rows;
      truncated ||= more;
    });
    return { query_id, columns: resultColumns(result), column_types: result.columnTypes(), chunks, close: release, progress: () => ({ row_count, truncated, elapsed_ms: session.elapsed_ms() }) };
  } catch (error) {
    release();
    throw sqlError(error);
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

/** While one chunk is looked at the next is on its way. */
async function* readChunks(result: DuckDBResult, { connection, step, deadline, max_rows, release }: SqlSession, count: (rows: number, more: boolean) => void): AsyncGenerator<{ chunk: DuckDBDataChunk; row_count: number }, void> {
  let left = max_rows;
  const was_streaming = result.isStreaming;
  const fetch = (): Promise<DuckDBDataChunk | null> => {
    const coming = step(result.fetchChunk());
    coming.catch(() => undefined); // it is told when it is looked at
    return coming;
  };
  try {
    for (let coming = fetch(); ; ) {
      const chunk = await coming;
      deadline.check();
      if (chunk === null || chunk.rowCount === 0) {
        // The client gives no error for a statement that fails on its way: its result only stops being a stream.
        if (was_streaming && !result.isStreaming) throw new TracehouseError('sql-failed', `the statement failed after ${max_rows - left} rows`, { mend: 'run it with a LIMIT beyond these rows, or aggregated, to see why' });
        return;
      }
      const row_count = Math.min(left, chunk.rowCount);
      const more = chunk.rowCount > left;
      if (!more) coming = fetch();
      left -= row_count;
      count(row_count, more);
      if (row_count > 0) yield { chunk, row_count };
      if (more) return;
    }
  } catch (error) {
    throw sqlError(error);
  } finally {
    connection.interrupt();
    release();
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
