const FIRST_BYTES = 64 * 1024;

/** Bytes put one behind the other, each piece at a multiple of 8, in memory that is used again after clear(). */
export class ByteWriter {
  #memory = new ArrayBuffer(FIRST_BYTES);
  /** Two views of all the memory, until the next reserve(). */
  bytes = Buffer.from(this.#memory);
  words = new Int32Array(this.#memory);
  /** A multiple of 8. */
  length = 0;

  clear(): void {
    this.length = 0;
  }

  /** Position of so many bytes, which hold anything; behind them zeros up to the next multiple of 8. */
  reserve(count: number): number {
    const at = this.length;
    const end = (at + count + 7) & ~7;
    if (end > this.#memory.byteLength) this.#grow(end);
    for (let pad = at + count; pad < end; pad += 1) this.bytes[pad] = 0;
    this.length = end;
    return at;
  }

  put(piece: Uint8Array): void {
    const at = this.reserve(piece.length);
    this.bytes.set(piece, at);
  }

  /** A view of what was put. */
  get taken(): Uint8Array {
    return new Uint8Array(this.#memory, 0, this.length);
  }

  #grow(least: number): void {
    const kept = this.bytes.subarray(0, this.length);
    this.#memory = new ArrayBuffer(2 ** Math.ceil(Math.log2(least)));
    this.bytes = Buffer.from(this.#memory);
    this.words = new Int32Array(this.#memory);
    this.bytes.set(kept);
  }
}
