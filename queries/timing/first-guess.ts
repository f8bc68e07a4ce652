// A first assignment, callee by callee: how long after the request's start does the call start, how long before the request's end
// does it end? Learned from all candidates at once, each weighing as much as it is probable; then each callee's calls are assigned jointly.
import { assign } from './assignment.ts';
import { DelayCounts, binOf, delayDensity } from './delay-density.ts';
import type { Problem } from './problem.ts';

const ROUNDS = 6;

export interface FirstGuess {
  /** Per call its candidate's index, or -1. */
  readonly chosen: Int32Array;
  /** Per candidate how probable it is, all others of the call considered. */
  readonly weights: Float64Array;
}

/** `most`: candidates kept per call. */
export function guessFirst(problem: Problem): FirstGuess {
  const { offsets, candidates, evidence, call_callee, request_operation, request_start, request_end, call_start, call_end } = problem;
  const calls = call_callee.length;
  const requests = request_operation.length;
  const size = candidates.length;
  const kind = new Int32Array(size);
  const start_bin = new Int32Array(size);
  const end_bin = new Int32Array(size);
  const kinds = new Map<number, number>();
  const weights = new Float64Array(size);
  const callee_of_kind: number[] = [];
  const operation_of_kind: number[] = [];
  for (let call = 0; call < calls; call += 1) {
    const [from, to] = [offsets[call] as number, offsets[call + 1] as number];
    for (let at = from; at < to; at += 1) {
      const request = candidates[at] as number;
      const operation = request_operation[request] as number;
      const callee = call_callee[call] as number;
      const key = operation * problem.callees + callee;
      let number = kinds.get(key);
      if (number === undefined) {
        kinds.set(key, (number = kinds.size));
        callee_of_kind.push(callee);
        operation_of_kind.push(operation);
      }
      const slack = (request_end[request] as number) - (call_end[call] as number);
      kind[at] = number;
      start_bin[at] = binOf((call_start[call] as number) - (request_start[request] as number));
      end_bin[at] = slack >= 0 && Number.isFinite(slack) ? binOf(slack) : -1;
      weights[at] = end_bin[at] === -1 && request_end[request] !== Infinity ? 0.02 : 1;
    }
    normalise(weights, from, to);
  }
  const requests_of = new Float64Array(problem.operations);
  for (let request = 0; request < requests; request += 1) requests_of[request_operation[request] as number] = (requests_of[request_operation[request] as number] as number) + 1;

  const scores = new Float64Array(size);
  const load = new Float64Array(requests);
  const calls_by_callee: number[][] = Array.from({ length: problem.callees }, () => []);
  for (let call = 0; call < calls; call += 1) (calls_by_callee[call_callee[call] as number] as number[]).push(call);
  const expected = new Float64Array(kinds.size);
  for (let round = 0; round < ROUNDS; round += 1) {
    const starts = Array.from({ length: kinds.size }, () => new DelayCounts());
    const ends = Array.from({ length: kinds.size }, () => new DelayCounts());
    const late = new Float64Array(kinds.size);
    const all = new Float64Array(kinds.size);
    for (let at = 0; at < size; at += 1) {
      const weight = weights[at] as number;
      if (weight < 1e-4) continue;
      const k = kind[at] as number;
      addBin(starts[k] as DelayCounts, start_bin[at] as number, weight);
      all[k] = (all[k] as number) + weight;
      if (end_bin[at] !== -1) addBin(ends[k] as DelayCounts, end_bin[at] as number, weight);
      else if (request_end[candidates[at] as number] !== Infinity) late[k] = (late[k] as number) + weight;
    }
    const start_score = starts.map((counts) => delayDensity(counts).map(Math.log));
    const end_score = ends.map((counts) => delayDensity(counts).map(Math.log));
    for (let k = 0; k < kinds.size; k += 1) expected[k] = (all[k] as number) / Math.max(1, requests_of[operation_of_kind[k] as number] as number);
    for (let call = 0; call < calls; call += 1) {
      const [from, to] = [offsets[call] as number, offsets[call + 1] as number];
      for (let at = from; at < to; at += 1) {
        const k = kind[at] as number;
        const outlives = ((late[k] as number) + 0.05) / ((all[k] as number) + 5);
        const bin = end_bin[at] as number;
        // A call that outlives its request has no delay to its end; it may be anywhere in what its kind takes.
        const end = bin === -1 ? (request_end[candidates[at] as number] === Infinity ? (end_score[k]?.[60] as number) : Math.log(outlives) - 16) : ((end_score[k] as Float64Array)[bin] as number) + Math.log(1 - outlives);
        scores[at] = (evidence[at] as number) + ((start_score[k] as Float64Array)[start_bin[at] as number] as number) + end + Math.log(Math.min(1, (expected[k] as number) + 1e-6));
      }
      toWeights(scores, weights, from, to);
    }
    // Sinkhorn's way: a request has no more calls of a kind than is usual.
    for (let pass = 0; pass < 4; pass += 1) for (const own of calls_by_callee) balance(problem, own, kind, expected, weights, load);
  }
  const chosen = new Int32Array(calls).fill(-1);
  for (const own of calls_by_callee) choose(problem, own, kind, expected, weights, chosen);
  return { chosen, weights };
}

function addBin(counts: DelayCounts, bin: number, weight: number): void {
  counts.bins[bin] = (counts.bins[bin] as number) + weight;
  counts.total += weight;
}

function normalise(weights: Float64Array, from: number, to: number): void {
  let sum = 0;
  for (let at = from; at < to; at += 1) sum += weights[at] as number;
  if (sum > 0) for (let at = from; at < to; at += 1) weights[at] = (weights[at] as number) / sum;
}

function toWeights(scores: Float64Array, weights: Float64Array, from: number, to: number): void {
  let best = -Infinity;
  for (let at = from; at < to; at += 1) best = Math.max(best, scores[at] as number);
  for (let at = from; at < to; at += 1) weights[at] = Math.exp((scores[at] as number) - best);
  normalise(weights, from, to);
}

/** Each request's share of the calls is at most what is usual, then each call's candidates sum up to 1 again. */
function balance({ offsets, candidates }: Problem, calls: readonly number[], kind: Int32Array, expected: Float64Array, weights: Float64Array, load: Float64Array): void {
  for (const call of calls) for (let at = offsets[call] as number; at < (offsets[call + 1] as number); at += 1) load[candidates[at] as number] = 0;
  for (const call of calls) for (let at = offsets[call] as number; at < (offsets[call + 1] as number); at += 1) load[candidates[at] as number] = (load[candidates[at] as number] as number) + (weights[at] as number);
  for (const call of calls) {
    const [from, to] = [offsets[call] as number, offsets[call + 1] as number];
    for (let at = from; at < to; at += 1) {
      const most = Math.max(1, Math.ceil((expected[kind[at] as number] as number) - 0.2));
      const held = load[candidates[at] as number] as number;
      if (held > most) weights[at] = ((weights[at] as number) * most) / held;
    }
    normalise(weights, from, to);
  }
}

function choose(problem: Problem, calls: readonly number[], kind: Int32Array, expected: Float64Array, weights: Float64Array, chosen: Int32Array): void {
  const capacities = new Int32Array(problem.request_operation.length);
  const offsets = [0];
  const requests: number[] = [];
  const worth: number[] = [];
  const origin: number[] = [];
  for (const call of calls) {
    for (let at = problem.offsets[call] as number; at < (problem.offsets[call + 1] as number); at += 1) {
      const request = problem.candidates[at] as number;
      capacities[request] = Math.max(1, Math.ceil((expected[kind[at] as number] as number) - 0.2));
      requests.push(request);
      origin.push(at);
      worth.push(40 + Math.max(-30, Math.log((weights[at] as number) + 1e-13)));
    }
    offsets.push(requests.length);
  }
  const found = assign({ calls: calls.length, capacities, offsets, requests, weights: worth });
  for (let i = 0; i < calls.length; i += 1) if ((found[i] as number) >= 0) chosen[calls[i] as number] = origin[found[i] as number] as number;
}
