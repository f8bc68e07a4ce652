// Which rows of a column are not null, gathered from DuckDB's chunks.
import duckdb from '@duckdb/node-bindings';
import type { DuckDBDataChunk } from '@duckdb/node-api';

export const vectorOf = (chunk: DuckDBDataChunk, column: number): duckdb.Vector => duckdb.data_chunk_get_vector((chunk as unknown as { chunk: duckdb.DataChunk }).chunk, column);

/** Set bits of a byte. */
const ONES = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length);

/** One bit a row, as DuckDB and Arrow both have it. */
export class Validity {
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
    for (const { bits, rows } of parts) {
      // A chunk but for the last one is a multiple of eight rows, so mostly whole bytes are copied.
      const whole = (at & 7) === 0 ? rows >> 3 : 0;
      if (bits === null) nullBitmap.fill(0xff, at >> 3, (at >> 3) + whole);
      else nullBitmap.set(bits.subarray(0, whole), at >> 3);
      for (let row = whole * 8; row < rows; row++) if (bits === null || isValid(bits, row)) setBit(nullBitmap, at + row);
      at += rows;
    }
    let valid = 0;
    for (const byte of nullBitmap) valid += ONES[byte] as number;
    return { length, nullCount: length - valid, nullBitmap };
  }
}

export function setBit(bits: Uint8Array, row: number): void {
  bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7));
}

/** Mostly whole bytes are not null. */
export function forNulls(bits: Uint8Array, rows: number, change: (row: number) => void): void {
  for (let from = 0; from < rows; from += 8) {
    if (bits[from >> 3] === 0xff) continue;
    for (let row = from; row < Math.min(from + 8, rows); row++) if (!isValid(bits, row)) change(row);
  }
}

export const isValid = (bits: Uint8Array, row: number): boolean => (((bits[row >> 3] as number) >> (row & 7)) & 1) === 1;
