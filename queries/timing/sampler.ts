// Walks over the ways to give the calls to requests, each visited as often as it is probable (Metropolis and Hastings): how often a
// call stood at a request is the probability of that link, given all the others. The steps: one call moves; two calls to the same
// callee trade places; three do, round; two requests trade all calls from a moment on.
import { OrderHabit } from './order-habit.ts';
import type { Problem } from './problem.ts';
import { RequestGroups } from './request-groups.ts';
import type { ServiceModel } from './service-model.ts';

/** Of requests with a call that still moves, when the model learns. */
const DOUBTFUL_WEIGHT = 0.05;
/** Requests that it takes to see what goes together. */
const LEAST_ROWS = 20;

export class Sampler {
  readonly #problem: Problem;
  readonly #model: ServiceModel;
  readonly #random: () => number;
  /** Per call the candidates that are worth a try: indexes of problem.candidates; -1 stands for nobody. */
  readonly #options: number[][];
  /** Calls with a choice. */
  #open: number[];
  readonly #moved: Uint8Array;
  /** Per call the index of its candidate, or -1. */
  readonly chosen: Int32Array;
  readonly calls_of: number[][];
  readonly #scores: Float64Array;
  readonly #groups: RequestGroups;
  readonly #habit: OrderHabit;
  #focused = false;
  /** How many times too much the parts of a score say when they are added up. */
  #dependence = 1;

  /** `options`: per call where it may go, and where it stands first. */
  constructor(problem: Problem, model: ServiceModel, options: number[][], random: () => number) {
    const first = Int32Array.from(options, (own) => own[0] ?? -1);
    this.#problem = problem;
    this.#model = model;
    this.#random = random;
    this.#options = options;
    this.chosen = first;
    this.calls_of = Array.from({ length: problem.request_start.length }, () => []);
    for (let call = 0; call < first.length; call += 1) {
      const at = first[call] as number;
      if (at >= 0) (this.calls_of[problem.candidates[at] as number] as number[]).push(call); // calls are in order of start
    }
    this.#moved = new Uint8Array(first.length);
    this.#open = options.flatMap((own, call) => (own.length > 1 ? [call] : []));
    this.#scores = new Float64Array(problem.request_start.length);
    this.#groups = new RequestGroups(problem);
    this.#habit = new OrderHabit(problem);
  }

  get open(): readonly number[] {
    return this.#open;
  }

  /** From here on only calls that have moved since the last time: who stayed while others roamed is sure of its place. */
  focus(): void {
    this.#focused = true;
    this.#open = this.#open.filter((call) => this.#moved[call] === 1);
    this.#moved.fill(0);
  }

  /** Requests with a call that still moves; all are alike while links roam. */
  #doubtful(): Uint8Array {
    const doubtful = new Uint8Array(this.calls_of.length);
    if (!this.#focused) return doubtful;
    for (const call of this.#open) {
      const at = this.chosen[call] as number;
      if (at !== -1) doubtful[this.#problem.candidates[at] as number] = 1;
    }
    return doubtful;
  }

  /**
   * From here on scores count for what they are worth. A request's score adds up what each event says by itself; where the delays of
   * one request are long or short together, that is said several times over. The requests without doubt show how often.
   */
  temper(): number {
    const doubtful = this.#doubtful();
    const kinds = new Map<string, number[][]>();
    for (let request = 0; request < this.calls_of.length; request += 1) {
      const calls = this.calls_of[request] as number[];
      if (calls.length === 0 || doubtful[request] === 1 || this.#problem.request_end[request] === Infinity) continue;
      const kind = `${this.#problem.request_operation[request]} ${calls.length}`;
      const parts = this.#model.parts(this.#problem, request, calls);
      const known = kinds.get(kind);
      if (known === undefined) kinds.set(kind, [parts]);
      else known.push(parts);
    }
    let [apart, together] = [0, 0];
    for (const rows of kinds.values()) {
      if (rows.length < LEAST_ROWS) continue;
      const columns = (rows[0] as number[]).map((_, column) => rows.map((row) => row[column] as number));
      for (const column of columns) apart += squares(column);
      together += squares(rows.map((row) => row.reduce((sum, part) => sum + part, 0)));
    }
    this.#dependence = apart > 0 ? Math.max(1, together / apart) : 1;
    return this.#dependence;
  }

  /** After the model has changed. */
  rescore(): void {
    for (let request = 0; request < this.calls_of.length; request += 1) this.#scores[request] = this.#model.score(this.#problem, request, this.calls_of[request] as number[]);
    this.#groups.rescore(this.#model, this.calls_of);
  }

  teach(weight: number): void {
    const doubtful = this.#doubtful();
    for (let request = 0; request < this.calls_of.length; request += 1) this.#model.learn(this.#problem, request, this.calls_of[request] as number[], doubtful[request] === 1 ? weight * DOUBTFUL_WEIGHT : weight);
    this.#groups.teach(this.#model, this.calls_of, weight);
    this.#habit.learn(this.chosen, this.#random);
    for (let call = 0; call < this.chosen.length; call += 1) if ((this.#options[call] as number[]).length === 1 && this.chosen[call] === -1) this.#model.learnStray(this.#problem.call_callee[call] as number, weight);
  }

  /** One try per open call. `temperature` 1 samples, above 1 roams, near 0 only climbs. */
  sweep(temperature: number): void {
    for (let i = 0; i < this.#open.length; i += 1) {
      const call = this.#open[Math.floor(this.#random() * this.#open.length)] as number;
      const own = this.#options[call] as number[];
      const to = own[Math.floor(this.#random() * own.length)] as number;
      if (to === this.chosen[call]) continue;
      this.#try(call, to, temperature);
    }
  }

  #try(call: number, to: number, temperature: number): boolean {
    const { candidates, call_callee } = this.#problem;
    const from = this.chosen[call] as number;
    if (from === -1 || to === -1) return this.#move([call], [to], temperature);
    const source = candidates[from] as number;
    const target = candidates[to] as number;
    const kind = this.#random();
    if (kind < 0.2) return this.#move([call], [to], temperature);
    if (kind < 0.4) return this.#tradeTails(call, source, target, temperature);
    const same = (this.calls_of[target] as number[]).filter((other) => call_callee[other] === call_callee[call]);
    if (same.length === 0) return this.#move([call], [to], temperature);
    const other = same[Math.floor(this.#random() * same.length)] as number;
    if (kind < 0.8) {
      const back = this.#optionOf(other, source);
      return back !== undefined && this.#move([call, other], [to, back], temperature);
    }
    const next = this.#options[other] as number[];
    const third_at = next[Math.floor(this.#random() * next.length)] as number;
    if (third_at === -1) return this.#move([call, other], [to, -1], temperature);
    const third = candidates[third_at] as number;
    if (third === target || third === source) return false;
    const last = (this.calls_of[third] as number[]).filter((one) => call_callee[one] === call_callee[call]);
    if (last.length === 0) return this.#move([call, other], [to, third_at], temperature);
    const final = last[Math.floor(this.#random() * last.length)] as number;
    const home = this.#optionOf(final, source);
    return home !== undefined && this.#move([call, other, final], [to, third_at, home], temperature);
  }

  #tradeTails(call: number, source: number, target: number, temperature: number): boolean {
    const { call_start } = this.#problem;
    const since = call_start[call] as number;
    const calls: number[] = [];
    const places: number[] = [];
    for (const [from, to] of [[source, target], [target, source]] as const) {
      for (const one of this.calls_of[from] as number[]) {
        if ((call_start[one] as number) < since) continue;
        const place = this.#optionOf(one, to);
        if (place === undefined) return false;
        calls.push(one);
        places.push(place);
      }
    }
    return this.#move(calls, places, temperature);
  }

  #optionOf(call: number, request: number): number | undefined {
    const { candidates } = this.#problem;
    for (const at of this.#options[call] as number[]) if (at !== -1 && candidates[at] === request) return at;
    return undefined;
  }

  #move(calls: readonly number[], places: readonly number[], temperature: number): boolean {
    const { candidates, evidence, call_callee } = this.#problem;
    const changed = new Map<number, number[]>();
    let gain = 0;
    let known = 0;
    const stray = (call: number, at: number): number => (at === -1 ? (this.#model.stray_score[call_callee[call] as number] as number) : 0);
    const evident = (at: number): number => (at === -1 ? 0 : (evidence[at] as number));
    for (let i = 0; i < calls.length; i += 1) {
      const call = calls[i] as number;
      const [from, to] = [this.chosen[call] as number, places[i] as number];
      gain += stray(call, to) - stray(call, from);
      known += evident(to) - evident(from);
      if (from !== -1) {
        const request = candidates[from] as number;
        changed.set(request, (changed.get(request) ?? (this.calls_of[request] as number[])).filter((one) => one !== call));
      }
    }
    for (let i = 0; i < calls.length; i += 1) {
      const to = places[i] as number;
      if (to === -1) continue;
      const request = candidates[to] as number;
      changed.set(request, withCall(changed.get(request) ?? (this.calls_of[request] as number[]), calls[i] as number));
    }
    const scores: number[] = [];
    for (const [request, own] of changed) {
      const score = this.#model.score(this.#problem, request, own);
      scores.push(score);
      gain += score - (this.#scores[request] as number);
    }
    const together = this.#groups.change(this.#model, this.calls_of, changed);
    gain += together.gain;
    const in_order = this.#habit.score(this.chosen, calls);
    const before = calls.map((call) => this.chosen[call] as number);
    for (let j = 0; j < calls.length; j += 1) this.chosen[calls[j] as number] = places[j] as number;
    gain += this.#habit.score(this.chosen, calls) - in_order;
    gain = gain / this.#dependence + known;
    if (gain < 0 && Math.log(this.#random()) * temperature > gain) {
      for (let j = 0; j < calls.length; j += 1) this.chosen[calls[j] as number] = before[j] as number;
      return false;
    }
    this.#groups.accept(together);
    let i = 0;
    for (const [request, own] of changed) {
      this.calls_of[request] = own;
      this.#scores[request] = scores[i] as number;
      i += 1;
    }
    for (const call of calls) this.#moved[call] = 1;
    return true;
  }
}

/** Calls are numbered in order of start. */
function withCall(calls: readonly number[], call: number): number[] {
  let at = calls.length;
  while (at > 0 && (calls[at - 1] as number) > call) at -= 1;
  return [...calls.slice(0, at), call, ...calls.slice(at)];
}

/** Sum of the squared distances to the mean. */
function squares(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
}
