// Arrow's metadata are flatbuffers, and readers of flatbuffers believe what they read: one altered length made apache-arrow
// allocate until the process died. So every vector, node and buffer is held against the bytes that are there first.

const MOST_FIELDS = 10_000;
const MOST_DEPTH = 32;
const NODE_BYTES = 16;

// Message.fbs and Schema.fbs: indices of the fields used.
const MESSAGE = { header_type: 1, header: 2, body_length: 3, custom_metadata: 4 } as const;
const HEADER_TYPES = { schema: 1, dictionary_batch: 2, record_batch: 3 } as const;
const SCHEMA = { fields: 1, custom_metadata: 2, features: 3 } as const;
const FIELD = { children: 5, custom_metadata: 6 } as const;
const RECORD_BATCH = { length: 0, nodes: 1, buffers: 2, compression: 3, variadic_counts: 4 } as const;
const DICTIONARY_BATCH = { data: 1 } as const;

class Metadata {
  readonly #view: DataView;
  #fields = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** DataView itself refuses what lies outside. */
  root(): number {
    return this.#view.getUint32(0, true);
  }

  /** Position of a table's field; 0 = it has its default. */
  field(table: number, index: number): number {
    const vtable = table - this.#view.getInt32(table, true);
    const size = this.#view.getUint16(vtable, true);
    const at = 4 + index * 2;
    if (at + 2 > size) return 0;
    const offset = this.#view.getUint16(vtable + at, true);
    return offset === 0 ? 0 : table + offset;
  }

  table(at: number): number {
    return at + this.#view.getUint32(at, true);
  }

  u8(at: number): number {
    return at === 0 ? 0 : this.#view.getUint8(at);
  }

  i64(at: number): number {
    return at === 0 ? 0 : Number(this.#view.getBigInt64(at, true));
  }

  vector(at: number, element_bytes: number): { first: number; length: number } {
    if (at === 0) return { first: 0, length: 0 };
    const vector = this.table(at);
    const length = this.#view.getUint32(vector, true);
    if (length * element_bytes > this.#view.byteLength - vector - 4) throw new Error('metadata that point outside themselves');
    return { first: vector + 4, length };
  }

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
  const metadata = new Metadata(bytes);
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
