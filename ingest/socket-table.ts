// Sockets by id. Keyed by the id's low word: no bigint, no string an event.
import type { Protocol } from './protocol.ts';
import { SocketState } from './socket-state.ts';

/** Looked at for one that has to go. */
const SAMPLE = 16;
/** From one of them to the next, as a share of all: the golden ratio's, which spreads them. */
const STRIDE = 0.6180339887;

export class SocketTable {
  readonly #by_low = new Map<number, SocketState>();
  readonly #all: SocketState[] = [];
  readonly #limit: number;
  readonly #protocol: Protocol;
  #uses = 0;
  #spread = 0;

  constructor(limit: number, protocol: Protocol) {
    this.#limit = limit;
    this.#protocol = protocol;
  }

  get size(): number {
    return this.#all.length;
  }

  /** Finds or makes. */
  touch(low: number, high: number): SocketState {
    const first = this.#by_low.get(low);
    let state = first;
    while (state !== undefined && state.high !== high) state = state.collision ?? undefined;
    if (state === undefined) {
      state = new SocketState(low, high, this.#protocol);
      state.collision = first ?? null;
      this.#by_low.set(low, state);
      state.place = this.#all.length;
      this.#all.push(state);
    }
    this.#uses += 1;
    state.used = this.#uses;
    return state;
  }

  /**
   * The socket that has to go before there is room for the one used last; null = there is. Of a few, wherever they are, the one that was unused for longest: a list of all
   * in order of use would touch three sockets' memory an event.
   */
  overdue(): SocketState | null {
    const all = this.#all;
    if (all.length <= this.#limit) return null;
    if (all.length <= SAMPLE) return all.reduce((a, b) => (b.used < a.used ? b : a));
    let found = all[0] as SocketState;
    for (let looked = 0; looked < SAMPLE; looked += 1) {
      this.#spread = (this.#spread + STRIDE) % 1;
      const state = all[Math.floor(this.#spread * all.length)] as SocketState;
      if (looked === 0 || state.used < found.used) found = state;
    }
    return found;
  }

  delete(gone: SocketState): void {
    const first = this.#by_low.get(gone.low) ?? null;
    if (first === gone) {
      if (gone.collision === null) this.#by_low.delete(gone.low);
      else this.#by_low.set(gone.low, gone.collision);
    } else {
      let before = first;
      while (before !== null && before.collision !== gone) before = before.collision;
      if (before === null) return;
      before.collision = gone.collision;
    }
    gone.collision = null;
    const last = this.#all.pop() as SocketState;
    if (last === gone) return;
    this.#all[gone.place] = last;
    last.place = gone.place;
  }

  [Symbol.iterator](): IterableIterator<SocketState> {
    return this.#all.values();
  }
}
