// A column of an answer as Arrow, gathered from DuckDB's chunks. Numbers, times and texts are copied as they lie in memory: a value of JavaScript each
// would take twenty times as long. What lies there is DuckDB's business, so its version is pinned and each type tested by value.
import duckdb from '@duckdb/node-bindings';
import { DuckDBTypeId } from '@duckdb/node-api';
import type { DuckDBDataChunk, DuckDBType, DuckDBValue } from '@duckdb/node-api';
import { makeData } from 'apache-arrow';
import type { Data, DataType, Int64, Utf8 } from 'apache-arrow';
import { columnMaker } from './arrow-data.ts';

export interface ArrowColumn {
  readonly type: DataType;
  append(chunk: DuckDBDataChunk, column: number, row_count: number): void;
  /** All rows since the last time. */
  take(): Data;
}

/** Bytes of a value, where DuckDB and Arrow lay it out alike. */
const WIDTHS: Partial<Record<DuckDBTypeId, number>> = {
  [DuckDBTypeId.TINYINT]: 1, [DuckDBTypeId.SMALLINT]: 2, [DuckDBTypeId.INTEGER]: 4, [DuckDBTypeId.BIGINT]: 8, [DuckDBTypeId.UTINYINT]: 1, [DuckDBTypeId.USMALLINT]: 2, [DuckDBTypeId.UINTEGER]: 4, [DuckDBTypeId.UBIGINT]: 8,
  [DuckDBTypeId.FLOAT]: 4, [DuckDBTypeId.DOUBLE]: 8, [DuckDBTypeId.DATE]: 4, [DuckDBTypeId.TIME]: 8,
  [DuckDBTypeId.TIMESTAMP]: 8, [DuckDBTypeId.TIMESTAMP_TZ]: 8, [DuckDBTypeId.TIMESTAMP_S]: 8, [DuckDBTypeId.TIMESTAMP_MS]: 8, [DuckDBTypeId.TIMESTAMP_NS]: 8,
};
/** string_t: a length of four bytes, then up to twelve bytes of text, or four of them and a pointer to all. */
const STRING_BYTES = 16;
const MOST_INLINE = 12;
const INLINE_AT = 4;
const POINTER_AT = 8;

const vectorOf = (chunk: DuckDBDataChunk, column: number): duckdb.Vector => duckdb.data_chunk_get_vector((chunk as unknown as { chunk: duckdb.DataChunk }).chunk, column);

/** One bit a row, as DuckDB and Arrow both have it. */
class Validity {
  #parts: { readonly bits: Uint8Array | null; readonly rows: number }[] = [];
  #rows = 0;

  get rows(): number {
    return this.#rows;
  }

  append(vector: duckdb.Vector, rows: number): Uint8Array | null {
    const bits = duckdb.vector_get_validity(vector, Math.ceil(rows / 64) * 8) as Uint8Array | null;
    this.#parts.push({ bits, rows });
    this.#rows += rows;
    return bits;
  }

  take(): { length: number; nullCount: number; nullBitmap?: Uint8Array } {
    const [parts, length] = [this.#parts, this.#rows];
    this.#parts = [];
    this.#rows = 0;
    if (parts.every(({ bits }) => bits === null)) return { length, nullCount: 0 };
    const nullBitmap = new Uint8Array((length + 7) >> 3);
    let at = 0;
    let valid = 0;
    for (const { bits, rows } of parts) {
      for (let row = 0; row < rows; row++, at++) {
        if (bits !== null && !isValid(bits, row)) continue;
        nullBitmap[at >> 3] = (nullBitmap[at >> 3] as number) | (1 << (at & 7));
        valid += 1;
      }
    }
    return { length, nullCount: length - valid, nullBitmap };
  }
}

const isValid = (bits: Uint8Array, row: number): boolean => (((bits[row >> 3] as number) >> (row & 7)) & 1) === 1;

class FixedColumn implements ArrowColumn {
  readonly type: DataType;
  readonly #width: number;
  readonly #validity = new Validity();
  #parts: Uint8Array[] = [];

  constructor(type: DataType, width: number) {
    this.type = type;
    this.#width = width;
  }

  append(chunk: DuckDBDataChunk, column: number, row_count: number): void {
    const vector = vectorOf(chunk, column);
    const width = this.#width;
    const bytes = duckdb.vector_get_data(vector, row_count * width) as Uint8Array;
    const bits = this.#validity.append(vector, row_count);
    // Under a null lies whatever lay there before.
    if (bits !== null) for (let row = 0; row < row_count; row++) if (!isValid(bits, row)) bytes.fill(0, row * width, (row + 1) * width);
    this.#parts.push(bytes);
  }

  take(): Data {
    const data = new Uint8Array(this.#validity.rows * this.#width);
    let at = 0;
    for (const part of this.#parts) {
      data.set(part, at);
      at += part.byteLength;
    }
    this.#parts = [];
    const { ArrayType } = this.type as Int64;
    return makeData({ type: this.type as Int64, data: new ArrayType(data.buffer) as BigInt64Array, ...this.#validity.take() });
  }
}

const FIRST_BYTES = 64 * 1024;

class TextColumn implements ArrowColumn {
  readonly type: DataType;
  readonly #validity = new Validity();
  #bytes = new Uint8Array(FIRST_BYTES);
  #at = 0;
  #ends: number[] = [0];

  constructor(type: DataType) {
    this.type = type;
  }

  #makeRoom(more: number): void {
    if (this.#at + more <= this.#bytes.byteLength) return;
    const bytes = new Uint8Array(Math.max(this.#bytes.byteLength * 2, this.#at + more));
    bytes.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = bytes;
  }

  append(chunk: DuckDBDataChunk, column: number, row_count: number): void {
    const vector = vectorOf(chunk, column);
    const entries = duckdb.vector_get_data(vector, row_count * STRING_BYTES) as Uint8Array;
    const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
    const bits = this.#validity.append(vector, row_count);
    for (let row = 0; row < row_count; row++) {
      if (bits === null || isValid(bits, row)) {
        const entry = row * STRING_BYTES;
        const length = view.getUint32(entry, true);
        this.#makeRoom(length);
        if (length <= MOST_INLINE) for (let byte = 0; byte < length; byte++) this.#bytes[this.#at + byte] = entries[entry + INLINE_AT + byte] as number;
        else this.#bytes.set(duckdb.get_data_from_pointer(entries.buffer as ArrayBuffer, entries.byteOffset + entry + POINTER_AT, length) as Uint8Array, this.#at);
        this.#at += length;
      }
      this.#ends.push(this.#at);
    }
  }

  take(): Data {
    const data = this.#bytes.slice(0, this.#at);
    const valueOffsets = Int32Array.from(this.#ends);
    this.#at = 0;
    this.#ends = [0];
    return makeData({ type: this.type as Utf8, valueOffsets, data, ...this.#validity.take() });
  }
}

/** Everything else goes through values. */
class ValueColumn implements ArrowColumn {
  readonly type: DataType;
  readonly #data: (values: readonly (DuckDBValue | undefined)[]) => Data;
  #values: DuckDBValue[][] = [];

  constructor({ type, data }: { readonly type: DataType; data(values: readonly (DuckDBValue | undefined)[]): Data }) {
    this.type = type;
    this.#data = data;
  }

  append(chunk: DuckDBDataChunk, column: number, row_count: number): void {
    this.#values.push(chunk.getColumnValues(column).slice(0, row_count));
  }

  take(): Data {
    const values = this.#values.flat();
    this.#values = [];
    return this.#data(values);
  }
}

export function arrowColumn(type: DuckDBType): ArrowColumn {
  const maker = columnMaker(type);
  const width = WIDTHS[type.typeId];
  if (width !== undefined) return new FixedColumn(maker.type, width);
  if (type.typeId === DuckDBTypeId.VARCHAR || type.typeId === DuckDBTypeId.BLOB) return new TextColumn(maker.type);
  return new ValueColumn(maker);
}
