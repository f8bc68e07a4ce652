// The calls and requests of one service as arrays: numbers stand for requests, calls, operations and callees.

export interface Problem {
  readonly operations: number;
  readonly callees: number;
  /** Times in ticks since the first of them; an end that is not known yet is Infinity. In order of start. */
  readonly request_start: Float64Array;
  readonly request_end: Float64Array;
  readonly request_operation: Int32Array;
  readonly call_start: Float64Array;
  readonly call_end: Float64Array;
  readonly call_callee: Int32Array;
  /** The candidates of call i: offsets[i] to offsets[i + 1] of the two below. */
  readonly offsets: Int32Array;
  readonly candidates: Int32Array;
  /** Natural logarithm of what other evidence says for it. */
  readonly evidence: Float64Array;
  /** Requests that belong to one trace, as far as that is known already, have the same number; -1: alone. */
  readonly request_group: Int32Array;
  /** When the last request of the group started; the request's own start where it is alone. */
  readonly group_start: Float64Array;
}

export function withGroups(problem: Problem, request_group: Int32Array): Problem {
  const last = new Map<number, number>();
  request_group.forEach((group, request) => last.set(group, Math.max(last.get(group) ?? 0, problem.request_start[request] as number)));
  return { ...problem, request_group, group_start: problem.request_start.map((start, request) => (request_group[request] === -1 ? start : (last.get(request_group[request] as number) as number))) };
}

/** What a pass over all calls costs: each is tried at each request that it may be of, which is weighed by all pairs of its calls. */
export function workOf({ offsets, candidates, request_start }: Problem): number {
  const [possible, likely] = [new Float64Array(request_start.length), new Float64Array(request_start.length)];
  for (let call = 0; call + 1 < offsets.length; call += 1) {
    const [from, to] = [offsets[call] as number, offsets[call + 1] as number];
    for (let at = from; at < to; at += 1) {
      const request = candidates[at] as number;
      possible[request] = (possible[request] as number) + 1;
      likely[request] = (likely[request] as number) + 1 / (to - from);
    }
  }
  return possible.reduce((sum, calls, request) => sum + calls * (likely[request] as number) ** 2, 0);
}
