import type { Validity } from './batch.ts';
import { SpareMemory } from './spare-memory.ts';

const bitBytes = (capacity: number): number => (capacity + 7) >> 3;

/** Bit set = present. All ones from the start, so that only nulls cost something. */
export class ValidityBits {
  readonly #spare = new SpareMemory<Uint8Array>((length) => new Uint8Array(length));
  #bits = this.#spare.take(0).fill(0xff);
  #nulls = 0;
  #taken = false;

  setNull(row: number): void {
    const byte = row >> 3;
    this.#bits[byte] = (this.#bits[byte] as number) & ~(1 << (row & 7));
    this.#nulls += 1;
  }

  grow(capacity: number): void {
    if (this.#bits.length >= bitBytes(capacity)) return;
    const grown = this.#spare.take(bitBytes(capacity)).fill(0xff);
    grown.set(this.#bits);
    this.#bits = grown;
  }

  take(rows: number): Validity {
    if (this.#nulls === 0) return null;
    this.#nulls = 0;
    this.#taken = true;
    return this.#bits.subarray(0, bitBytes(rows));
  }

  renew(capacity: number): void {
    if (this.#taken) this.#bits = this.#spare.take(bitBytes(capacity)).fill(0xff);
    else this.grow(capacity);
    this.#taken = false;
  }

  keep(validity: Validity): void {
    if (validity !== null) this.#spare.keep(new Uint8Array(validity.buffer));
  }
}
