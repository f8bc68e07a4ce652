// How long live correlation rests between two cycles. What lands just after one has begun waits for the rest of it, for the pause and for
// the next one, so that is what is held; and a cycle of few events is nearly all planning, so fewer of them cost a quiet node less.

/** Two cycles and the pause between them. */
const AIM_MS = 1000;
/** Twice what the cycle took, or this where it took next to nothing. */
const QUIET_MS = 400;
const LEAST_MS = 20;
/** Beyond, processors are short: events gather for longer, as many at once are cheaper, and whatever else wants a processor has one. */
const LONG_MS = 800;
const LEAST_AFTER_LONG_MS = 200;

/** Milliseconds, after a cycle that took `cycle_ms`. */
export function pauseAfter(cycle_ms: number): number {
  return Math.max(cycle_ms > LONG_MS ? LEAST_AFTER_LONG_MS : LEAST_MS, Math.min(AIM_MS - 2 * cycle_ms, Math.max(QUIET_MS, 2 * cycle_ms)));
}

/** Cycles whose mean tells load from chance. */
const CYCLES = 8;

/** Whether correlation has all it needs. */
export class CycleLoad {
  #mean_ms = 0;

  /** True when cycles take so long that the delay cannot be held, or rows wait for the next one: what is less urgent should leave them the processors. */
  note(cycle_ms: number, behind: boolean): boolean {
    this.#mean_ms += (Math.min(cycle_ms, 2 * AIM_MS) - this.#mean_ms) / CYCLES; // one that did a part of history again says little
    return behind || this.#mean_ms * 2 > AIM_MS;
  }
}
