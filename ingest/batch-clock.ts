/** A pair of readings: CLOCK_MONOTONIC and UTC at the same moment, give or take error_ns. */
export interface ClockPair {
  readonly mono_ns: bigint;
  readonly utc_ns: bigint;
  readonly error_ns: bigint;
}

const spread = (a: bigint, b: bigint): bigint => (a > b ? a - b : b - a);

/**
 * What times are derived from: one pair a batch. It stays while the newest pair agrees with it, so that times don't jitter by
 * the readings' error and events a few ns apart keep their order over batches.
 */
export class BatchClock {
  #pair: ClockPair | null = null;
  #newest: ClockPair | null = null;
  #noted = false;

  add(pair: ClockPair): void {
    this.#newest = pair;
    this.#pair ??= pair;
    this.#noted = false;
  }

  /** Of the batch at hand; null = none read yet. */
  get pair(): ClockPair | null {
    return this.#pair;
  }

  /** The newest pair, once. */
  takeNewest(): ClockPair | null {
    if (this.#noted) return null;
    this.#noted = true;
    return this.#newest;
  }

  /** For the batch that begins now. */
  adopt(): void {
    const [now, newest] = [this.#pair, this.#newest];
    if (now === null || newest === null) return;
    const moved = spread(newest.utc_ns - newest.mono_ns, now.utc_ns - now.mono_ns);
    if (moved > now.error_ns + newest.error_ns) this.#pair = newest;
  }
}
