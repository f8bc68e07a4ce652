// A column of texts or blobs as Arrow, copied as they lie in DuckDB's memory.
import duckdb from '@duckdb/node-bindings';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import { makeData } from 'apache-arrow';
import type { Data, DataType, Utf8 } from 'apache-arrow';
import type { ArrowColumn } from './arrow-columns.ts';
import { Room } from './arrow-room.ts';
import { Validity, isValid, vectorOf } from './arrow-validity.ts';

/** string_t: a length of four bytes, then up to twelve bytes of text, or four of them and a pointer to all. */
const STRING_BYTES = 16;
const WORDS = STRING_BYTES / 4;
/** Words of the pointer. */
const [LOW, HIGH] = [2, 3];
const MOST_INLINE = 12;
const INLINE_AT = 4;
const POINTER_AT = 8;

const END_BYTES = Int32Array.BYTES_PER_ELEMENT;

export class TextColumn implements ArrowColumn {
  readonly type: DataType;
  readonly #validity = new Validity();
  readonly #texts = new Room();
  readonly #ends = new Room();

  constructor(type: DataType) {
    this.type = type;
    this.#ends.add(new Uint8Array(END_BYTES));
  }

  /** Texts of a chunk mostly lie one behind the other, as DuckDB has copied them: such a stretch is taken at once. */
  append(chunk: DuckDBDataChunk, column: number, row_count: number): void {
    const vector = vectorOf(chunk, column);
    const entries = duckdb.vector_get_data(vector, row_count * STRING_BYTES) as Uint8Array;
    const words = new Uint32Array(entries.buffer, entries.byteOffset, row_count * WORDS);
    const bits = this.#validity.append(vector, row_count);
    let total = 0;
    for (let row = 0; row < row_count; row++) {
      if (bits !== null && !isValid(bits, row)) words[row * WORDS] = 0;
      total += words[row * WORDS] as number;
    }
    const bytes = this.#texts.make(total);
    const ends = new Int32Array(this.#ends.make(row_count * END_BYTES).buffer, this.#ends.byteLength, row_count);
    let at = this.#texts.byteLength;
    let [stretch_row, stretch_bytes, next_low, next_high] = [0, 0, 0, 0];
    const takeStretch = (): void => {
      if (stretch_bytes === 0) return;
      bytes.set(duckdb.get_data_from_pointer(entries.buffer as ArrayBuffer, entries.byteOffset + stretch_row * STRING_BYTES + POINTER_AT, stretch_bytes) as Uint8Array, at - stretch_bytes);
      stretch_bytes = 0;
    };
    for (let row = 0; row < row_count; row++) {
      const word = row * WORDS;
      const length = words[word] as number;
      if (length > MOST_INLINE) {
        const [low, high] = [words[word + LOW] as number, words[word + HIGH] as number];
        if (stretch_bytes === 0 || low !== next_low || high !== next_high) {
          takeStretch();
          stretch_row = row;
        }
        stretch_bytes += length;
        next_low = (low + length) >>> 0;
        next_high = low + length > 0xffff_ffff ? high + 1 : high;
      } else if (length > 0) {
        takeStretch();
        const entry = row * STRING_BYTES + INLINE_AT;
        for (let byte = 0; byte < length; byte++) bytes[at + byte] = entries[entry + byte] as number;
      }
      at += length;
      ends[row] = at;
    }
    takeStretch();
    this.#texts.grow(total);
    this.#ends.grow(row_count * END_BYTES);
  }

  take(): Data {
    const ends = this.#ends.take();
    const valueOffsets = new Int32Array(ends.buffer, ends.byteOffset, ends.byteLength / END_BYTES);
    this.#ends.grow(END_BYTES); // the first is 0 again
    return makeData({ type: this.type as Utf8, valueOffsets, data: this.#texts.take(), ...this.#validity.take() });
  }
}
