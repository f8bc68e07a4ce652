// Arrow's metadata, read in place: where the fields of its flatbuffers lie.

// Message.fbs and Schema.fbs: indices of the fields used.
export const MESSAGE = { header_type: 1, header: 2, body_length: 3, custom_metadata: 4 } as const;
export const HEADER_TYPES = { schema: 1, dictionary_batch: 2, record_batch: 3 } as const;
export const SCHEMA = { fields: 1, custom_metadata: 2, features: 3 } as const;
export const FIELD = { children: 5, custom_metadata: 6 } as const;
export const RECORD_BATCH = { length: 0, nodes: 1, buffers: 2, compression: 3, variadic_counts: 4 } as const;
export const DICTIONARY_BATCH = { id: 0, data: 1 } as const;
/** Of a node, and of a buffer: two 64-bit numbers. */
export const NODE_BYTES = 16;

export class Metadata {
  readonly #view: DataView;

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
}
