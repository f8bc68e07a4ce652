// Growable typed columns that become ColumnData. 64-bit values are written as two 32-bit halves: no bigint a value.
import type { ColumnData } from './batch.ts';
import { SpareMemory } from './spare-memory.ts';
import type { Memory } from './spare-memory.ts';
import { ValidityBits } from './validity-bits.ts';

const FEW_VALUES = 4;

/** Renewed, its rows set in their order, and taken, again and again. */
export interface ColumnBuilder {
  setNull(row: number): void;
  grow(capacity: number): void;
  /** The first rows, in memory that is theirs from now on. */
  take(rows: number): ColumnData;
  /** Begins anew, with room for so many rows. */
  renew(capacity: number): void;
  /** What take returned is used no longer: its memory will be. */
  giveBack(data: ColumnData): void;
}

/** One number a row. */
abstract class NumberBuilder<M extends Memory> implements ColumnBuilder {
  protected values: M;
  protected readonly validity = new ValidityBits();
  readonly #type: 'int64' | 'int32' | 'bool' | 'dict';
  readonly #memory: (source: number | ArrayBuffer) => M;
  readonly #spare: SpareMemory<M>;

  constructor(type: 'int64' | 'int32' | 'bool' | 'dict', memory: (source: number | ArrayBuffer) => M) {
    this.#type = type;
    this.#memory = memory;
    this.#spare = new SpareMemory(memory);
    this.values = this.#spare.take(0);
  }

  setNull(row: number): void {
    (this.values as Int32Array)[row] = 0;
    this.validity.setNull(row);
  }

  grow(capacity: number): void {
    this.values = this.#spare.grown(this.values, capacity);
    this.validity.grow(capacity);
  }

  take(rows: number): ColumnData {
    return { type: this.#type, values: this.values.subarray(0, rows), validity: this.validity.take(rows) } as ColumnData;
  }

  renew(capacity: number): void {
    this.values = this.#spare.take(capacity);
    this.validity.renew(capacity);
  }

  giveBack(data: ColumnData): void {
    if ('offsets' in data) return;
    this.#spare.keep(this.#memory((data.type === 'dict' ? data.indices : data.values).buffer as ArrayBuffer));
    this.validity.keep(data.validity);
  }
}

export class Int64Builder extends NumberBuilder<BigInt64Array> {
  #words = new Int32Array(this.values.buffer);

  constructor() {
    super('int64', (source) => new BigInt64Array(source as ArrayBuffer));
  }

  set(row: number, low: number, high: number): void {
    this.#words[row * 2] = low;
    this.#words[row * 2 + 1] = high;
  }

  /** Null when it is zero: what the kernel says when it does not know. */
  setUnlessZero(row: number, low: number, high: number): void {
    this.#words[row * 2] = low;
    this.#words[row * 2 + 1] = high;
    if (low === 0 && high === 0) this.validity.setNull(row);
  }

  /** Any integer up to 2^53, negative too. */
  setNumber(row: number, value: number): void {
    this.#words[row * 2] = value; // stored modulo 2^32
    this.#words[row * 2 + 1] = Math.floor(value / 4294967296);
  }

  setBig(row: number, value: bigint): void {
    this.values[row] = value;
  }

  override setNull(row: number): void {
    this.#words[row * 2] = 0;
    this.#words[row * 2 + 1] = 0;
    this.validity.setNull(row);
  }

  /** Adds one 64-bit number to the first rows. */
  addToAll(rows: number, low: number, high: number): void {
    const words = this.#words;
    const addend = low >>> 0;
    for (let at = 0; at < rows * 2; at += 2) {
      const sum = ((words[at] as number) >>> 0) + addend;
      words[at] = sum;
      words[at + 1] = (words[at + 1] as number) + high + (sum > 0xffff_ffff ? 1 : 0);
    }
  }

  override grow(capacity: number): void {
    super.grow(capacity);
    this.#words = new Int32Array(this.values.buffer);
  }

  override renew(capacity: number): void {
    super.renew(capacity);
    this.#words = new Int32Array(this.values.buffer);
  }
}

export class Int32Builder extends NumberBuilder<Int32Array> {
  constructor() {
    super('int32', (source) => new Int32Array(source as ArrayBuffer));
  }

  set(row: number, value: number): void {
    this.values[row] = value;
  }
}

export class BoolBuilder extends NumberBuilder<Uint8Array> {
  constructor() {
    super('bool', (source) => new Uint8Array(source as ArrayBuffer));
  }

  set(row: number, value: boolean): void {
    this.values[row] = value ? 1 : 0;
  }
}

/** Texts that are told by a number: the same text by the same one for as long as rows of one batch are gathered. */
export interface NumberedTexts {
  readonly [number: number]: string | undefined;
}

export class DictBuilder extends NumberBuilder<Int32Array> {
  readonly #index_of = new Map<string, number>();
  #dictionary: string[] = [];
  /** By the texts' numbers: places in the dictionary, one more than they are; 0 = not there yet. */
  #index_of_number = new Int32Array(16);
  #highest = -1;

  constructor() {
    super('dict', (source) => new Int32Array(source as ArrayBuffer));
  }

  set(row: number, value: string): void {
    const dictionary = this.#dictionary;
    // Most columns have a handful of values: looking through them costs less than a hash.
    const few = dictionary.length < FEW_VALUES ? dictionary.length : FEW_VALUES;
    for (let index = 0; index < few; index += 1) {
      if (dictionary[index] === value) {
        this.values[row] = index;
        return;
      }
    }
    this.values[row] = this.#place(value);
  }

  /** The text of this number (0 or more): no text is compared but where it is new to the dictionary. A column's texts all come from the same place. */
  setNumbered(row: number, number: number, texts: NumberedTexts): void {
    const known = number < this.#index_of_number.length ? (this.#index_of_number[number] as number) : 0;
    this.values[row] = known > 0 ? known - 1 : this.#placeNumbered(number, texts[number] as string);
  }

  #placeNumbered(number: number, text: string): number {
    if (number >= this.#index_of_number.length) {
      const grown = new Int32Array(1 << (32 - Math.clz32(number)));
      grown.set(this.#index_of_number);
      this.#index_of_number = grown;
    }
    const index = this.#place(text);
    this.#index_of_number[number] = index + 1;
    if (number > this.#highest) this.#highest = number;
    return index;
  }

  #place(value: string): number {
    const index = this.#index_of.get(value);
    if (index !== undefined) return index;
    const dictionary = this.#dictionary;
    dictionary.push(value);
    this.#index_of.set(value, dictionary.length - 1);
    return dictionary.length - 1;
  }

  override take(rows: number): ColumnData {
    const dictionary = this.#dictionary;
    this.#dictionary = [];
    this.#index_of.clear();
    this.#index_of_number.fill(0, 0, this.#highest + 1);
    this.#highest = -1;
    return { type: 'dict', indices: this.values.subarray(0, rows), dictionary, validity: this.validity.take(rows) };
  }
}
