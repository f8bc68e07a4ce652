export type Memory = BigInt64Array | Int32Array | Uint8Array;

/** One batch is filled, one is stored, one is between the two. */
const MOST_KEPT = 2;

export const roundedUp = (length: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, length)));

/**
 * Memory that batches gave back, for the next ones. V8 answers memory outside of its heap with full collections: made anew for
 * every batch, it was what a collector spent nearly half of its time on. Memory that is large from the beginning is the kernel's
 * until it is written to; one that grows by doubling leaves holes in the C library's heap, which stay.
 */
export class SpareMemory<M extends Memory> {
  readonly #kept: M[] = [];
  readonly #make: (length: number) => M;

  constructor(make: (length: number) => M) {
    this.#make = make;
  }

  /** Of at least so many elements, which may hold anything. */
  take(length: number): M {
    for (let kept = this.#kept.pop(); kept !== undefined; kept = this.#kept.pop()) if (kept.length >= length) return kept;
    return this.#make(length);
  }

  /** The same elements in memory that is large enough. */
  grown(memory: M, length: number): M {
    if (memory.length >= length) return memory;
    const grown = this.take(length);
    (grown as Uint8Array).set(memory as Uint8Array);
    return grown;
  }

  keep(memory: M): void {
    if (this.#kept.length < MOST_KEPT) this.#kept.push(memory);
  }
}
