// Which request caused each call of one service, from timing and structure: a first guess, then a model of the service and the
// assignment by turns until both fit, then samples of assignments, whose shares are the probabilities.
import { guessFirst, type FirstGuess } from './first-guess.ts';
import type { Problem } from './problem.ts';
import { Sampler } from './sampler.ts';
import { ServiceModel } from './service-model.ts';

export interface Resolution {
  /** Per candidate. What is left to 1 is the probability that none of them is it. */
  readonly probabilities: Float64Array;
  /** Per call the most probable whole: index of its candidate, or -1. */
  readonly chosen: Int32Array;
  /** Per call where it may go: indexes of candidates, -1 for nowhere; the chosen one first. */
  readonly places: number[][];
  readonly model: ServiceModel;
}

export interface ResolveOptions {
  readonly random?: () => number;
  /** Of the same calls, where to begin. */
  readonly first?: Resolution;
  readonly sample_sweeps?: number;
  /** False: only probabilities are wanted, not the most probable whole. */
  readonly cool?: boolean;
  /** Where the first guess is less sure on average of calls that have a choice, it stays the answer: more work would not make it better. */
  readonly give_up_below?: number;
  /** Awaited between steps of some milliseconds: other work may go on. */
  readonly pause?: () => Promise<void>;
}

const MOST_OPTIONS = 10;
/** Weighing these costs little. */
const FEW_CALLS = 200;
const LEAST_WEIGHT = 1e-4;
/** What is learned while links still roam, and after that. */
const ROAMING = { rounds: 4, sweeps: 8 } as const;
const COOLING_SWEEPS = 40;
const SETTLING = { rounds: 4, sweeps: 6 } as const;
/** Where no more of the calls than this have a choice, the others say what is to be learned: every other round learns. */
const MOSTLY_KNOWN = { share: 0.25, every: 2 } as const;

export async function resolveService(problem: Problem, options: ResolveOptions = {}): Promise<Resolution> {
  const { random = seededRandom(1), sample_sweeps = 100, cool = true, give_up_below = 0, pause = async () => undefined, first } = options;
  const guess = first === undefined ? guessFirst(problem) : undefined;
  if (guess !== undefined && meanBest(problem, guess.weights) < give_up_below) return { probabilities: guess.weights, chosen: guess.chosen, places: [], model: new ServiceModel(problem.callees) };
  await pause();
  const places = first?.places ?? placesOf(problem, guess as FirstGuess);
  const model = new ServiceModel(problem.callees);
  const sampler = new Sampler(problem, model, places, random);
  const ticks = Math.max(1, problem.request_start.at(-1) ?? 1);
  const learn = (keep: number): void => {
    model.fade(keep);
    sampler.teach(1);
    model.learnTime(ticks);
    model.refresh();
    sampler.rescore();
  };
  const mostly_known = sampler.open.length <= MOSTLY_KNOWN.share * places.length;
  if (first !== undefined) learn(0);
  for (let round = 0; round < ROAMING.rounds; round += 1) {
    if (!mostly_known || round % MOSTLY_KNOWN.every === 0) learn(round < 2 && first === undefined ? 0 : 0.5);
    for (let sweep = 0; sweep < ROAMING.sweeps; sweep += 1) {
      sampler.sweep(2.5 - round / ROAMING.rounds);
      await pause();
    }
  }
  sampler.focus();
  for (let round = 0; round < SETTLING.rounds; round += 1) {
    if (!mostly_known || round % MOSTLY_KNOWN.every === 0) learn(round === 0 ? 0 : 0.7);
    for (let sweep = 0; sweep < SETTLING.sweeps; sweep += 1) {
      sampler.sweep(1);
      await pause();
    }
  }
  sampler.temper();
  const probabilities = new Float64Array(problem.candidates.length);
  const { open, chosen } = sampler;
  for (const at of chosen) if (at !== -1) probabilities[at] = 1;
  for (const call of open) probabilities.fill(0, problem.offsets[call], problem.offsets[call + 1]);
  for (let sweep = 0; sweep < sample_sweeps; sweep += 1) {
    sampler.sweep(1);
    await pause();
    for (const call of open) {
      const at = chosen[call] as number;
      if (at !== -1) probabilities[at] = (probabilities[at] as number) + 1 / sample_sweeps;
    }
  }
  for (let step = 1; cool && step <= COOLING_SWEEPS; step += 1) {
    sampler.sweep(1 - step / (COOLING_SWEEPS + 1));
    await pause();
  }
  return { probabilities, chosen, places: places.map((own, call) => [chosen[call] as number, ...own.filter((at) => at !== chosen[call])]), model };
}

/** Of calls with a choice, if they are many. */
function meanBest({ offsets }: Problem, weights: Float64Array): number {
  let [calls, sum] = [0, 0];
  for (let call = 0; call + 1 < offsets.length; call += 1) {
    const [from, to] = [offsets[call] as number, offsets[call + 1] as number];
    if (to - from < 2) continue;
    let best = 0;
    for (let at = from; at < to; at += 1) best = Math.max(best, weights[at] as number);
    calls += 1;
    sum += best;
  }
  return calls < FEW_CALLS ? 1 : sum / calls;
}

/** Per call where it may go, the guess first. */
function placesOf({ offsets }: Problem, { weights, chosen }: FirstGuess): number[][] {
  return Array.from(chosen, (own, call) => {
    const worth = (at: number): number => (at === own ? 2 : (weights[at] as number));
    const places: number[] = [];
    for (let at = offsets[call] as number; at < (offsets[call + 1] as number); at += 1) if (worth(at) >= LEAST_WEIGHT) places.push(at);
    places.sort((a, b) => worth(b) - worth(a)).splice(MOST_OPTIONS);
    if (own === -1) places.unshift(-1);
    else if (places.length > 1) places.push(-1);
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
