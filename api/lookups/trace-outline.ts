// The shape of a trace: who is under whom, and which spans a limited answer takes. Level by level from the top, so that what is
// left out is the deepest and the latest, and never lies between spans that are there.

/** What the shape is made of, by start time. */
export interface OutlineSpan {
  readonly span_id: bigint;
  readonly parent_span_id: bigint | null;
}

export interface OutlineLimits {
  readonly max_spans: number;
  /** Only this span and what is below it. */
  readonly root?: bigint | undefined;
  /** Levels below the top ones. */
  readonly depth?: number | undefined;
}

export interface Chosen {
  /** Places in the list, by start time. */
  readonly places: readonly number[];
  /** Spans at and below the root that was asked for; of the whole trace where none was. */
  readonly within: number;
  /** Top spans of the trace that did not fit. */
  readonly roots_omitted: number;
  /** Children of each span by its place: all of them, and how many were not taken. */
  childrenOf(place: number): { readonly count: number; readonly omitted: number };
}

const NONE = -1;

/** Null: the root that was asked for is not there. Spans whose parent is not there are at the top; of a circle, its first span. */
export function chooseSpans(spans: readonly OutlineSpan[], limits: OutlineLimits): Chosen | null {
  const place_of = new Map(spans.map(({ span_id }, place) => [span_id, place]));
  const parents = Int32Array.from(spans, ({ parent_span_id }) => (parent_span_id === null ? NONE : (place_of.get(parent_span_id) ?? NONE)));
  // Lists of siblings, by start: they are put together from the end.
  const first_child = new Int32Array(spans.length).fill(NONE);
  const next_sibling = new Int32Array(spans.length).fill(NONE);
  const counts = new Int32Array(spans.length);
  for (let place = spans.length - 1; place >= 0; place--) {
    const parent = parents[place] as number;
    if (parent === NONE) continue;
    next_sibling[place] = first_child[parent] as number;
    first_child[parent] = place;
    counts[parent] = (counts[parent] as number) + 1;
  }

  const seen = new Uint8Array(spans.length);
  const below = (level: readonly number[], visit: (level: readonly number[], depth: number) => void): void => {
    for (let depth = 0; level.length > 0; depth++) {
      visit(level, depth);
      const next: number[] = [];
      for (const place of level) {
        for (let child = first_child[place] as number; child !== NONE; child = next_sibling[child] as number) {
          if (seen[child] === 1) continue;
          seen[child] = 1;
          next.push(child);
        }
      }
      level = next.toSorted((a, b) => a - b);
    }
  };

  let top: number[];
  if (limits.root === undefined) {
    top = [...spans.keys()].filter((place) => parents[place] === NONE);
    for (const place of top) seen[place] = 1;
    below(top, () => undefined);
    for (const place of spans.keys()) {
      if (seen[place] === 1) continue;
      top.push(place);
      seen[place] = 1;
      below([place], () => undefined);
    }
    seen.fill(0);
  } else {
    const root = place_of.get(limits.root);
    if (root === undefined) return null;
    top = [root];
  }

  for (const place of top) seen[place] = 1;
  const taken = new Uint8Array(spans.length);
  let [left, within] = [limits.max_spans, 0];
  below(top, (level, depth) => {
    within += level.length;
    if (limits.depth !== undefined && depth > limits.depth) return;
    for (const place of level.slice(0, left)) taken[place] = 1;
    left = Math.max(0, left - level.length);
  });
  const taken_children = new Int32Array(spans.length);
  spans.forEach((_, place) => {
    const parent = parents[place] as number;
    if (parent !== NONE && taken[place] === 1) taken_children[parent] = (taken_children[parent] as number) + 1;
  });
  return {
    places: [...spans.keys()].filter((place) => taken[place] === 1),
    within,
    roots_omitted: top.filter((place) => taken[place] === 0).length,
    childrenOf: (place) => ({ count: counts[place] as number, omitted: (counts[place] as number) - (taken_children[place] as number) }),
  };
}
