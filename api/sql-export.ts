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

export function exportQueries(sql: SqlRunner): QueryRunner {
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
        await delay(PAUSE_MS);
      }
    }
  }
  return {
    columns: async (statement) => {
      const { parts } = await run({ sql: `DESCRIBE SELECT * FROM (${statement}\n)` }, 'json');
      let text = '';
      for await (const part of parts) text += Buffer.from(part).toString();
      return (JSON.parse(text) as { rows: [string, string][] }).rows.map(([name, type]) => [name, type]);
    },
    writeParquet: async (statement, path) => {
      const { parts, progress } = await run({ sql: statement }, 'parquet');
      await pipeline(Readable.from(lasting(parts), { objectMode: false }), createWriteStream(path));
      return BigInt(progress().row_count);
    },
  };
}
