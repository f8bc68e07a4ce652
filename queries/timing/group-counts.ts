// What the requests of one trace at one service have in common, learned: of so many, how many make calls, and how often calls are
// made before the last of them is there.

interface Counts {
  count: number;
  readonly busy: Map<number, number>;
  early: number;
  late: number;
}

export class GroupCounts {
  readonly #groups = new Map<number, Counts>();

  /** Of `size` requests of one trace `busy` made calls; so many of their calls were early: before the last request was there. */
  score(size: number, busy: number, early: number, late: number): number {
    const known = this.#groups.get(size);
    if (known === undefined) return 0;
    const before = (known.early + 0.5) / (known.early + known.late + 1);
    return Math.log(((known.busy.get(busy) ?? 0) + 0.2) / (known.count + 0.2 * (size + 1))) + early * Math.log(before) + late * Math.log(1 - before);
  }

  learn(size: number, busy: number, early: number, late: number, weight: number): void {
    let known = this.#groups.get(size);
    if (known === undefined) this.#groups.set(size, (known = { count: 0, busy: new Map(), early: 0, late: 0 }));
    known.count += weight;
    known.busy.set(busy, (known.busy.get(busy) ?? 0) + weight);
    known.early += weight * early;
    known.late += weight * late;
  }

  fade(by: number): void {
    for (const known of this.#groups.values()) {
      known.count *= by;
      known.early *= by;
      known.late *= by;
      for (const [busy, count] of known.busy) known.busy.set(busy, count * by);
    }
  }
}
