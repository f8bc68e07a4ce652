// Which sealed segments become one. Levels: 0 as sealed, 1 minutes, 2 an hour, 3 a day.
// Every attached file costs each query some 0.5 ms of planning, every level one more copy of all rows.
import type { Segment } from './segment-catalog.ts';
import { rowsIn } from './segment-tables.ts';

export const HOUR_NS = 3_600_000_000_000n;
export const DAY_NS = 24n * HOUR_NS;
/** After the end of an hour until its last segment has surely been sealed. */
const SETTLE_NS = 120_000_000_000n;

export interface CompactionLimits {
  /** So many of level 0 become one of level 1. */
  readonly small: number;
  /** Or fewer, if they hold so many rows together: of their small row groups DuckDB keeps descriptions in memory, outside of its limit. */
  readonly small_rows?: number;
  /** So many raw files that correlation has not come to stay apart, the oldest: every query over views plans all of them. */
  readonly to_be_read?: number;
  /** So many of level 1 become one of level 2 before their hour is over. */
  readonly minutes: number;
  /** Beyond so many hours, those of days long past become one a day. */
  readonly hours: number;
  /** Files of a finished hour stay apart as long as newer ones of it keep coming. */
  readonly idle_ms: number;
}

export const COMPACTION_LIMITS: CompactionLimits = { small: 24, small_rows: 6_000_000, to_be_read: 240, minutes: 60, hours: 48, idle_ms: 60_000 };
const MOST_INPUTS = 96;
/** Smaller files are mostly blocks that are not full. */
const WORTH_PACKING_BYTES = 8 * 1024 * 1024;

export interface CompactionPlan {
  readonly inputs: readonly Segment[];
  readonly level: number;
  /** How many small files of that hour wait, these among them. */
  readonly waiting?: number;
}

/** The first two or more, as many as it takes. */
function upToRows(run: readonly Segment[], most_rows: number): readonly Segment[] {
  let rows = 0;
  const end = run.findIndex((segment, at) => (rows += rowsIn([segment])) >= most_rows && at > 0);
  return end < 0 ? run : run.slice(0, end + 1);
}

const byHour = (segment: Segment): bigint => segment.to_ns / HOUR_NS;

/** Runs of neighbours that fit, so that ranges of segments stay free of each other. */
export function runsOf(segments: readonly Segment[], fits: (segment: Segment, first: Segment) => boolean): Segment[][] {
  const runs: Segment[][] = [];
  let run: Segment[] = [];
  for (const segment of segments) {
    if (fits(segment, run[0] ?? segment)) run.push(segment);
    else {
      runs.push(run);
      run = fits(segment, segment) ? [segment] : [];
    }
  }
  return [...runs, run].filter((found) => found.length > 1);
}

export interface CompactionRules {
  readonly limits?: CompactionLimits;
  /** Those of different groups stay apart. */
  readonly groupOf?: (segment: Segment) => string;
  /** To be read yet as they are: they stay, and so does what a finished hour holds besides. */
  readonly waits?: (segment: Segment) => boolean;
}

/** Of one kind's sealed segments, the next ones to put together; null when all is well. */
export function planCompaction(sealed: readonly Segment[], now_ms: number, { limits = COMPACTION_LIMITS, groupOf = () => '', waits = () => false }: CompactionRules = {}): CompactionPlan | null {
  const now_ns = BigInt(Math.floor(now_ms)) * 1_000_000n;
  const ordered = sealed.toSorted((a, b) => (a.to_ns < b.to_ns ? -1 : a.to_ns > b.to_ns ? 1 : 0));
  const waited = new Set(ordered.filter(waits).map(byHour));
  const take = (run: readonly Segment[], level: number): CompactionPlan => ({ inputs: run.slice(0, MOST_INPUTS), level });

  for (const run of runsOf(ordered, (s, first) => s.level === 0 && !waits(s) && byHour(s) === byHour(first) && groupOf(s) === groupOf(first))) {
    const most_rows = limits.small_rows ?? Infinity;
    const inputs = upToRows(run, most_rows);
    const enough = rowsIn(inputs) >= most_rows;
    if (inputs.length >= limits.small || enough) return { ...take(inputs, 1), waiting: run.length };
  }
  for (const run of runsOf(ordered, (s, first) => s.level <= 2 && !waits(s) && byHour(s) === byHour(first) && groupOf(s) === groupOf(first))) {
    const last = run.at(-1) as Segment;
    const over = (byHour(last) + 1n) * HOUR_NS + SETTLE_NS <= now_ns;
    const idle = run.every((segment) => now_ms - segment.born_ms >= limits.idle_ms);
    if (over && idle && !waited.has(byHour(last))) return take(run, 2);
    const minutes = run.filter((segment) => segment.level === 1);
    if (minutes.length >= limits.minutes) {
      const together = runsOf(run, (s) => s.level === 1)[0];
      if (together !== undefined && together.length >= limits.minutes / 2) return take(together, 2);
    }
  }
  // One alone is packed, too, once its hour is over.
  const alone = ordered.find((s) => s.level === 0 && !waited.has(byHour(s)) && s.bytes >= WORTH_PACKING_BYTES && (byHour(s) + 1n) * HOUR_NS + SETTLE_NS <= now_ns && now_ms - s.born_ms >= limits.idle_ms);
  if (alone !== undefined) return take([alone], 2);
  if (ordered.filter((segment) => segment.level === 2).length > limits.hours) {
    const [oldest] = runsOf(ordered, (s, first) => s.level >= 2 && s.level <= 3 && s.to_ns / DAY_NS === first.to_ns / DAY_NS && (s.to_ns / DAY_NS + 2n) * DAY_NS <= now_ns && groupOf(s) === groupOf(first));
    if (oldest !== undefined) return take(oldest, 3);
  }
  return null;
}
