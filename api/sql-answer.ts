// A stranger's statement and its answer in one of the formats, wherever it runs: here, or in a process of its own.
import type { SqlSource } from '../ingest/sql-source.ts';
import { checkUserSql, streamUserSql } from '../queries/sql-gate.ts';
import type { UserSql, UserSqlStream } from '../queries/sql-gate.ts';
import { SQL_LIMITS } from '../queries/sql-limits.ts';
import type { SqlLimits } from '../queries/sql-limits.ts';
import { SQL_FORMATS } from './formats/sql-formats.ts';
import type { SqlFormatName } from './formats/sql-formats.ts';

export interface SqlProgress {
  readonly row_count: number;
  readonly truncated: boolean;
}

export interface SqlAnswer {
  readonly query_id: string;
  /** Bytes of the chosen format, to be read to their end or left by return. */
  readonly parts: AsyncGenerator<string | Uint8Array, void>;
  /** Final after the last part. */
  progress(): SqlProgress;
}

/** Where statements of strangers run. */
export interface SqlRunner {
  readonly limits: SqlLimits;
  /** Settles when the first rows are there, so that what fails early has a status of its own. Errors: those of streamUserSql, sql-died. */
  run(statement: UserSql, format: SqlFormatName): Promise<SqlAnswer>;
  /** The names of its parameters, if it may be run at all. Errors: those of checkUserSql. */
  check(sql: string): Promise<string[]>;
  close(): Promise<void>;
}

async function withFirstChunk(stream: UserSqlStream): Promise<UserSqlStream> {
  const first = await stream.chunks.next();
  async function* chunks(): UserSqlStream['chunks'] {
    try {
      if (first.done === true) return;
      yield first.value;
      yield* stream.chunks;
    } finally {
      await stream.chunks.return();
    }
  }
  return { ...stream, chunks: chunks() };
}

export async function answerSql(source: SqlSource, statement: UserSql, format: SqlFormatName): Promise<SqlAnswer> {
  const signal = statement.signal ?? new AbortController().signal;
  const stream = await streamUserSql(source, statement);
  try {
    const encoded = SQL_FORMATS[format].encode(await withFirstChunk(stream), source, signal) as AsyncGenerator<string | Uint8Array, void>;
    const head = await encoded.next();
    async function* parts(): AsyncGenerator<string | Uint8Array, void> {
      try {
        if (head.done !== true) yield head.value;
        yield* encoded;
      } finally {
        await encoded.return();
        stream.close();
      }
    }
    return { query_id: stream.query_id, parts: parts(), progress: () => stream.progress() };
  } catch (error) {
    stream.close();
    throw error;
  }
}

/** In this process: for the owner of the data folder, who can do no more by it than before. */
export function runHere(source: SqlSource, limits: SqlLimits = SQL_LIMITS): SqlRunner {
  return { limits, run: (statement, format) => answerSql(source, { limits, ...statement }, format), check: (sql) => checkUserSql(source, sql), close: async () => undefined };
}
