// A stranger's statement whose rows DuckDB itself writes as text, into a pipe that is read here: no row passes through JavaScript.
// The statement is what the gate let through, a SELECT; the COPY around it is ours, names our pipe, and has passed the gate without it.
import { StatementType } from '@duckdb/node-api';
import type { DuckDBPreparedStatement, DuckDBType } from '@duckdb/node-api';
import { sqlText } from '../ingest/duckdb-instance.ts';
import { TracehouseError } from '../schema/errors.ts';
import { PipeReader, emptyPipe } from './pipe-reader.ts';
import { RowCutter } from './row-cutter.ts';
import { requireAllowed } from './sql-allowed.ts';
import type { SqlColumn } from './sql-gate.ts';
import { gateOf } from './sql-session.ts';
import type { SqlSession } from './sql-session.ts';
import { bindTo, sqlError } from './sql-statement.ts';
import { UnaskedRun } from '../ingest/unasked-run.ts';

export interface CopiedText {
  /** What is written of each row, one expression of `names` a field; null: not of these types. */
  fields(names: readonly string[], types: readonly DuckDBType[], columns: readonly string[]): readonly string[] | null;
  /** Of COPY; each row must end in a line break. */
  readonly options: string;
  /** A line break within quotes belongs to the row. */
  readonly has_quotes: boolean;
}

export interface CopiedRows {
  readonly columns: readonly SqlColumn[];
  /** The text of the rows, max_rows at most; to be read to its end or left by return. Each piece lasts until the one after the next is asked for. */
  readonly pieces: AsyncGenerator<Buffer, void>;
  progress(): { row_count: number; truncated: boolean; elapsed_ms: number };
}

interface Column extends SqlColumn {
  readonly duckdb_type: DuckDBType;
}

/** Names as DuckDB's client tells them apart; null where only running it tells what it answers. */
function columnsOf(prepared: DuckDBPreparedStatement): Column[] | null {
  if (prepared.statementType !== StatementType.SELECT) return null;
  const times = new Map<string, number>();
  try {
    return Array.from({ length: prepared.columnCount }, (_, at) => {
      const name = prepared.columnName(at);
      const before = times.get(name) ?? 0;
      times.set(name, before + 1);
      const duckdb_type = prepared.columnType(at);
      return { name: before === 0 ? name : `${name}:${before}`, type: String(duckdb_type), duckdb_type };
    });
  } catch {
    return null; // a parameter's type that nothing in the statement says
  }
}

/** The COPY, with its values; null where this statement cannot be part of another. */
async function prepareCopy({ source, connection, sql, params, step }: SqlSession, columns: readonly Column[], text: CopiedText, pipe: string): Promise<DuckDBPreparedStatement | null> {
  const names = columns.map((_, at) => `c${at}`);
  const fields = text.fields(names, columns.map(({ duckdb_type }) => duckdb_type), columns.map(({ name }) => name));
  if (fields === null) return null;
  const select = `SELECT ${fields.join(', ')} FROM (\n${sql.replace(/[\s;]+$/, '')}\n) AS answer(${names.join(', ')})`;
  try {
    // What it is inside brackets must again be one SELECT over public relations: nothing in it may close them.
    await step(requireAllowed(source, await gateOf(source).views, select));
    const statements = await step(connection.extractStatements(`COPY (${select}) TO ${sqlText(pipe)} (${text.options})`));
    if (statements.count !== 1) return null;
    const prepared = await step(statements.prepare(0));
    if (prepared.statementType !== StatementType.COPY) return null;
    bindTo(prepared, params);
    return prepared;
  } catch (error) {
    if (error instanceof TracehouseError && /^sql-(timeout|cancelled)$/.test(error.code)) throw error;
    return null;
  }
}

/** Null: its rows have to be read as they are. Settles when the first ones are written, or it is over. Errors: those of streamSession. */
export async function copySession(session: SqlSession, text: CopiedText, pipe: string): Promise<CopiedRows | null> {
  const columns = columnsOf(session.prepared);
  const prepared = columns === null ? null : await prepareCopy(session, columns, text, pipe);
  if (columns === null || prepared === null) return null;
  const cutter = new RowCutter(session.max_rows, text);
  const pieces = readPipe(session, prepared, cutter, pipe);
  const first = await pieces.next();
  async function* all(): AsyncGenerator<Buffer, void> {
    try {
      if (first.done !== true) yield first.value;
      yield* pieces;
    } finally {
      await pieces.return();
    }
  }
  return {
    columns: columns.map(({ name, type }) => ({ name, type })),
    pieces: all(),
    progress: () => ({ row_count: cutter.rows, truncated: cutter.more, elapsed_ms: session.elapsed_ms() }),
  };
}

async function* readPipe({ connection, deadline, step, release }: SqlSession, prepared: DuckDBPreparedStatement, cutter: RowCutter, pipe: string): AsyncGenerator<Buffer, void> {
  emptyPipe(pipe);
  // Open before DuckDB opens its end.
  const reader = new PipeReader(pipe);
  const run = new UnaskedRun(prepared);
  const copying = step(run.result);
  copying.catch((error: Error) => reader.drain(error));
  try {
    for (let bytes = await run.waitFor(reader.next()); bytes !== undefined; bytes = await run.waitFor(reader.next())) {
      deadline.check();
      const length = cutter.take(bytes);
      if (length > 0) yield bytes.subarray(0, length);
      if (cutter.more) return;
    }
    run.ask();
    const [[written] = []] = await (await copying).getRows();
    if (written !== BigInt(cutter.rows)) throw new Error(`DuckDB wrote ${String(written)} rows, ${cutter.rows} were read`);
  } catch (error) {
    throw sqlError(error);
  } finally {
    // One that waits for a full pipe hears no interrupt. The pipe is the next one's only when it has stopped.
    connection.interrupt();
    reader.drain();
    run.ask();
    await run.result.catch(() => undefined);
    reader.destroy();
    release();
  }
}
