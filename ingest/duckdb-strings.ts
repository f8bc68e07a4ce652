// DuckDB's 16-byte string entry (string_t): u32 length, then either up to 12 bytes in place, or the first 4 bytes and
// a pointer to all of them. Written by hand because one binding call a string costs more than all the rest of a row.
import duckdb from '@duckdb/node-bindings';

type Vector = duckdb.Vector;

export const STRING_ENTRY_BYTES = 16;
export const INLINE_BYTES = 12;

/** The dictionary of one column of one batch, ready to be written into any number of vectors. */
export interface EncodedDictionary {
  /** Four words an entry; entries longer than 12 bytes get their pointer when they are written. */
  readonly words: Uint32Array;
  /** Bytes of the long entries, one after the other. */
  readonly slab: Uint8Array;
  /** Offset of an entry in slab, -1 for one that is written in place. */
  readonly slab_offsets: Int32Array;
  readonly has_long: boolean;
}

const encoder = new TextEncoder();

export function encodeDictionary(dictionary: readonly string[]): EncodedDictionary {
  const words = new Uint32Array(dictionary.length * 4);
  const bytes = new Uint8Array(words.buffer);
  const slab_offsets = new Int32Array(dictionary.length).fill(-1);
  const long: Uint8Array[] = [];
  let slab_bytes = 0;
  dictionary.forEach((text, index) => {
    const utf8 = encoder.encode(text);
    const at = index * STRING_ENTRY_BYTES;
    words[index * 4] = utf8.length;
    if (utf8.length <= INLINE_BYTES) {
      bytes.set(utf8, at + 4);
    } else {
      bytes.set(utf8.subarray(0, 4), at + 4);
      slab_offsets[index] = slab_bytes;
      slab_bytes += utf8.length;
      long.push(utf8);
    }
  });
  const slab = new Uint8Array(slab_bytes);
  let offset = 0;
  for (const utf8 of long) {
    slab.set(utf8, offset);
    offset += utf8.length;
  }
  return { words, slab, slab_offsets, has_long: long.length > 0 };
}

/** Puts bytes (more than 12 of them) on the vector's own heap and says where they are. */
function placeOnHeap(vector: Vector, bytes: Uint8Array): bigint {
  duckdb.vector_assign_string_element_len(vector, 0, bytes);
  const entry = duckdb.vector_get_data(vector, STRING_ENTRY_BYTES);
  return new DataView(entry.buffer, entry.byteOffset, STRING_ENTRY_BYTES).getBigUint64(8, true);
}

/** Writes entries of dictionaries and of offset/data columns; one instance is used by one scan at a time. */
export class StringWriter {
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;

  constructor(capacity: number) {
    this.#words = new Uint32Array(capacity * 4);
    this.#bytes = new Uint8Array(this.#words.buffer);
  }

  writeDictionary(vector: Vector, dictionary: EncodedDictionary, indices: Int32Array, from: number, count: number): void {
    const out = this.#words;
    const { words, slab_offsets } = dictionary;
    const base = dictionary.has_long ? placeOnHeap(vector, dictionary.slab) : 0n;
    const base_low = Number(base & 0xffff_ffffn);
    const base_high = Number(base >> 32n);
    for (let row = 0; row < count; row++) {
      const to = row * 4;
      const index = indices[from + row] as number;
      const at = index * 4;
      const long = slab_offsets[index];
      if (long === undefined) {
        // A null's index may be anything.
        out[to] = out[to + 1] = out[to + 2] = out[to + 3] = 0;
        continue;
      }
      out[to] = words[at] as number;
      out[to + 1] = words[at + 1] as number;
      if (long < 0) {
        out[to + 2] = words[at + 2] as number;
        out[to + 3] = words[at + 3] as number;
      } else {
        const low = base_low + long;
        out[to + 2] = low; // stored modulo 2^32
        out[to + 3] = base_high + (low > 0xffff_ffff ? 1 : 0);
      }
    }
    duckdb.copy_data_to_vector(vector, 0, this.#words.buffer as ArrayBuffer, 0, count * STRING_ENTRY_BYTES);
  }

  /** Row i is data[offsets[i], offsets[i + 1]). */
  writeSlices(vector: Vector, offsets: Int32Array, data: Uint8Array, from: number, count: number): void {
    const out = this.#words;
    const bytes = this.#bytes;
    const first = offsets[from] as number;
    const last = offsets[from + count] as number;
    const base = last - first > INLINE_BYTES ? placeOnHeap(vector, data.subarray(first, last)) : 0n;
    const base_low = Number(base & 0xffff_ffffn);
    const base_high = Number(base >> 32n);
    out.fill(0, 0, count * 4);
    for (let row = 0; row < count; row++) {
      const start = offsets[from + row] as number;
      const length = (offsets[from + row + 1] as number) - start;
      if (length === 0) continue;
      const to = row * 4;
      out[to] = length;
      const kept = length <= INLINE_BYTES ? length : 4;
      const at = row * STRING_ENTRY_BYTES + 4;
      for (let i = 0; i < kept; i++) bytes[at + i] = data[start + i] as number;
      if (length > INLINE_BYTES) {
        const low = base_low + (start - first);
        out[to + 2] = low;
        out[to + 3] = base_high + (low > 0xffff_ffff ? 1 : 0);
      }
    }
    duckdb.copy_data_to_vector(vector, 0, this.#words.buffer as ArrayBuffer, 0, count * STRING_ENTRY_BYTES);
  }
}
