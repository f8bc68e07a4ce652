const FIRST_BYTES = 256 * 1024;

/** Bytes that are gathered, given away, and gathered again in one of two places: memory that is made new each time costs more than its copying. */
export class Room {
  #bytes = new Uint8Array(FIRST_BYTES);
  #other = new Uint8Array(FIRST_BYTES);
  #at = 0;

  get byteLength(): number {
    return this.#at;
  }

  /** For so many bytes more; where they go, from `byteLength` on. */
  make(more: number): Uint8Array {
    if (this.#at + more > this.#bytes.byteLength) {
      const larger = new Uint8Array(Math.max(this.#bytes.byteLength * 2, this.#at + more));
      larger.set(this.#bytes.subarray(0, this.#at));
      this.#bytes = larger;
    }
    return this.#bytes;
  }

  /** So many have been put there. */
  grow(more: number): void {
    this.#at += more;
  }

  add(bytes: Uint8Array): void {
    this.make(bytes.byteLength).set(bytes, this.#at);
    this.grow(bytes.byteLength);
  }

  /** All since the last time, until there is more again after the next time. */
  take(): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.#at);
    [this.#bytes, this.#other] = [this.#other, this.#bytes];
    this.#at = 0;
    return bytes;
  }
}
