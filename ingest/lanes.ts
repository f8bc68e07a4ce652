/** So many functions at a time, begun in the order asked for; or one with none beside it. */
export class Lanes {
  readonly #count: number;
  readonly #free: number[];
  readonly #waiting: { needed(): number; start(lanes: number[]): void; refuse(error: unknown): void }[] = [];

  constructor(count: number) {
    this.#count = count;
    this.#free = Array.from({ length: count }, (_, lane) => lane);
  }

  /** `lane` is that of no other function meanwhile. `alone`: asked when it is its turn, whether there may be any other. */
  run<T>(work: (lane: number) => Promise<T>, alone = (): boolean => false): Promise<T> {
    return this.#with(() => (alone() ? this.#count : 1), ([lane]) => work(lane as number));
  }

  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#with(() => this.#count, work);
  }

  async #with<T>(needed: () => number, work: (lanes: number[]) => Promise<T>): Promise<T> {
    const lanes = await new Promise<number[]>((start, refuse) => {
      this.#waiting.push({ needed, start, refuse });
      this.#begin();
    });
    try {
      return await work(lanes);
    } finally {
      this.#free.push(...lanes);
      this.#begin();
    }
  }

  #begin(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      let needed: number;
      try {
        needed = first.needed();
      } catch (error) {
        this.#waiting.shift();
        first.refuse(error);
        continue;
      }
      if (needed > this.#free.length) return;
      this.#waiting.shift();
      first.start(this.#free.splice(0, needed));
    }
  }
}
