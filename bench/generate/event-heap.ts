// What is going to happen, by time.

export interface Actor {
  /** at: ns since the simulation began. what: the actor's own number. */
  act(at: number, what: number): void;
}

/** A binary heap over columns: nothing is allocated for an entry. Entries of the same time come in no particular, but always the same, order. */
export class EventHeap {
  #times = new Float64Array(1024);
  #what = new Int32Array(1024);
  readonly #actors: Actor[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get next_at(): number {
    return this.#size === 0 ? Infinity : (this.#times[0] as number);
  }

  push(at: number, actor: Actor, what = 0): void {
    if (this.#size === this.#times.length) this.#grow();
    const times = this.#times;
    const whats = this.#what;
    const actors = this.#actors;
    let hole = this.#size;
    this.#size += 1;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if ((times[parent] as number) <= at) break;
      times[hole] = times[parent] as number;
      whats[hole] = whats[parent] as number;
      actors[hole] = actors[parent] as Actor;
      hole = parent;
    }
    times[hole] = at;
    whats[hole] = what;
    actors[hole] = actor;
  }

  /** Lets the next thing happen. */
  step(): void {
    const times = this.#times;
    const whats = this.#what;
    const actors = this.#actors;
    const at = times[0] as number;
    const what = whats[0] as number;
    const actor = actors[0] as Actor;
    this.#size -= 1;
    const size = this.#size;
    const last_at = times[size] as number;
    let hole = 0;
    for (let child = 1; child < size; child = hole * 2 + 1) {
      if (child + 1 < size && (times[child + 1] as number) < (times[child] as number)) child += 1;
      if ((times[child] as number) >= last_at) break;
      times[hole] = times[child] as number;
      whats[hole] = whats[child] as number;
      actors[hole] = actors[child] as Actor;
      hole = child;
    }
    times[hole] = last_at;
    whats[hole] = whats[size] as number;
    actors[hole] = actors[size] as Actor;
    actor.act(at, what);
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2);
    times.set(this.#times);
    this.#times = times;
    const what = new Int32Array(times.length);
    what.set(this.#what);
    this.#what = what;
  }
}
