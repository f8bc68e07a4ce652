// A long time in pieces of about so many rows, so that what is gathered of one piece fits into memory however long the history is.
import type { NsRange } from './trace-index.ts';

/** Rows of a file, spread evenly over these ranges. */
export interface SpreadRows {
  readonly ranges: readonly NsRange[];
  readonly rows: number;
}

interface Step {
  readonly at_ns: bigint;
  /** Rows a nanosecond: so many more from here on. */
  readonly more: number;
}

function stepsOf(files: readonly SpreadRows[]): Step[] {
  const steps: Step[] = [];
  for (const { ranges, rows } of files) {
    const length_ns = ranges.reduce((sum, { from_ns, to_ns }) => sum + Number(to_ns - from_ns) + 1, 0);
    for (const { from_ns, to_ns } of ranges) steps.push({ at_ns: from_ns, more: rows / length_ns }, { at_ns: to_ns + 1n, more: -rows / length_ns });
  }
  return steps.toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : a.at_ns > b.at_ns ? 1 : 0));
}

/** In order of time; together they are the whole range. A piece may hold more rows than `most` where many are of one instant. */
export function windowsOfRows(files: readonly SpreadRows[], { from_ns, to_ns }: NsRange, most: number): NsRange[] {
  const windows: NsRange[] = [];
  let [begin_ns, here_ns, density, rows] = [from_ns, from_ns, 0, 0];
  const cut = (at_ns: bigint): void => {
    if (at_ns <= begin_ns) return;
    windows.push({ from_ns: begin_ns, to_ns: at_ns - 1n });
    [begin_ns, here_ns, rows] = [at_ns, at_ns, 0];
  };
  const advance = (until_ns: bigint): void => {
    if (rows >= most) cut(here_ns);
    for (;;) {
      const full_ns = density > 0 ? here_ns + BigInt(Math.max(1, Math.ceil((most - rows) / density))) : until_ns;
      if (full_ns >= until_ns) break;
      cut(full_ns);
    }
    rows += Number(until_ns - here_ns) * density;
    here_ns = until_ns;
  };
  for (const { at_ns, more } of stepsOf(files)) {
    if (at_ns > to_ns) break;
    if (at_ns > here_ns) advance(at_ns);
    density = Math.max(0, density + more);
  }
  advance(to_ns + 1n);
  return [...windows, { from_ns: begin_ns, to_ns }];
}
