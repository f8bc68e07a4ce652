// Whether a service keeps the order of its requests: an event loop or a queue does, even where delays alone would let calls overtake
// each other. Compared are neighbouring calls to one callee, of requests open at the same time, with what two delays drawn at random would do.
import type { Problem } from './problem.ts';

const MOST_WORTH = 3;
const PRIOR = 6;

export class OrderHabit {
  readonly #problem: Problem;
  readonly #next_same: Int32Array;
  readonly #previous_same: Int32Array;
  /** Per callee: log of how many times more often than by chance. */
  readonly worth: Float64Array;

  constructor(problem: Problem) {
    this.#problem = problem;
    const calls = problem.call_callee.length;
    this.#next_same = new Int32Array(calls).fill(-1);
    this.#previous_same = new Int32Array(calls).fill(-1);
    this.worth = new Float64Array(problem.callees);
    const last = new Int32Array(problem.callees).fill(-1);
    for (let call = 0; call < calls; call += 1) {
      const callee = problem.call_callee[call] as number;
      const before = last[callee] as number;
      if (before !== -1) this.#next_same[before] = call;
      this.#previous_same[call] = before;
      last[callee] = call;
    }
  }

  learn(chosen: Int32Array, random: () => number): void {
    const { callees, candidates, call_callee, call_start, request_start } = this.#problem;
    const delays: number[][] = Array.from({ length: callees }, () => []);
    for (let call = 0; call < chosen.length; call += 1) {
      const at = chosen[call] as number;
      if (at >= 0) (delays[call_callee[call] as number] as number[]).push((call_start[call] as number) - (request_start[candidates[at] as number] as number));
    }
    const sorted = delays.map((own) => Float64Array.from(own).sort());
    const kept = new Float64Array(callees);
    const by_chance = new Float64Array(callees);
    const pairs = new Float64Array(callees);
    for (let call = 0; call < chosen.length; call += 1) {
      const order = this.#order(chosen, call);
      if (order === 0) continue;
      const callee = call_callee[call] as number;
      const own = sorted[callee] as Float64Array;
      const next = this.#next_same[call] as number;
      const apart = Math.abs((request_start[candidates[chosen[call] as number] as number] as number) - (request_start[candidates[chosen[next] as number] as number] as number));
      const from = firstFrom(own, apart);
      if (from >= own.length) continue;
      const first = own[from + Math.floor(random() * (own.length - from))] as number;
      const second = apart + (own[Math.floor(random() * own.length)] as number);
      pairs[callee] = (pairs[callee] as number) + 1;
      kept[callee] = (kept[callee] as number) + (order > 0 ? 1 : 0);
      by_chance[callee] = (by_chance[callee] as number) + (first < second ? 1 : first === second ? 0.5 : 0);
    }
    for (let callee = 0; callee < callees; callee += 1) {
      const all = pairs[callee] as number;
      const expected = ((by_chance[callee] as number) + 0.5) / (all + 1);
      const seen = ((kept[callee] as number) + PRIOR * expected) / (all + PRIOR);
      this.worth[callee] = Math.max(0, Math.min(MOST_WORTH, Math.log(seen / (1 - seen)) - Math.log(expected / (1 - expected))));
    }
  }

  /** What the order of these calls and their neighbours speaks for the choice. */
  score(chosen: Int32Array, calls: readonly number[]): number {
    let sum = 0;
    const seen: number[] = [];
    for (const call of calls) {
      const worth = this.worth[this.#problem.call_callee[call] as number] as number;
      if (worth === 0) continue;
      for (const one of [call, this.#previous_same[call] as number]) {
        if (one === -1 || seen.includes(one)) continue;
        seen.push(one);
        if (this.#order(chosen, one) > 0) sum += worth;
      }
    }
    return sum;
  }

  /** Of a call and the next to the same callee: 1 in the order of their requests, -1 not, 0 when nothing else was possible. */
  #order(chosen: Int32Array, call: number): -1 | 0 | 1 {
    const { candidates, call_start, request_start } = this.#problem;
    const next = this.#next_same[call] as number;
    if (next === -1) return 0;
    const [at, at_next] = [chosen[call] as number, chosen[next] as number];
    if (at === -1 || at_next === -1) return 0;
    const [start, start_next] = [request_start[candidates[at] as number] as number, request_start[candidates[at_next] as number] as number];
    if (start === start_next || start_next > (call_start[call] as number)) return 0;
    return start < start_next ? 1 : -1;
  }
}

function firstFrom(sorted: Float64Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
