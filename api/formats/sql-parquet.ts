// Answers of user SQL as a Parquet file. Its footer comes last and needs all rows, so they pass through a temporary
// table of ours: the statement itself is never part of a COPY, which would reach files.
import { randomUUID } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBTypeId } from '@duckdb/node-api';
import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlName, sqlText } from '../../ingest/duckdb-instance.ts';
import type { UserSqlStream } from '../../queries/sql-gate.ts';
import { sqlError } from '../../queries/sql-statement.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { EncodeOptions } from './sql-formats.ts';

async function collect(connection: DuckDBConnection, stream: UserSqlStream): Promise<void> {
  const columns = stream.columns.map(({ name, type }, at) => `${sqlName(name)} ${stream.column_types[at]?.typeId === DuckDBTypeId.SQLNULL ? 'INTEGER' : type}`);
  await connection.run(`CREATE TEMP TABLE answer (${columns.join(', ')})`);
  const appender = await connection.createAppender('answer', 'main', 'temp');
  try {
    for await (const { chunk, row_count } of stream.chunks) {
      if (chunk.rowCount > row_count) chunk.rowCount = row_count;
      appender.appendDataChunk(chunk);
    }
    appender.flushSync();
    appender.closeSync();
  } catch (error) {
    try {
      appender.clear(); // what is not written yet would fail again
      appender.closeSync();
    } catch {
      // The first error says why.
    }
    throw sqlError(error);
  }
}

/** DuckDB would write 128-bit integers as doubles. */
function parquetColumn(name: string, type_id: DuckDBTypeId | undefined): string {
  const column = sqlName(name);
  return type_id === DuckDBTypeId.HUGEINT || type_id === DuckDBTypeId.UHUGEINT ? `CAST(${column} AS DECIMAL(38, 0)) AS ${column}` : column;
}

/** Error: sql-type, for a value that Parquet has no place for. */
export async function* sqlParquet(stream: UserSqlStream, { source, signal }: Pick<EncodeOptions, 'source' | 'signal'>): AsyncGenerator<Uint8Array> {
  const folder = join(source.folder, 'tmp');
  const path = join(folder, `sql-${randomUUID()}.parquet`);
  const connection = await source.connect();
  const stop = (): void => connection.interrupt();
  signal.addEventListener('abort', stop);
  try {
    await collect(connection, stream);
    signal.throwIfAborted();
    await mkdir(folder, { recursive: true });
    const columns = stream.columns.map(({ name }, at) => parquetColumn(name, stream.column_types[at]?.typeId));
    try {
      await connection.run(`COPY (SELECT ${columns.join(', ')} FROM temp.answer) TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd)`);
    } catch (error) {
      if (/^(Conversion|Not implemented|Invalid Input|Binder) Error/i.test((error as Error).message)) {
        throw new TracehouseError('sql-type', `not to be written as Parquet: ${(error as Error).message}`, { mend: 'cast the column, or ask for arrow', cause: error });
      }
      throw error;
    }
    const file = await open(path, 'r');
    // Once open it needs no name: whatever happens now, nothing is left behind.
    await rm(path, { force: true });
    yield* file.createReadStream({ highWaterMark: 256 * 1024 }) as AsyncIterable<Uint8Array>;
  } finally {
    signal.removeEventListener('abort', stop);
    connection.closeSync();
    await rm(path, { force: true });
  }
}
