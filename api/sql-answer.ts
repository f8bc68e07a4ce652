// A stranger's statement and its answer in one of the formats, wherever it runs: here, or in a process of its own.
import type { SqlSource } from '../ingest/sql-source.ts';
import { copySession } from '../queries/sql-copy.ts';
import { checkUserSql, streamSession } from '../queries/sql-gate.ts';
import type { UserSql, UserSqlStream } from '../queries/sql-gate.ts';
import { SQL_DEFAULTS, SQL_LIMITS } from '../queries/sql-limits.ts';
import type { SqlLimits } from '../queries/sql-limits.ts';
import { openSession } from '../queries/sql-session.ts';
import type { SqlSession } from '../queries/sql-session.ts';
import { SQL_FORMATS } from './formats/sql-formats.ts';
import type { SqlFormat, SqlFormatName, SqlPart } from './formats/sql-formats.ts';

export interface SqlProgress {
  readonly row_count: number;
  readonly truncated: boolean;
}

export interface SqlAnswer {
  readonly query_id: string;
  /** Bytes of the chosen format, to be read to their end or left by return. Each part may last only until the next is asked for. */
  readonly parts: AsyncGenerator<string | Uint8Array, void>;
  /** What was stored since then may not be in it, ms since 1970. Null: it is as new as it should be. */
  readonly missing_since_ms: number | null;
  /** Final after the last part. */
  progress(): SqlProgress;
}

/** Where statements of strangers run. */
export interface SqlRunner {
  readonly limits: SqlLimits;
  /**
   * Settles when the first rows are there, so that what fails early has a status of its own. Errors: those of streamUserSql, sql-died.
   * wait_ms: so long it waits for the newest rows when they cannot be had just now; the answer says whether it goes without.
   */
  run(statement: UserSql, format: SqlFormatName, wait_ms?: number): Promise<SqlAnswer>;
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

/** So many rows are soon written here; more are worth a second plan, of a COPY. */
const FEW_ROWS = SQL_DEFAULTS.max_rows;

interface Encoded {
  readonly text: AsyncGenerator<SqlPart, void>;
  progress(): SqlProgress;
}

async function encode(session: SqlSession, format: SqlFormat, signal: AbortSignal, text_pipe: string | undefined): Promise<Encoded> {
  const { copied } = format;
  const rows = copied === undefined || text_pipe === undefined || session.max_rows <= FEW_ROWS ? null : await copySession(session, copied.text, text_pipe);
  if (copied !== undefined && rows !== null) return { text: copied.encode(rows, session.query_id), progress: () => rows.progress() };
  const stream = await streamSession(session);
  return { text: format.encode(await withFirstChunk(stream), { source: session.source, signal, brief: text_pipe !== undefined }), progress: () => stream.progress() };
}

export type OpenAnswer = Omit<SqlAnswer, 'parts'> & { readonly parts: AsyncGenerator<SqlPart, void> };

/** text_pipe: through which DuckDB may write rows, of this process alone, and of one statement at a time. With it a part lasts only until the one after the next is asked for. */
export async function openAnswer(source: SqlSource, statement: UserSql, format: SqlFormatName, text_pipe?: string): Promise<OpenAnswer> {
  const session = await openSession(source, statement);
  try {
    const { text, progress } = await encode(session, SQL_FORMATS[format], statement.signal ?? new AbortController().signal, text_pipe);
    const head = await text.next();
    async function* parts(): AsyncGenerator<SqlPart, void> {
      try {
        if (head.done !== true) yield head.value;
        yield* text;
      } finally {
        await text.return();
        session.release();
      }
    }
    return { query_id: session.query_id, parts: parts(), missing_since_ms: null, progress };
  } catch (error) {
    session.release();
    throw error;
  }
}

/** The same in single pieces. */
export async function answerSql(source: SqlSource, statement: UserSql, format: SqlFormatName, text_pipe?: string): Promise<SqlAnswer> {
  const answer = await openAnswer(source, statement, format, text_pipe);
  async function* parts(): AsyncGenerator<string | Uint8Array, void> {
    for await (const part of answer.parts) {
      if (typeof part === 'string' || part instanceof Uint8Array) yield part;
      else yield* part;
    }
  }
  return { ...answer, parts: parts() };
}

/** In this process: for the owner of the data folder, who can do no more by it than before. */
export function runHere(source: SqlSource, limits: SqlLimits = SQL_LIMITS): SqlRunner {
  return { limits, run: (statement, format) => answerSql(source, { limits, ...statement }, format), check: (sql) => checkUserSql(source, sql), close: async () => undefined };
}
