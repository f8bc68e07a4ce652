// The queries of exports, where other statements of strangers run.
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { QueryRunner } from '../queries/export/query-runner.ts';
import type { UserSql } from '../queries/sql-gate.ts';
import { TracehouseError } from '../schema/errors.ts';
import type { SqlFormatName } from './formats/sql-formats.ts';
import { lasting } from './part-stream.ts';
import type { SqlAnswer, SqlRunner } from './sql-answer.ts';

/** Nobody waits at the other end of a connection. */
const LIMITS = { timeout_ms: 3_600_000, max_rows: 1_000_000_000 } as const;
const AGAIN = new Set(['sql-busy', 'sql-incomplete']);
const TRIES = 60;
const PAUSE_MS = 1000;

export function exportQueries(sql: SqlRunner): Required<QueryRunner> {
  const closing = new AbortController();
  const closed = (): TracehouseError => new TracehouseError('not-ready', 'the server is shutting down', { mend: 'the next run of the export does it again' });

  /** A file has no place to say what is missing in it. */
  async function runWhole(statement: UserSql, format: SqlFormatName): Promise<SqlAnswer> {
    const answer = await sql.run({ ...LIMITS, ...statement, limits: { ...sql.limits, ...LIMITS } }, format, Infinity);
    if (answer.missing_since_ms === null) return answer;
    await answer.parts.return();
    throw new TracehouseError('sql-incomplete', 'the newest rows cannot be read now', { mend: 'the log says why; run it again later' });
  }

  /** Those who wait for their answer come first. */
  async function run(statement: UserSql, format: SqlFormatName): Promise<SqlAnswer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await runWhole(statement, format);
      } catch (error) {
        if (!(error instanceof TracehouseError && AGAIN.has(error.code)) || attempt === TRIES) throw error;
        await delay(PAUSE_MS, undefined, { signal: closing.signal });
      }
    }
  }

  /** What use has begun and not read to its end is stopped. */
  async function using<T>(statement: string, format: SqlFormatName, use: (answer: SqlAnswer) => Promise<T>): Promise<T> {
    const stop = new AbortController();
    try {
      return await use(await run({ sql: statement, signal: AbortSignal.any([stop.signal, closing.signal]) }, format));
    } catch (error) {
      throw closing.signal.aborted ? closed() : error;
    } finally {
      stop.abort();
    }
  }
  return {
    columns: (statement) =>
      using(`DESCRIBE SELECT * FROM (${statement}\n)`, 'json', async ({ parts }) => {
        let text = '';
        for await (const part of parts) text += Buffer.from(part).toString();
        return (JSON.parse(text) as { rows: [string, string][] }).rows.map(([name, type]) => [name, type]);
      }),
    writeParquet: (statement, path) =>
      using(statement, 'parquet', async ({ parts, progress }) => {
        await pipeline(Readable.from(lasting(parts), { objectMode: false }), createWriteStream(path));
        return BigInt(progress().row_count);
      }),
    close: () => closing.abort(),
  };
}
