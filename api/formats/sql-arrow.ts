// Answers of user SQL as an Arrow IPC stream, made and sent a record batch at a time.
import { AsyncByteQueue, Field, RecordBatch, RecordBatchStreamWriter, Schema, Struct, makeData } from 'apache-arrow';
import type { UserSqlStream } from '../../queries/sql-gate.ts';
import { arrowColumn } from './arrow-columns.ts';

/** Chunks of DuckDB's (2,048 rows at most) in one record batch. */
const CHUNKS_A_BATCH = 16;

/** The writer's own queue grows without limit; this one is emptied after every batch. */
class Pieces extends AsyncByteQueue {
  #pieces: Uint8Array[] = [];

  override write(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
  }

  take(): Uint8Array[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    return pieces;
  }
}

/** brief: each part is the pieces of a batch, which last only until the part after the next is asked for: that saves their copy. */
export async function* sqlArrow(stream: UserSqlStream, { brief = false } = {}): AsyncGenerator<Uint8Array | readonly Uint8Array[]> {
  const told = (pieces: Uint8Array[]): Uint8Array | readonly Uint8Array[] => (brief ? pieces.filter(({ byteLength }) => byteLength > 0) : Buffer.concat(pieces));
  const columns = stream.column_types.map(arrowColumn);
  const schema = new Schema(columns.map(({ type }, at) => new Field(stream.columns[at]?.name ?? '', type, true)));
  const pieces = new Pieces();
  const writer = new RecordBatchStreamWriter();
  writer.reset(pieces, schema);
  yield told(pieces.take());
  let rows = 0;
  let chunks = 0;
  const write = (): Uint8Array | readonly Uint8Array[] => {
    writer.write(new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children: columns.map((column) => column.take()) })));
    rows = 0;
    chunks = 0;
    return told(pieces.take());
  };
  for await (const { chunk, row_count } of stream.chunks) {
    columns.forEach((column, at) => column.append(chunk, at, row_count));
    rows += row_count;
    chunks += 1;
    if (chunks === CHUNKS_A_BATCH) yield write();
  }
  if (chunks > 0) yield write();
  writer.finish();
  yield told(pieces.take());
}
