// A column of texts or blobs as Arrow, copied as they lie in DuckDB's memory.
import duckdb from '@duckdb/node-bindings';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import { makeData } from 'apache-arrow';
import type { Data, DataType, Utf8 } from 'apache-arrow';
import type { ArrowColumn } from './arrow-columns.ts';
import { Room } from './arrow-room.ts';
import { Validity, forNulls, vectorOf } from './arrow-validity.ts';

/** string_t: a length of four bytes, then up to twelve bytes of text, or four of them and a pointer to all. */
const STRING_BYTES = 16;
const WORDS = STRING_BYTES / 4;
/** Words of the pointer. */
const [LOW, HIGH] = [2, 3];
const MOST_INLINE = 12;
const POINTER_AT = 8;

const END_BYTES = Int32Array.BYTES_PER_ELEMENT;

/** Texts that lie one behind the other from that of `row` on, to where they end. */
function copyStretch(to: Uint8Array, end: number, entries: Uint8Array, row: number, length: number): void {
  to.set(duckdb.get_data_from_pointer(entries.buffer as ArrayBuffer, entries.byteOffset + row * STRING_BYTES + POINTER_AT, length) as Uint8Array, end - length);
}

export class TextColumn implements ArrowColumn {
  readonly type: DataType;
  readonly #validity = new Validity();
  readonly #texts = new Room();
  readonly #ends = new Room();

  constructor(type: DataType) {
    this.type = type;
    this.#ends.add(new Uint8Array(END_BYTES));
  }

  /**
   * Texts of a chunk mostly lie one behind the other, as DuckDB has copied them: such a stretch is taken at once. What the loop changes
   * is local to it: in a closure each pointer would be an object of its own.
   */
  append(chunk: DuckDBDataChunk, column: number, row_count: number): void {
    const vector = vectorOf(chunk, column);
    const entries = duckdb.vector_get_data(vector, row_count * STRING_BYTES) as Uint8Array;
    const words = new Int32Array(entries.buffer, entries.byteOffset, row_count * WORDS);
    const bits = this.#validity.append(vector, row_count);
    if (bits !== null) forNulls(bits, row_count, (row) => (words[row * WORDS] = 0));
    let total = 0;
    for (let word = 0; word < words.length; word += WORDS) total += words[word] as number;
    const bytes = this.#texts.make(total + MOST_INLINE);
    const ends = new Int32Array(this.#ends.make(row_count * END_BYTES).buffer, this.#ends.byteLength, row_count);
    let at = this.#texts.byteLength;
    let stretch_row = 0;
    let stretch_bytes = 0;
    let next_low = 0;
    let stretch_high = 0;
    for (let row = 0, word = 0; row < row_count; row++, word += WORDS) {
      const length = words[word] as number;
      if (length > MOST_INLINE) {
        const low = words[word + LOW] as number;
        const high = words[word + HIGH] as number;
        if (stretch_bytes === 0 || low !== next_low || high !== stretch_high) {
          if (stretch_bytes > 0) copyStretch(bytes, at, entries, stretch_row, stretch_bytes);
          stretch_row = row;
          stretch_bytes = 0;
          stretch_high = high;
        }
        stretch_bytes += length;
        next_low = (low + length) | 0;
      } else if (length > 0) {
        if (stretch_bytes > 0) copyStretch(bytes, at, entries, stretch_row, stretch_bytes);
        stretch_bytes = 0;
        // All twelve: those beyond the text are written over by the next one.
        for (let part = 1, to = at; part < WORDS; part++, to += 4) {
          const four = words[word + part] as number;
          bytes[to] = four;
          bytes[to + 1] = four >>> 8;
          bytes[to + 2] = four >>> 16;
          bytes[to + 3] = four >>> 24;
        }
      }
      at += length;
      ends[row] = at;
    }
    if (stretch_bytes > 0) copyStretch(bytes, at, entries, stretch_row, stretch_bytes);
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
