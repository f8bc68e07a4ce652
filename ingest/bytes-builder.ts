import type { ColumnData } from './batch.ts';
import type { ColumnBuilder } from './column-builder.ts';
import { SpareMemory, roundedUp } from './spare-memory.ts';
import { ValidityBits } from './validity-bits.ts';

/** Texts or bytes of any length. */
export class BytesBuilder implements ColumnBuilder {
  readonly #type: 'text' | 'blob';
  readonly #spare_offsets = new SpareMemory<Int32Array>((length) => new Int32Array(length));
  readonly #spare_data = new SpareMemory<Buffer>((length) => Buffer.alloc(length));
  #offsets = this.#spare_offsets.take(0);
  #data = this.#spare_data.take(0);
  /** Bytes that the rows before took. */
  #expected = 0;
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
    if (at + bytes > this.#data.length) this.#data = this.#spare_data.grown(this.#data, roundedUp(at + bytes));
    return at;
  }

  grow(capacity: number): void {
    this.#offsets = this.#spare_offsets.grown(this.#offsets, capacity + 1);
    this.#validity.grow(capacity);
  }

  take(rows: number): ColumnData {
    const bytes = this.#offsets[rows] as number;
    this.#expected = bytes;
    const data = new Uint8Array(this.#data.buffer, 0, bytes);
    return { type: this.#type, offsets: this.#offsets.subarray(0, rows + 1), data, validity: this.#validity.take(rows) };
  }

  renew(capacity: number): void {
    this.#offsets = this.#spare_offsets.take(capacity + 1);
    this.#offsets[0] = 0;
    this.#data = this.#spare_data.take(roundedUp(this.#expected));
    this.#validity.renew(capacity);
  }

  giveBack(data: ColumnData): void {
    if (data.type !== this.#type) return;
    this.#spare_offsets.keep(new Int32Array(data.offsets.buffer));
    this.#spare_data.keep(Buffer.from(data.data.buffer));
    this.#validity.keep(data.validity);
  }
}
