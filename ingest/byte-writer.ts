const FIRST_BYTES = 64 * 1024;
/** A full batch of events and messages; the kernel's until it is written to (see SpareMemory). */
export const BATCH_BYTES = 32 * 2 ** 20;

/** Bytes put one behind the other, each piece at a multiple of 8, in memory that is used again after clear(). */
export class ByteWriter {
  #memory: ArrayBuffer;
  /** Two views of all the memory, until the next reserve(). */
  bytes: Buffer<ArrayBuffer>;
  words: Int32Array<ArrayBuffer>;
  /** A multiple of 8. */
  length = 0;

  constructor(room = FIRST_BYTES) {
    this.#memory = new ArrayBuffer(room);
    this.bytes = Buffer.from(this.#memory);
    this.words = new Int32Array(this.#memory);
  }

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
