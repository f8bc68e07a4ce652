// The assignment problem, sparse: each call goes to at most one request, each request takes at most its capacity of calls, the sum
// of the weights is the greatest possible. Shortest augmenting paths with potentials: the cost of a call is that of its neighbourhood.

export interface AssignmentProblem {
  readonly calls: number;
  /** Calls that each request can take. */
  readonly capacities: ArrayLike<number>;
  /** The candidates of call i: offsets[i] to offsets[i + 1]. */
  readonly offsets: ArrayLike<number>;
  readonly requests: ArrayLike<number>;
  /** Worth of the candidate; a call that goes nowhere is worth 0, so that candidates below 0 are never taken. */
  readonly weights: ArrayLike<number>;
}

const NONE = -1;

/** A heap of (distance, node), nearest first; outdated entries are skipped by whoever takes them. */
class Heap {
  readonly #distances: number[] = [];
  readonly #nodes: number[] = [];

  get size(): number {
    return this.#nodes.length;
  }

  push(distance: number, node: number): void {
    const [distances, nodes] = [this.#distances, this.#nodes];
    let at = nodes.length;
    distances.push(distance);
    nodes.push(node);
    while (at > 0) {
      const up = (at - 1) >> 1;
      if ((distances[up] as number) <= distance) break;
      distances[at] = distances[up] as number;
      nodes[at] = nodes[up] as number;
      at = up;
    }
    distances[at] = distance;
    nodes[at] = node;
  }

  pop(): { distance: number; node: number } {
    const [distances, nodes] = [this.#distances, this.#nodes];
    const top = { distance: distances[0] as number, node: nodes[0] as number };
    const [distance, node] = [distances.pop() as number, nodes.pop() as number];
    const size = nodes.length;
    if (size > 0) {
      let at = 0;
      for (let down = 1; down < size; down = 2 * at + 1) {
        if (down + 1 < size && (distances[down + 1] as number) < (distances[down] as number)) down += 1;
        if ((distances[down] as number) >= distance) break;
        distances[at] = distances[down] as number;
        nodes[at] = nodes[down] as number;
        at = down;
      }
      distances[at] = distance;
      nodes[at] = node;
    }
    return top;
  }
}

/** Per call the index of its candidate in `requests`, or -1. */
export function assign({ calls, capacities, offsets, requests, weights }: AssignmentProblem): Int32Array {
  const places = capacities.length;
  const chosen = new Int32Array(calls).fill(NONE);
  const taken: number[][] = Array.from({ length: places }, () => []);
  // Duals of cost -weight: cost - call_dual - place_dual is at least 0, and 0 where chosen; call_dual is at most 0, what staying alone costs.
  const call_dual = new Float64Array(calls);
  const place_dual = new Float64Array(places);
  const distances = new Float64Array(places).fill(Infinity);
  const reached_by = new Int32Array(places).fill(NONE);
  const reaching_call = new Int32Array(places).fill(NONE);
  // Rounding may make a settled place look nearer still: it stays as it is, or paths would run in circles.
  const is_settled = new Uint8Array(places);
  const touched: number[] = [];

  for (let start = 0; start < calls; start += 1) {
    const heap = new Heap();
    const settled: number[] = [];
    const relax = (call: number, distance: number, dual: number): void => {
      for (let at = offsets[call] as number; at < (offsets[call + 1] as number); at += 1) {
        const place = requests[at] as number;
        if (at === chosen[call] || (capacities[place] as number) <= 0 || is_settled[place] === 1) continue;
        const next = distance - (weights[at] as number) - dual - (place_dual[place] as number);
        if (next >= (distances[place] as number)) continue;
        if (distances[place] === Infinity) touched.push(place);
        distances[place] = next;
        reached_by[place] = at;
        reaching_call[place] = call;
        heap.push(next, place);
      }
    };
    relax(start, 0, 0);
    // So far the cheapest: the new call stays alone.
    let best = 0;
    let leaving = start;
    let free = NONE;
    while (heap.size > 0) {
      const { distance, node: place } = heap.pop();
      if (is_settled[place] === 1) continue;
      if (distance >= best) break;
      if ((taken[place] as number[]).length < (capacities[place] as number)) {
        best = distance;
        free = place;
        break;
      }
      settled.push(place);
      is_settled[place] = 1;
      for (const call of taken[place] as number[]) {
        const dual = call_dual[call] as number;
        if (distance - dual < best) {
          best = distance - dual;
          leaving = call;
        }
        relax(call, distance, dual);
      }
    }
    for (const place of settled) {
      const by = best - (distances[place] as number);
      if (by <= 0) continue;
      place_dual[place] = (place_dual[place] as number) - by;
      for (const call of taken[place] as number[]) call_dual[call] = (call_dual[call] as number) + by;
    }
    call_dual[start] = best;

    // Along the path, backwards: every call takes the place that it reached and gives up its own.
    let place = free;
    if (free === NONE && leaving !== start) {
      place = requests[chosen[leaving] as number] as number;
      remove(taken[place] as number[], leaving);
      chosen[leaving] = NONE;
    }
    while (place !== NONE) {
      const call = reaching_call[place] as number;
      const before = chosen[call] === NONE ? NONE : (requests[chosen[call] as number] as number);
      if (before !== NONE) remove(taken[before] as number[], call);
      chosen[call] = reached_by[place] as number;
      (taken[place] as number[]).push(call);
      place = before;
    }
    for (const reached of touched) {
      distances[reached] = Infinity;
      is_settled[reached] = 0;
    }
    touched.length = 0;
  }
  return chosen;
}

function remove(calls: number[], call: number): void {
  calls.splice(calls.indexOf(call), 1);
}
