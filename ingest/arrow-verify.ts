// Arrow's metadata are flatbuffers, and readers of flatbuffers believe what they read: one altered length made apache-arrow
// allocate until the process died. So every vector, node and buffer is held against the bytes that are there first.
import { DICTIONARY_BATCH, FIELD, HEADER_TYPES, MESSAGE, Metadata, NODE_BYTES, RECORD_BATCH, SCHEMA } from './arrow-metadata.ts';

const MOST_FIELDS = 10_000;
const MOST_DEPTH = 32;

class CheckedMetadata extends Metadata {
  #fields = 0;

  fields(at: number, depth: number): void {
    const { first, length } = this.vector(at, 4);
    this.#fields += length;
    if (depth > MOST_DEPTH || this.#fields > MOST_FIELDS) throw new Error('a schema without end');
    for (let i = 0; i < length; i += 1) {
      const field = this.table(first + i * 4);
      this.vector(this.field(field, FIELD.custom_metadata), 4);
      this.fields(this.field(field, FIELD.children), depth + 1);
    }
  }

  recordBatch(table: number, body_bytes: number): void {
    if (this.field(table, RECORD_BATCH.compression) !== 0) throw new Error('compressed buffers, which this program does not write');
    // One bit a value is the least that anything takes.
    const most = body_bytes * 8 + 1;
    const rows = this.i64(this.field(table, RECORD_BATCH.length));
    if (rows < 0 || rows > most) throw new Error(`${rows} rows in ${body_bytes} bytes`);
    this.vector(this.field(table, RECORD_BATCH.variadic_counts), 8);
    const nodes = this.vector(this.field(table, RECORD_BATCH.nodes), NODE_BYTES);
    for (let i = 0; i < nodes.length; i += 1) {
      const length = this.i64(nodes.first + i * NODE_BYTES);
      const nulls = this.i64(nodes.first + i * NODE_BYTES + 8);
      if (length < 0 || length > most || nulls < 0 || nulls > length) throw new Error(`a column of ${length} values in ${body_bytes} bytes`);
    }
    const buffers = this.vector(this.field(table, RECORD_BATCH.buffers), NODE_BYTES);
    for (let i = 0; i < buffers.length; i += 1) {
      const offset = this.i64(buffers.first + i * NODE_BYTES);
      const length = this.i64(buffers.first + i * NODE_BYTES + 8);
      if (offset < 0 || length < 0 || offset + length > body_bytes || offset % 8 !== 0) throw new Error(`a buffer at ${offset} of ${length} bytes in ${body_bytes}`);
    }
  }
}

/** Returns the length of the message's body. Throws when the metadata do not hold together. */
export function verifyMessage(bytes: Uint8Array): number {
  const metadata = new CheckedMetadata(bytes);
  const message = metadata.root();
  const body_bytes = metadata.i64(metadata.field(message, MESSAGE.body_length));
  if (!Number.isSafeInteger(body_bytes) || body_bytes < 0) throw new Error(`a body of ${body_bytes} bytes`);
  metadata.vector(metadata.field(message, MESSAGE.custom_metadata), 4);
  const type = metadata.u8(metadata.field(message, MESSAGE.header_type));
  const at = metadata.field(message, MESSAGE.header);
  if (at === 0) throw new Error('a message without a header');
  const header = metadata.table(at);
  if (type === HEADER_TYPES.schema) {
    metadata.vector(metadata.field(header, SCHEMA.custom_metadata), 4);
    metadata.vector(metadata.field(header, SCHEMA.features), 8);
    metadata.fields(metadata.field(header, SCHEMA.fields), 0);
  } else if (type === HEADER_TYPES.record_batch) {
    metadata.recordBatch(header, body_bytes);
  } else if (type === HEADER_TYPES.dictionary_batch) {
    const data = metadata.field(header, DICTIONARY_BATCH.data);
    if (data === 0) throw new Error('a dictionary without values');
    metadata.recordBatch(metadata.table(data), body_bytes);
  } else {
    throw new Error(`a message of type ${type}`);
  }
  return body_bytes;
}
