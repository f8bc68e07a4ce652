// Requests of one trace at the same service: a service may collect several before it goes on, and then one of them makes the calls for
// all. Learned: how many of a trace's requests make calls, and whether calls wait for the last of them.
import type { Problem } from './problem.ts';
import type { ServiceModel } from './service-model.ts';

interface Change {
  readonly gain: number;
  readonly scores: readonly (readonly [number, number])[];
}

const NOTHING: Change = { gain: 0, scores: [] };

export class RequestGroups {
  readonly #problem: Problem;
  readonly #members: number[][] = [];
  readonly #last_start: number[] = [];
  readonly #scores: number[] = [];

  constructor(problem: Problem) {
    this.#problem = problem;
    problem.request_group.forEach((group, request) => {
      if (group >= 0) (this.#members[group] ??= []).push(request);
    });
    for (const [group, members] of this.#members.entries()) this.#last_start[group] = Math.max(...members.map((request) => problem.request_start[request] as number));
  }

  rescore(model: ServiceModel, calls_of: readonly (readonly number[])[]): void {
    for (let group = 0; group < this.#members.length; group += 1) this.#scores[group] = this.#score(model, group, (request) => calls_of[request] as readonly number[]);
  }

  teach(model: ServiceModel, calls_of: readonly (readonly number[])[], weight: number): void {
    for (let group = 0; group < this.#members.length; group += 1) {
      const { size, busy, early, late } = this.#count(group, (request) => calls_of[request] as readonly number[]);
      model.groups.learn(size, busy, early, late, weight);
    }
  }

  change(model: ServiceModel, calls_of: readonly (readonly number[])[], changed: ReadonlyMap<number, readonly number[]>): Change {
    if (this.#members.length === 0) return NOTHING;
    const scores: [number, number][] = [];
    let gain = 0;
    for (const request of changed.keys()) {
      const group = this.#problem.request_group[request] as number;
      if (group === -1 || scores.some(([known]) => known === group)) continue;
      const score = this.#score(model, group, (one) => changed.get(one) ?? (calls_of[one] as readonly number[]));
      scores.push([group, score]);
      gain += score - (this.#scores[group] as number);
    }
    return { gain, scores };
  }

  accept({ scores }: Change): void {
    for (const [group, score] of scores) this.#scores[group] = score;
  }

  #score(model: ServiceModel, group: number, callsOf: (request: number) => readonly number[]): number {
    const { size, busy, early, late } = this.#count(group, callsOf);
    return model.groups.score(size, busy, early, late);
  }

  /** Early: calls before the last request of the group was there. */
  #count(group: number, callsOf: (request: number) => readonly number[]): { size: number; busy: number; early: number; late: number } {
    const members = this.#members[group] as number[];
    const last = this.#last_start[group] as number;
    let [busy, early, late] = [0, 0, 0];
    for (const request of members) {
      const calls = callsOf(request);
      if (calls.length > 0) busy += 1;
      for (const call of calls) {
        if ((this.#problem.call_start[call] as number) < last) early += 1;
        else late += 1;
      }
    }
    return { size: members.length, busy, early, late };
  }
}
