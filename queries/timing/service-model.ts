// What a service does with a request, learned from requests whose calls are (more or less) known: which callees it calls in which
// order, how often, and which event of the request each call follows, after what delay. The score of a request with a set of calls
// is the logarithm of how probable that course of events is: calls in sequence, in parallel, in loops and in any mix of them.
import { DelayCounts, binOf, delayAt, delayDensity } from './delay-density.ts';
import { GroupCounts } from './group-counts.ts';
import type { Problem } from './problem.ts';

/**
 * What an event may follow: the request's start, the start of the last request of its group, whatever answer came last, the last answer
 * from one callee, the last call to one callee.
 */
const START = 0;
const GROUP_START = 1;
const LAST_ANSWER = 2;
const ANSWER_OF = 3;

interface Term {
  readonly follows: number;
  readonly counts: DelayCounts;
  /** How often it was this that the event followed. */
  weight: number;
  density: Float64Array;
}

/** Everything that is known of one event (a call to a callee, or the answer) of an operation. */
interface Event {
  readonly terms: Term[];
  readonly by_follows: Map<number, Term>;
  /** The terms worth a look. */
  used: Term[];
  count: number;
}

interface Operation {
  requests: number;
  /** How often each order of calls was seen, by its hash. */
  readonly orders: Map<number, number>;
  /** Share of all requests that have exactly the order of another one. */
  order_share: number;
  /** How often one callee came after another; -1: start, or end. */
  readonly next: Map<number, number>;
  readonly next_total: Map<number, number>;
  order_score: Map<number, number>;
  next_score: Map<number, number>;
  outlived: number;
  calls: number;
}

export interface LearnedDelay {
  /** A callee, or 'answer'. */
  readonly event: string;
  readonly follows: string;
  readonly count: number;
  readonly median_ns: number;
  readonly p90_ns: number;
}

const EMPTY_ORDER = 17;
const LEAST = 1e-300;

function addTo<K>(map: Map<K, number>, key: K, by: number): void {
  map.set(key, (map.get(key) ?? 0) + by);
}

export class ServiceModel {
  readonly #events = new Map<number, Event>();
  readonly #operations = new Map<number, Operation>();
  readonly groups = new GroupCounts();
  readonly #callees: number;
  /** The answer stands where a callee's number would. */
  readonly #answer: number;
  /** log of how many calls to a callee nobody asked for come in a tick. */
  readonly stray_score: Float64Array;
  readonly #stray_counts: Float64Array;
  #ticks = 0;

  constructor(callees: number) {
    this.#callees = callees;
    this.#answer = callees;
    this.stray_score = new Float64Array(callees).fill(-40);
    this.#stray_counts = new Float64Array(callees);
  }

  #event(operation: number, kind: number, context: number): Event {
    const key = (context * 4096 + operation) * (this.#callees + 1) + kind;
    let event = this.#events.get(key);
    if (event === undefined) {
      event = { terms: [], by_follows: new Map(), used: [], count: 0 };
      this.#events.set(key, event);
    }
    return event;
  }

  #operation(operation: number): Operation {
    let known = this.#operations.get(operation);
    if (known === undefined) {
      known = { requests: 0, orders: new Map(), order_share: 0, next: new Map(), next_total: new Map(), order_score: new Map(), next_score: new Map(), outlived: 0, calls: 0 };
      this.#operations.set(operation, known);
    }
    return known;
  }

  /** Ticks since what the event may follow; -1: there is no such thing. `calls` in order of start, of which those before `at` count. */
  #delay(problem: Problem, follows: number, now: number, request: number, calls: readonly number[], at: number): number {
    if (follows === START) return now - (problem.request_start[request] as number);
    if (follows === GROUP_START) return problem.group_start[request] === problem.request_start[request] ? -1 : now - (problem.group_start[request] as number);
    const { call_start, call_end, call_callee } = problem;
    let latest = -1;
    if (follows === LAST_ANSWER) {
      for (let i = 0; i < at; i += 1) {
        const end = call_end[calls[i] as number] as number;
        if (end <= now && end > latest) latest = end;
      }
    } else if (follows < ANSWER_OF + this.#callees) {
      const callee = follows - ANSWER_OF;
      for (let i = 0; i < at; i += 1) {
        const call = calls[i] as number;
        const end = call_end[call] as number;
        if (call_callee[call] === callee && end <= now && end > latest) latest = end;
      }
    } else {
      const callee = follows - ANSWER_OF - this.#callees;
      for (let i = at - 1; i >= 0; i -= 1) {
        const call = calls[i] as number;
        if (call_callee[call] === callee) {
          latest = call_start[call] as number;
          break;
        }
      }
    }
    return latest < 0 ? -1 : now - latest;
  }

  #eventScore(problem: Problem, event: Event, now: number, request: number, calls: readonly number[], at: number): number {
    let sum = 0;
    let weights = 0;
    for (const term of event.used) {
      const delay = this.#delay(problem, term.follows, now, request, calls, at);
      if (delay < 0) continue;
      weights += term.weight;
      sum += term.weight * (term.density[binOf(delay)] as number);
    }
    return weights === 0 ? Math.log(LEAST) : Math.log(sum / weights + LEAST);
  }

  /** `calls` in order of start. */
  score(problem: Problem, request: number, calls: readonly number[]): number {
    const { call_start, call_end, call_callee } = problem;
    const operation = problem.request_operation[request] as number;
    const known = this.#operation(operation);
    const end = problem.request_end[request] as number;
    const open = end === Infinity;
    let sum = 0;
    let order = EMPTY_ORDER;
    let chain = 0;
    let before = -1;
    let outlived = 0;
    let context = 0;
    for (let i = 0; i < calls.length; i += 1) {
      const call = calls[i] as number;
      const callee = call_callee[call] as number;
      sum += this.#eventScore(problem, this.#event(operation, callee, context), call_start[call] as number, request, calls, i);
      order = (Math.imul(order, 0x9e3779b1) + callee + 1) | 0;
      chain += known.next_score.get(this.#nextKey(before, callee)) ?? -12;
      before = callee;
      context |= 1 << (callee % 20);
      if ((call_end[call] as number) > end) outlived += 1;
    }
    if (open) return sum + chain;
    chain += known.next_score.get(this.#nextKey(before, -1)) ?? -12;
    sum += Math.log((1 - known.order_share) * Math.exp(chain) + known.order_share * (known.order_score.get(order) ?? 0) + LEAST);
    const outlives = (known.outlived + 0.02) / (known.calls + 2);
    sum += outlived * Math.log(outlives) + (calls.length - outlived) * Math.log(1 - outlives);
    return sum + this.#eventScore(problem, this.#event(operation, this.#answer, context), end, request, calls, calls.length);
  }

  /** What the delay of each call, and of the answer, adds to the score. */
  parts(problem: Problem, request: number, calls: readonly number[]): number[] {
    const { call_start, call_callee } = problem;
    const operation = problem.request_operation[request] as number;
    let context = 0;
    const out: number[] = [];
    for (let i = 0; i < calls.length; i += 1) {
      const call = calls[i] as number;
      const callee = call_callee[call] as number;
      out.push(this.#eventScore(problem, this.#event(operation, callee, context), call_start[call] as number, request, calls, i));
      context |= 1 << (callee % 20);
    }
    out.push(this.#eventScore(problem, this.#event(operation, this.#answer, context), problem.request_end[request] as number, request, calls, calls.length));
    return out;
  }

  #nextKey(before: number, after: number): number {
    return (before + 1) * (this.#callees + 1) + after + 1;
  }

  /** Counts a request with its calls, in order of start. */
  learn(problem: Problem, request: number, calls: readonly number[], weight: number): void {
    const { call_start, call_end, call_callee } = problem;
    const operation = problem.request_operation[request] as number;
    const known = this.#operation(operation);
    const end = problem.request_end[request] as number;
    if (end === Infinity) return;
    let order = EMPTY_ORDER;
    let before = -1;
    let context = 0;
    for (let i = 0; i < calls.length; i += 1) {
      const call = calls[i] as number;
      const callee = call_callee[call] as number;
      this.#learnEvent(problem, this.#event(operation, callee, context), call_start[call] as number, request, calls, i, weight);
      order = (Math.imul(order, 0x9e3779b1) + callee + 1) | 0;
      addTo(known.next, this.#nextKey(before, callee), weight);
      addTo(known.next_total, before, weight);
      before = callee;
      context |= 1 << (callee % 20);
      known.calls += weight;
      if ((call_end[call] as number) > end) known.outlived += weight;
    }
    addTo(known.next, this.#nextKey(before, -1), weight);
    addTo(known.next_total, before, weight);
    addTo(known.orders, order, weight);
    known.requests += weight;
    this.#learnEvent(problem, this.#event(operation, this.#answer, context), end, request, calls, calls.length, weight);
  }

  #learnEvent(problem: Problem, event: Event, now: number, request: number, calls: readonly number[], at: number, weight: number): void {
    // What it may have followed, each as far as that is probable by what is known already.
    const found: { term: Term; bin: number; delay: number; share: number }[] = [];
    const seen = new Set<number>();
    const consider = (follows: number): void => {
      if (seen.has(follows)) return;
      seen.add(follows);
      const delay = this.#delay(problem, follows, now, request, calls, at);
      if (delay < 0) return;
      let term = event.by_follows.get(follows);
      if (term === undefined) {
        term = { follows, counts: new DelayCounts(), weight: 0, density: new Float64Array(0) };
        event.by_follows.set(follows, term);
        event.terms.push(term);
      }
      const bin = binOf(delay);
      found.push({ term, bin, delay, share: term.density.length === 0 ? -1 : term.weight * (term.density[bin] as number) });
    };
    consider(START);
    consider(GROUP_START);
    for (let i = 0; i < at; i += 1) {
      const callee = problem.call_callee[calls[i] as number] as number;
      consider(LAST_ANSWER);
      consider(ANSWER_OF + callee);
      consider(ANSWER_OF + this.#callees + callee);
    }
    const known = found.reduce((sum, one) => sum + Math.max(0, one.share), 0);
    for (const { term, delay, share } of found) {
      const part = share < 0 || known === 0 ? 1 / found.length : share / known;
      if (part > 0.001) term.counts.add(delay, weight * part);
    }
    event.count += weight;
  }

  learnStray(callee: number, weight: number): void {
    this.#stray_counts[callee] = (this.#stray_counts[callee] as number) + weight;
  }

  learnTime(ticks: number): void {
    this.#ticks += ticks;
  }

  /** What was learned so far weighs less from here on. */
  fade(by: number): void {
    for (const event of this.#events.values()) {
      event.count *= by;
      for (const term of event.terms) term.counts.fade(by);
    }
    for (const known of this.#operations.values()) {
      known.requests *= by;
      known.outlived *= by;
      known.calls *= by;
      for (const map of [known.orders, known.next, known.next_total]) for (const [key, count] of map) map.set(key, count * by);
    }
    this.groups.fade(by);
    for (let callee = 0; callee < this.#callees; callee += 1) this.#stray_counts[callee] = (this.#stray_counts[callee] as number) * by;
    this.#ticks *= by;
  }

  #pooledKey(kind: number, follows: number): number {
    return kind * (2 * this.#callees + ANSWER_OF) + follows;
  }

  /** What all operations of the service have in common. */
  #pooled(): Map<number, DelayCounts> {
    const pooled = new Map<number, DelayCounts>();
    for (const [event_key, event] of this.#events) {
      const kind = event_key % (this.#callees + 1);
      for (const { follows, counts } of event.terms) {
        const at = this.#pooledKey(kind, follows);
        let all = pooled.get(at);
        if (all === undefined) pooled.set(at, (all = new DelayCounts()));
        for (let bin = 0; bin < counts.bins.length; bin += 1) all.bins[bin] = (all.bins[bin] as number) + (counts.bins[bin] as number);
        all.total += counts.total;
      }
    }
    return pooled;
  }

  /** For people: what each event mostly follows, and after how long. `names` of the callees; a tick's length in ns. */
  describe(names: readonly string[], tick_ns: number): LearnedDelay[] {
    const nameOf = (callee: number): string => names[callee] ?? 'answer';
    const followed = (follows: number): string => {
      if (follows === START) return 'the request';
      if (follows === GROUP_START) return 'the last request of the trace';
      if (follows === LAST_ANSWER) return 'the last answer';
      return follows < ANSWER_OF + this.#callees ? `the answer of ${nameOf(follows - ANSWER_OF)}` : `the call to ${nameOf(follows - ANSWER_OF - this.#callees)}`;
    };
    const kinds = 2 * this.#callees + ANSWER_OF;
    const all = [...this.#pooled()].map(([key, counts]) => ({ kind: Math.floor(key / kinds), follows: key % kinds, counts }));
    return all
      .filter(({ kind, counts }) => counts.total >= 0.1 * all.reduce((sum, other) => sum + (other.kind === kind ? other.counts.total : 0), 0))
      .map(({ kind, follows, counts }) => ({ event: nameOf(kind), follows: followed(follows), count: Math.round(counts.total), median_ns: Math.round(delayAt(counts, 0.5) * tick_ns), p90_ns: Math.round(delayAt(counts, 0.9) * tick_ns) }))
      .toSorted((a, b) => (a.event === b.event ? b.count - a.count : a.event < b.event ? -1 : 1));
  }

  /** Makes scores follow what was learned. */
  refresh(): void {
    // Operations lean on what all operations of the service have in common.
    const pooled = this.#pooled();
    const priors = new Map([...pooled].map(([at, counts]) => [at, delayDensity(counts)]));
    const one_operation = this.#operations.size <= 1;
    for (const [event_key, event] of this.#events) {
      const kind = event_key % (this.#callees + 1);
      const total = event.terms.reduce((sum, term) => sum + term.counts.total, 0);
      for (const term of event.terms) {
        term.weight = (term.counts.total + 0.01) / (total + 0.01 * event.terms.length);
        const prior = priors.get(this.#pooledKey(kind, term.follows));
        term.density = one_operation && prior !== undefined ? prior : delayDensity(term.counts, prior);
      }
      event.used = event.terms.filter((term) => term.weight > 0.02 || term.follows === START);
    }
    for (const known of this.#operations.values()) this.#refreshOrders(known);
    for (let callee = 0; callee < this.#callees; callee += 1) this.stray_score[callee] = Math.log(((this.#stray_counts[callee] as number) + 0.1) / (this.#ticks + 1));
  }

  #refreshOrders(known: Operation): void {
    const all = this.#callees + 1;
    known.next_score = new Map();
    for (const [before, total] of known.next_total) {
      for (let after = -1; after < this.#callees; after += 1) {
        const at = this.#nextKey(before, after);
        known.next_score.set(at, Math.log(((known.next.get(at) ?? 0) + 0.5 / all) / (total + 0.5)));
      }
    }
    known.order_score = new Map();
    let repeated = 0;
    for (const [order, count] of known.orders) {
      known.order_score.set(order, count / known.requests);
      if (count > 1.5) repeated += count;
    }
    known.order_share = known.requests === 0 ? 0 : Math.min(0.99, (repeated / known.requests) * (known.requests / (known.requests + 5)));
  }
}
