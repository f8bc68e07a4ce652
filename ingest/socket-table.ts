// Sockets by id, least recently used first. Keyed by the id's low word: no bigint, no string an event.
import type { Protocol } from './protocol.ts';
import { SocketState } from './socket-state.ts';

export class SocketTable {
  readonly #by_low = new Map<number, SocketState>();
  readonly #limit: number;
  readonly #protocol: Protocol;
  #oldest: SocketState | null = null;
  #newest: SocketState | null = null;
  #size = 0;

  constructor(limit: number, protocol: Protocol) {
    this.#limit = limit;
    this.#protocol = protocol;
  }

  get size(): number {
    return this.#size;
  }

  /** The socket that has to go before another one fits; null = there is room. */
  get overdue(): SocketState | null {
    return this.#size > this.#limit ? this.#oldest : null;
  }

  /** Finds or makes; it is the most recently used one from now on. */
  touch(low: number, high: number): SocketState {
    let state = this.#by_low.get(low) ?? null;
    while (state !== null && state.high !== high) state = state.collision;
    if (state === null) {
      state = new SocketState(low, high, this.#protocol);
      state.collision = this.#by_low.get(low) ?? null;
      this.#by_low.set(low, state);
      this.#size += 1;
    } else {
      if (state === this.#newest) return state;
      this.#unlink(state);
    }
    state.older = this.#newest;
    state.newer = null;
    if (this.#newest !== null) this.#newest.newer = state;
    this.#newest = state;
    this.#oldest ??= state;
    return state;
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
    this.#unlink(gone);
    gone.older = gone.newer = gone.collision = null;
    this.#size -= 1;
  }

  #unlink(state: SocketState): void {
    if (state.older === null) this.#oldest = state.newer;
    else state.older.newer = state.newer;
    if (state.newer === null) this.#newest = state.older;
    else state.newer.older = state.older;
  }

  *[Symbol.iterator](): Generator<SocketState> {
    for (let state = this.#oldest; state !== null; ) {
      const next: SocketState | null = state.newer;
      yield state;
      state = next;
    }
  }
}
