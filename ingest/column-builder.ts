// Growable typed columns that become ColumnData. 64-bit values are written as two 32-bit halves: no bigint a value.
import type { ColumnData, Validity } from './batch.ts';

const FIRST_CAPACITY = 256;

/** Memory that is mostly used goes as it is, and the builder takes new: copying a full batch at once would hold up the event loop. */
const isMostlyUsed = (rows: number, capacity: number): boolean => rows * 2 >= capacity;
const FEW_VALUES = 4;

/** Bit set = present. All ones from the start, so that only nulls cost something. */
class ValidityBits {
  #bits = new Uint8Array(FIRST_CAPACITY >> 3).fill(0xff);
  #nulls = 0;

  setNull(row: number): void {
    const byte = row >> 3;
    this.#bits[byte] = (this.#bits[byte] as number) & ~(1 << (row & 7));
    this.#nulls += 1;
  }

  grow(capacity: number): void {
    const grown = new Uint8Array((capacity + 7) >> 3).fill(0xff);
    grown.set(this.#bits);
    this.#bits = grown;
  }

  take(rows: number): Validity {
    if (this.#nulls === 0) return null;
    const taken = this.#bits.slice(0, (rows + 7) >> 3);
    this.#bits.fill(0xff);
    this.#nulls = 0;
    return taken;
  }
}

export interface ColumnBuilder {
  setNull(row: number): void;
  grow(capacity: number): void;
  /** A copy of the first rows; the builder starts anew. */
  take(rows: number): ColumnData;
}

export class Int64Builder implements ColumnBuilder {
  #values = new BigInt64Array(FIRST_CAPACITY);
  words = new Int32Array(this.#values.buffer);
  readonly #validity = new ValidityBits();

  set(row: number, low: number, high: number): void {
    this.words[row * 2] = low;
    this.words[row * 2 + 1] = high;
  }

  /** Null when it is zero: what the kernel says when it does not know. */
  setUnlessZero(row: number, low: number, high: number): void {
    this.words[row * 2] = low;
    this.words[row * 2 + 1] = high;
    if (low === 0 && high === 0) this.#validity.setNull(row);
  }

  /** Any integer up to 2^53, negative too. */
  setNumber(row: number, value: number): void {
    this.words[row * 2] = value; // stored modulo 2^32
    this.words[row * 2 + 1] = Math.floor(value / 4294967296);
  }

  setBig(row: number, value: bigint): void {
    this.#values[row] = value;
  }

  setNull(row: number): void {
    this.words[row * 2] = 0;
    this.words[row * 2 + 1] = 0;
    this.#validity.setNull(row);
  }

  /** Adds one 64-bit number to the first rows. */
  addToAll(rows: number, low: number, high: number): void {
    const words = this.words;
    const addend = low >>> 0;
    for (let at = 0; at < rows * 2; at += 2) {
      const sum = ((words[at] as number) >>> 0) + addend;
      words[at] = sum;
      words[at + 1] = (words[at + 1] as number) + high + (sum > 0xffff_ffff ? 1 : 0);
    }
  }

  grow(capacity: number): void {
    const grown = new BigInt64Array(capacity);
    grown.set(this.#values);
    this.#values = grown;
    this.words = new Int32Array(grown.buffer);
    this.#validity.grow(capacity);
  }

  take(rows: number): ColumnData {
    const validity = this.#validity.take(rows);
    if (!isMostlyUsed(rows, this.#values.length)) return { type: 'int64', values: this.#values.slice(0, rows), validity };
    const values = this.#values.subarray(0, rows);
    this.#values = new BigInt64Array(this.#values.length);
    this.words = new Int32Array(this.#values.buffer);
    return { type: 'int64', values, validity };
  }
}

export class Int32Builder implements ColumnBuilder {
  #values = new Int32Array(FIRST_CAPACITY);
  readonly #validity = new ValidityBits();

  set(row: number, value: number): void {
    this.#values[row] = value;
  }

  setNull(row: number): void {
    this.#values[row] = 0;
    this.#validity.setNull(row);
  }

  grow(capacity: number): void {
    const grown = new Int32Array(capacity);
    grown.set(this.#values);
    this.#values = grown;
    this.#validity.grow(capacity);
  }

  take(rows: number): ColumnData {
    const validity = this.#validity.take(rows);
    if (!isMostlyUsed(rows, this.#values.length)) return { type: 'int32', values: this.#values.slice(0, rows), validity };
    const values = this.#values.subarray(0, rows);
    this.#values = new Int32Array(this.#values.length);
    return { type: 'int32', values, validity };
  }
}

export class BoolBuilder implements ColumnBuilder {
  #values = new Uint8Array(FIRST_CAPACITY);
  readonly #validity = new ValidityBits();

  set(row: number, value: boolean): void {
    this.#values[row] = value ? 1 : 0;
  }

  setNull(row: number): void {
    this.#values[row] = 0;
    this.#validity.setNull(row);
  }

  grow(capacity: number): void {
    const grown = new Uint8Array(capacity);
    grown.set(this.#values);
    this.#values = grown;
    this.#validity.grow(capacity);
  }

  take(rows: number): ColumnData {
    return { type: 'bool', values: this.#values.slice(0, rows), validity: this.#validity.take(rows) };
  }
}

export class DictBuilder implements ColumnBuilder {
  #indices = new Int32Array(FIRST_CAPACITY);
  readonly #validity = new ValidityBits();
  readonly #index_of = new Map<string, number>();
  #dictionary: string[] = [];

  set(row: number, value: string): void {
    const dictionary = this.#dictionary;
    // Most columns have a handful of values: looking through them costs less than a hash.
    const few = dictionary.length < FEW_VALUES ? dictionary.length : FEW_VALUES;
    for (let index = 0; index < few; index += 1) {
      if (dictionary[index] === value) {
        this.#indices[row] = index;
        return;
      }
    }
    let index = this.#index_of.get(value);
    if (index === undefined) {
      index = dictionary.length;
      dictionary.push(value);
      this.#index_of.set(value, index);
    }
    this.#indices[row] = index;
  }

  setNull(row: number): void {
    this.#indices[row] = 0;
    this.#validity.setNull(row);
  }

  grow(capacity: number): void {
    const grown = new Int32Array(capacity);
    grown.set(this.#indices);
    this.#indices = grown;
    this.#validity.grow(capacity);
  }

  take(rows: number): ColumnData {
    const dictionary = this.#dictionary;
    this.#dictionary = [];
    this.#index_of.clear();
    const validity = this.#validity.take(rows);
    if (!isMostlyUsed(rows, this.#indices.length)) return { type: 'dict', indices: this.#indices.slice(0, rows), dictionary, validity };
    const indices = this.#indices.subarray(0, rows);
    this.#indices = new Int32Array(this.#indices.length);
    return { type: 'dict', indices, dictionary, validity };
  }
}

/** Rows must be set in their order, each once. */
export class BytesBuilder implements ColumnBuilder {
  readonly #type: 'text' | 'blob';
  #offsets = new Int32Array(FIRST_CAPACITY + 1);
  #data = Buffer.alloc(FIRST_CAPACITY);
  readonly #validity = new ValidityBits();

  constructor(type: 'text' | 'blob') {
    this.#type = type;
  }

  /** Text must be UTF-8. */
  set(row: number, bytes: Uint8Array, start: number, end: number): void {
    const at = this.#room(row, end - start);
    const data = this.#data;
    for (let from = start, to = at; from < end; from += 1, to += 1) data[to] = bytes[from] as number;
    this.#offsets[row + 1] = at + end - start;
  }

  setText(row: number, text: string): void {
    const at = this.#room(row, text.length * 3);
    this.#offsets[row + 1] = at + this.#data.write(text, at, 'utf8');
  }

  setNull(row: number): void {
    this.#offsets[row + 1] = this.#offsets[row] as number;
    this.#validity.setNull(row);
  }

  /** Where the bytes of a row begin, and the memory they lie in: to alter them in place right after set. */
  row(row: number): { data: Uint8Array; start: number; end: number } {
    return { data: this.#data, start: this.#offsets[row] as number, end: this.#offsets[row + 1] as number };
  }

  #room(row: number, bytes: number): number {
    const at = this.#offsets[row] as number;
    if (at + bytes > this.#data.length) {
      const grown = Buffer.alloc(Math.max(this.#data.length * 2, at + bytes));
      grown.set(this.#data.subarray(0, at));
      this.#data = grown;
    }
    return at;
  }

  grow(capacity: number): void {
    const grown = new Int32Array(capacity + 1);
    grown.set(this.#offsets);
    this.#offsets = grown;
    this.#validity.grow(capacity);
  }

  take(rows: number): ColumnData {
    const data = new Uint8Array(this.#data.subarray(0, this.#offsets[rows] as number));
    return { type: this.#type, offsets: this.#offsets.slice(0, rows + 1), data, validity: this.#validity.take(rows) };
  }
}
