import { expect, test } from 'vitest';
import { assign, type AssignmentProblem } from '../queries/timing/assignment.ts';
import { seededRandom } from '../queries/timing/resolve-service.ts';

function worth(problem: AssignmentProblem, chosen: ArrayLike<number>): number {
  let sum = 0;
  for (let call = 0; call < problem.calls; call += 1) if ((chosen[call] as number) >= 0) sum += problem.weights[chosen[call] as number] as number;
  return sum;
}

function isAllowed(problem: AssignmentProblem, chosen: ArrayLike<number>): boolean {
  const left = Array.from(problem.capacities);
  for (let call = 0; call < problem.calls; call += 1) {
    const at = chosen[call] as number;
    if (at < 0) continue;
    if (at < (problem.offsets[call] as number) || at >= (problem.offsets[call + 1] as number)) return false;
    const request = problem.requests[at] as number;
    left[request] = (left[request] as number) - 1;
    if ((left[request] as number) < 0) return false;
  }
  return true;
}

/** Every way there is. */
function bruteForce(problem: AssignmentProblem, call = 0, left = Array.from(problem.capacities)): number {
  if (call === problem.calls) return 0;
  let best = bruteForce(problem, call + 1, left);
  for (let at = problem.offsets[call] as number; at < (problem.offsets[call + 1] as number); at += 1) {
    const request = problem.requests[at] as number;
    if ((left[request] as number) <= 0) continue;
    const next = left.with(request, (left[request] as number) - 1);
    best = Math.max(best, (problem.weights[at] as number) + bruteForce(problem, call + 1, next));
  }
  return best;
}

function randomProblem(random: () => number, calls: number, requests: number, whole: boolean): AssignmentProblem {
  const problem = { calls, capacities: Array.from({ length: requests }, () => Math.floor(random() * 3)), offsets: [0], requests: [] as number[], weights: [] as number[] };
  for (let call = 0; call < calls; call += 1) {
    for (let request = 0; request < requests; request += 1) {
      if (random() < 0.4) continue;
      problem.requests.push(request);
      const weight = random() * 10 - 2;
      problem.weights.push(whole ? Math.round(weight) : weight);
    }
    problem.offsets.push(problem.requests.length);
  }
  return problem;
}

test('as good as the best of all assignments, ties and full requests included', () => {
  const random = seededRandom(7);
  for (let round = 0; round < 600; round += 1) {
    const problem = randomProblem(random, 1 + Math.floor(random() * 6), 1 + Math.floor(random() * 5), round % 2 === 0);
    const chosen = assign(problem);
    expect(isAllowed(problem, chosen)).toBe(true);
    expect(worth(problem, chosen)).toBeCloseTo(bruteForce(problem), 9);
  }
});

test('a call that came first gives way when both gain', () => {
  const problem = { calls: 2, capacities: [1, 1], offsets: [0, 2, 3], requests: [0, 1, 0], weights: [5, 4, 3] };
  expect([...assign(problem)]).toEqual([1, 2]);
});

test('nobody is sent where it is worth less than nothing', () => {
  expect([...assign({ calls: 1, capacities: [1], offsets: [0, 1], requests: [0], weights: [-1] })]).toEqual([-1]);
  expect([...assign({ calls: 2, capacities: [], offsets: [0, 0, 0], requests: [], weights: [] })]).toEqual([-1, -1]);
});

test('ten thousand calls in a row of overlapping neighbourhoods take well under a second', () => {
  const random = seededRandom(3);
  const calls = 10_000;
  const offsets = [0];
  const requests: number[] = [];
  const weights: number[] = [];
  for (let call = 0; call < calls; call += 1) {
    for (let off = -6; off <= 6; off += 1) {
      if (call + off < 0 || call + off >= calls) continue;
      requests.push(call + off);
      weights.push(20 + random() * 4 - Math.abs(off));
    }
    offsets.push(requests.length);
  }
  const begun = performance.now();
  const chosen = assign({ calls, capacities: Array.from({ length: calls }, () => 1), offsets, requests, weights });
  expect(chosen.every((at) => at >= 0)).toBe(true);
  expect(performance.now() - begun).toBeLessThan(2000);
});
