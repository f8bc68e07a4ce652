// Answers of user SQL as an Arrow IPC stream, made and sent a record batch at a time.
import { AsyncByteQueue, Field, RecordBatch, RecordBatchStreamWriter, Schema, Struct, makeData } from 'apache-arrow';
import type { DuckDBValue } from '@duckdb/node-api';
import type { UserSqlStream } from '../../queries/sql-gate.ts';
import { columnMaker } from './arrow-data.ts';

/** Chunks of DuckDB's (2,048 rows at most) in one record batch. */
const CHUNKS_A_BATCH = 16;

/** The writer's own queue grows without limit; this one is emptied after every batch. */
class Pieces extends AsyncByteQueue {
  #pieces: Uint8Array[] = [];

  override write(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
  }

  take(): Uint8Array {
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    return bytes;
  }
}

export async function* sqlArrow(stream: UserSqlStream): AsyncGenerator<Uint8Array> {
  const makers = stream.column_types.map(columnMaker);
  const schema = new Schema(makers.map(({ type }, at) => new Field(stream.columns[at]?.name ?? '', type, true)));
  const pieces = new Pieces();
  const writer = new RecordBatchStreamWriter();
  writer.reset(pieces, schema);
  yield pieces.take();
  let columns: DuckDBValue[][][] = makers.map(() => []);
  let rows = 0;
  let chunks = 0;
  const write = (): Uint8Array => {
    const children = makers.map((maker, at) => maker.data((columns[at] as DuckDBValue[][]).flat()));
    writer.write(new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children })));
    columns = makers.map(() => []);
    rows = 0;
    chunks = 0;
    return pieces.take();
  };
  for await (const { chunk, row_count } of stream.chunks) {
    columns.forEach((column, at) => column.push(chunk.getColumnValues(at).slice(0, row_count)));
    rows += row_count;
    chunks += 1;
    if (chunks === CHUNKS_A_BATCH) yield write();
  }
  if (chunks > 0) yield write();
  writer.finish();
  yield pieces.take();
}
