// How probable a delay is, learned from delays seen: a histogram that is fine for short delays and logarithmic for long ones, smoothed.
// Delays count in ticks of the clock, so that times known to the millisecond only (many ties) are judged as such.

/** Delays below this many ticks have a bin each; above, a bin is 1/16 wide. */
const SINGLE = 16;
const BINS = 416;
/** One delay in so many may be anything. */
const STRAY_SHARE = 0.003;

const EDGES = Float64Array.from({ length: BINS + 1 }, (_, bin) => (bin <= SINGLE ? bin : Math.max(bin, Math.ceil(SINGLE * Math.exp((bin - SINGLE) / SINGLE)))));
const WIDTHS = Float64Array.from({ length: BINS }, (_, bin) => Math.max(1, (EDGES[bin + 1] as number) - (EDGES[bin] as number)));

/** `delay`: ticks, at least 0. */
export function binOf(delay: number): number {
  if (delay < SINGLE) return delay < 0 ? 0 : Math.floor(delay);
  return Math.min(BINS - 1, SINGLE + Math.floor(Math.log(delay / SINGLE) * SINGLE));
}

export class DelayCounts {
  readonly bins = new Float64Array(BINS);
  total = 0;

  add(delay: number, weight: number): void {
    const bin = binOf(delay);
    this.bins[bin] = (this.bins[bin] as number) + weight;
    this.total += weight;
  }

  /** Older delays weigh less from here on. */
  fade(by: number): void {
    for (let bin = 0; bin < BINS; bin += 1) this.bins[bin] = (this.bins[bin] as number) * by;
    this.total *= by;
  }
}

function binAt(counts: DelayCounts, share: number): number {
  let sum = 0;
  for (let bin = 0; bin < BINS; bin += 1) {
    sum += counts.bins[bin] as number;
    if (sum >= share * counts.total) return bin;
  }
  return BINS - 1;
}

/** The delay, in ticks, that so large a share of all delays does not exceed. */
export function delayAt(counts: DelayCounts, share: number): number {
  return EDGES[binAt(counts, share) + 1] as number;
}

function spread(counts: DelayCounts): number {
  return Math.max(1, (binAt(counts, 0.9) - binAt(counts, 0.1)) / 2.56);
}

/** Probability per tick, by bin. Few delays lean on `prior`, what is known of similar ones, and that on anything being possible. */
export function delayDensity(counts: DelayCounts, prior?: Float64Array, prior_weight = 8): Float64Array {
  const mass = new Float64Array(BINS);
  if (counts.total > 0) {
    const width = Math.max(0.6, 0.9 * spread(counts) * counts.total ** -0.2);
    const reach = Math.ceil(width * 4);
    // From -reach to reach.
    const kernel = Float64Array.from({ length: 2 * reach + 1 }, (_, at) => Math.exp((-0.5 * (at - reach) * (at - reach)) / (width * width)));
    const whole = sumOf(kernel, 0, 2 * reach);
    for (let bin = 0; bin < BINS; bin += 1) {
      const count = counts.bins[bin] as number;
      if (count === 0) continue;
      const [from, to] = [Math.max(0, bin - reach), Math.min(BINS - 1, bin + reach)];
      const shift = reach - bin;
      const sum = to - from === 2 * reach ? whole : sumOf(kernel, from + shift, to + shift);
      for (let near = from; near <= to; near += 1) mass[near] = (mass[near] as number) + (count * (kernel[near + shift] as number)) / sum;
    }
  }
  const anything = 0.5 + counts.total * STRAY_SHARE;
  const known = prior === undefined ? 0 : prior_weight;
  const all = counts.total + anything + known;
  // A loop: `map` of a typed array takes several times as long, and this runs a thousand times a second.
  for (let bin = 0; bin < BINS; bin += 1) mass[bin] = (((mass[bin] as number) + anything / BINS) / (WIDTHS[bin] as number) + known * (prior === undefined ? 0 : (prior[bin] as number))) / all;
  return mass;
}

function sumOf(values: Float64Array, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at <= to; at += 1) sum += values[at] as number;
  return sum;
}
