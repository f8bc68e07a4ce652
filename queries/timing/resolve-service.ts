// Which request caused each call of one service, from timing and structure: a first guess, then a model of the service and the
// assignment by turns until both fit, then samples of assignments, whose shares are the probabilities.
import { guessFirst } from './first-guess.ts';
import type { Problem } from './problem.ts';
import { Sampler } from './sampler.ts';
import { ServiceModel } from './service-model.ts';

export interface Resolution {
  /** Per candidate. What is left to 1 is the probability that none of them is it. */
  readonly probabilities: Float64Array;
  /** Per call the most probable whole: index of its candidate, or -1. */
  readonly chosen: Int32Array;
  readonly model: ServiceModel;
}

export interface ResolveOptions {
  readonly random?: () => number;
  /** Of the same calls, where to begin. */
  readonly first?: Resolution;
  readonly learn_sweeps?: number;
  readonly sample_sweeps?: number;
}

const MOST_OPTIONS = 10;
const LEAST_WEIGHT = 1e-4;
const LEARN_ROUNDS = 10;
/** By then everything that could move at a high temperature has. */
const FOCUS_ROUND = 5;

export function resolveService(problem: Problem, options: ResolveOptions = {}): Resolution {
  const { random = seededRandom(1), learn_sweeps = 8, sample_sweeps = 100 } = options;
  const first = guessFirst(problem);
  if (options.first !== undefined) first.chosen.set(options.first.chosen);
  const model = new ServiceModel(problem.callees);
  const sampler = new Sampler(problem, model, first.chosen, optionsOf(problem, first.weights, first.chosen), random);
  const ticks = Math.max(1, problem.request_start.at(-1) ?? 1);
  for (let round = 0; round < LEARN_ROUNDS; round += 1) {
    if (round > 0) model.fade(round < 3 ? 0 : 0.7);
    sampler.teach(1);
    model.learnTime(ticks);
    model.refresh();
    sampler.rescore();
    if (round === FOCUS_ROUND) sampler.focus();
    const temperature = 1 + 2 * Math.max(0, 1 - round / (LEARN_ROUNDS - 4));
    for (let sweep = 0; sweep < learn_sweeps; sweep += 1) sampler.sweep(temperature);
  }
  const probabilities = new Float64Array(problem.candidates.length);
  const open = sampler.open;
  for (let call = 0; call < sampler.chosen.length; call += 1) if (sampler.chosen[call] !== -1) probabilities[sampler.chosen[call] as number] = 1;
  for (const call of open) probabilities.fill(0, problem.offsets[call], problem.offsets[call + 1]);
  for (let sweep = 0; sweep < sample_sweeps; sweep += 1) {
    sampler.sweep(1);
    for (const call of open) {
      const at = sampler.chosen[call] as number;
      if (at !== -1) probabilities[at] = (probabilities[at] as number) + 1 / sample_sweeps;
    }
  }
  for (let sweep = 0; sweep < 10; sweep += 1) sampler.sweep(0.3);
  for (let sweep = 0; sweep < 15; sweep += 1) sampler.sweep(0.01);
  return { probabilities, chosen: sampler.chosen, model };
}

function optionsOf({ offsets }: Problem, weights: Float64Array, chosen: Int32Array): number[][] {
  return Array.from(chosen, (own, call) => {
    const places = [];
    for (let at = offsets[call] as number; at < (offsets[call + 1] as number); at += 1) if ((weights[at] as number) >= LEAST_WEIGHT || at === own) places.push(at);
    if (places.length > MOST_OPTIONS) {
      const worth = (at: number): number => (at === own ? 2 : (weights[at] as number));
      places.sort((a, b) => worth(b) - worth(a)).splice(MOST_OPTIONS);
    }
    if (places.length !== 1) places.push(-1);
    return places;
  });
}

/** mulberry32: the same input has the same result. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
