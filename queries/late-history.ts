// Parts of history that have to be done again because rows of theirs landed late: noted in the data folder, so that who comes after a kill knows of
// them, and done a piece at a time between live cycles.
import type { Warehouse } from '../ingest/warehouse.ts';
import { LateRanges, type TimeRange } from './late-ranges.ts';
import type { ChangeReport } from './history-changes.ts';

export interface LateHistoryOptions {
  readonly now_ms: () => number;
  /** Shortest pause between two rewrites. */
  readonly pause_ms: number;
  readonly log: (line: string) => void;
  /** Does a part again. */
  readonly redo: (range: TimeRange) => Promise<ChangeReport>;
  /** Up to when live cycles have decided: what comes later is not history yet. */
  readonly cut_ns: () => bigint;
}

/** Spans of a part that is done again between two cycles, about: live cycles do not stand still for long. */
const MOST_REDONE = 200_000;
const NEVER = 9_000_000_000_000_000_000n;

export class LateHistory {
  readonly #warehouse: Warehouse;
  readonly #options: LateHistoryOptions;
  readonly #ranges: LateRanges;
  /** False: the ledger does not know all of it yet. */
  #noted = true;

  constructor(warehouse: Warehouse, options: LateHistoryOptions) {
    this.#warehouse = warehouse;
    this.#options = options;
    this.#ranges = new LateRanges({ now_ms: options.now_ms, pause_ms: options.pause_ms });
  }

  /** What a process before this one has left. */
  async takeUp(): Promise<void> {
    const late = await this.#warehouse.late();
    if (late !== null) this.#ranges.add([late]);
  }

  /** To be called before the rows count as read. */
  async add(ranges: readonly TimeRange[]): Promise<void> {
    if (this.#ranges.add(ranges)) this.#noted = false;
    if (this.#noted || this.#ranges.range === undefined) return;
    await this.#warehouse.noteLate(this.#ranges.range);
    this.#noted = true;
  }

  /** Nothing older is done again: the segments of that time have gone. */
  oldest_ns(): bigint {
    return this.#warehouse.derivedSegments(0n, NEVER).reduce((oldest, { from_ns }) => (from_ns < oldest ? from_ns : oldest), NEVER);
  }

  /** The part that is due, if any; all there is when `now`. */
  async redo(now: boolean): Promise<void> {
    const { now_ms, log, redo, cut_ns } = this.#options;
    const all = this.#ranges.take(now);
    if (all === undefined) return;
    const range = now ? all : this.#firstOf(all);
    // What is decided from now on is decided with what was late: without an end, the rest would never be done.
    const rest = { from_ns: range.to_ns + 1n, to_ns: all.to_ns < cut_ns() ? all.to_ns : cut_ns() };
    if (range !== all && rest.from_ns <= rest.to_ns) this.#ranges.add([rest]);
    const begun = now_ms();
    const changes = await redo(range)
      .catch((error: unknown) => {
        this.#ranges.add([range]); // it is still to be done
        throw error;
      })
      .finally(() => this.#ranges.took(now_ms() - begun));
    if (this.#ranges.range === undefined) await this.#warehouse.noteLate(null);
    log(`late events: ${changes.spans} spans from ${new Date(Number(range.from_ns / 1_000_000n)).toISOString()} on were correlated again, ${changes.links_gained + changes.links_lost + changes.links_moved} links changed`);
  }

  #firstOf(range: TimeRange): TimeRange {
    const spans = new Map(this.#warehouse.segments.map((segment) => [segment.uid, segment.rows?.get('spans') ?? 0]));
    let [to_ns, sum] = [range.from_ns, 0];
    for (const segment of this.#warehouse.derivedSegments(range.from_ns, range.to_ns).toSorted((a, b) => (a.from_ns < b.from_ns ? -1 : 1))) {
      sum += spans.get(segment.id) ?? 0;
      if (sum > MOST_REDONE && to_ns > range.from_ns) return { from_ns: range.from_ns, to_ns };
      if (segment.to_ns > to_ns) to_ns = segment.to_ns;
    }
    return range;
  }
}
