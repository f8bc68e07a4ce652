// Parts of history that have to be done again because rows of theirs landed late: noted in the data folder, so that who comes after a kill knows of
// them, and done a part at a time: a small one between two live cycles, a large one beside them.
import type { Warehouse } from '../ingest/warehouse.ts';
import { LateRanges, type TimeRange } from './late-ranges.ts';
import type { ChangeReport } from './history-changes.ts';
import { spansIn } from './history-pieces.ts';
import { NEVER } from './working-set.ts';

export interface LateHistoryOptions {
  readonly now_ms: () => number;
  /** Shortest pause between two rewrites. */
  readonly pause_ms: number;
  readonly log: (line: string) => void;
  /** Does a part again, while no cycle runs; rejects soon once it is stopped. */
  readonly redo: (range: TimeRange, stopped?: AbortSignal) => Promise<ChangeReport>;
  /** The same while cycles go on, and of segments alone that these have nothing to do with any more; rejects soon once it is stopped. */
  readonly redoBeside: (range: TimeRange, stopped: AbortSignal) => Promise<ChangeReport>;
  /** Up to when live cycles have decided: what comes later is not history yet. */
  readonly cut_ns: () => bigint;
  /** Cycles have nothing to do any more with what ended by then. */
  readonly settled_ns: () => bigint;
  /** More spans than these are done beside the cycles, as soon as these have nothing to do with them any more; 20,000, a second or so. */
  readonly beside_spans?: number | undefined;
  /** About so many are done at a time, and between two cycles at most: these do not stand still for long; 200,000. */
  readonly part_spans?: number | undefined;
}

const PART_SPANS = 200_000;
const BESIDE_SPANS = 20_000;
/** Where live cycles have stood still for so long, nothing waits for them. */
const IDLE_MS = 60_000;

const coverOf = (ranges: readonly TimeRange[]): TimeRange => ({
  from_ns: ranges.reduce((least, { from_ns }) => (from_ns < least ? from_ns : least), NEVER),
  to_ns: ranges.reduce((most, { to_ns }) => (to_ns > most ? to_ns : most), 0n),
});

export class LateHistory {
  readonly #warehouse: Warehouse;
  readonly #options: LateHistoryOptions;
  readonly #ranges: LateRanges;
  /** False: the ledger does not know all of it yet. */
  #noted = true;
  #beside: Promise<void> | undefined;
  readonly #stopped = new AbortController();
  /** What is being done again while cycles go on, here or by others. */
  readonly #at = new Set<TimeRange>();
  /** Since when live cycles have decided no more than that. */
  #stood = { cut_ns: -1n, since_ms: 0 };

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

  /** A part that is being done beside the cycles. Settles always. */
  get beside(): Promise<void> | undefined {
    return this.#beside;
  }

  /** Stored history that is being done again while cycles go on. */
  get at(): TimeRange | undefined {
    return this.#at.size === 0 ? undefined : coverOf([...this.#at]);
  }

  /** Others are at that much of history; nothing late is done again meanwhile: a part that is small would have to wait for them, and the cycles with it. */
  async pausing<T>(range: TimeRange, work: () => Promise<T>): Promise<T> {
    this.#at.add(range);
    try {
      return await work();
    } finally {
      this.#at.delete(range);
    }
  }

  /** The part that is due, if any: resolves when it is done, or has begun beside the cycles. Not to be called twice at a time. */
  async redo(): Promise<void> {
    const { now_ms, cut_ns, redo, redoBeside, beside_spans = BESIDE_SPANS, part_spans = PART_SPANS } = this.#options;
    if (this.#stood.cut_ns !== cut_ns()) this.#stood = { cut_ns: cut_ns(), since_ms: now_ms() };
    if (this.#at.size > 0 || this.#stopped.signal.aborted) return;
    const all = this.#ranges.take(false);
    if (all === undefined) return;
    const range = this.#firstOf(all);
    // What is decided from now on is decided with what was late: without an end, the rest would never be done.
    const rest = { from_ns: range.to_ns + 1n, to_ns: all.to_ns < cut_ns() ? all.to_ns : cut_ns() };
    if (range !== all && rest.from_ns <= rest.to_ns) this.#ranges.add([rest]);
    const spans = this.#spansOf(range);
    if (spans <= beside_spans) return this.#do(range, redo);
    if (this.#isSettled(range)) {
      this.#beside = this.#doBeside(range, redoBeside);
      return;
    }
    if (spans <= part_spans) return this.#do(range, redo);
    if (now_ms() - this.#stood.since_ms >= IDLE_MS) {
      return this.#do(range, () => redo(range, this.#stopped.signal)).catch((error: unknown) => {
        if (!this.#stopped.signal.aborted) throw error;
      });
    }
    this.#ranges.add([range]); // by and by it will be
    this.#ranges.took(0);
  }

  /** For a process that is to end soon: no other part is begun, and what is being done beside the cycles is given up. It stays noted for the next one. */
  stop(): void {
    this.#stopped.abort();
  }

  /** All there is; after stop, what takes moments. */
  async finish(): Promise<void> {
    await this.#beside;
    const { redo, log, beside_spans = BESIDE_SPANS } = this.#options;
    const range = this.#ranges.take(true);
    if (range === undefined) return;
    if (!this.#stopped.signal.aborted || this.#spansOf(range) <= beside_spans) return this.#do(range, redo);
    this.#ranges.add([range]);
    log('late events: what they change is correlated again after the next start');
  }

  async #do(range: TimeRange, redo: (range: TimeRange) => Promise<ChangeReport>): Promise<void> {
    const { now_ms, log } = this.#options;
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

  async #doBeside(range: TimeRange, redo: LateHistoryOptions['redoBeside']): Promise<void> {
    try {
      // Segments are done whole.
      await this.pausing(coverOf([range, ...this.#warehouse.derivedSegments(range.from_ns, range.to_ns)]), () =>
        this.#do(range, async () => {
          const changes = await redo(range, this.#stopped.signal);
          if (!this.#isSettled(range)) this.#ranges.add([range]); // a part was put together meanwhile with what is not settled, and was left out
          return changes;
        }),
      );
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#options.log(`late events: ${(error as Error).message}; trying again`);
    } finally {
      this.#beside = undefined;
    }
  }

  #isSettled(range: TimeRange): boolean {
    const settled_ns = this.#options.settled_ns();
    return this.#warehouse.derivedSegments(range.from_ns, range.to_ns).every(({ to_ns }) => to_ns <= settled_ns);
  }

  #spansOf({ from_ns, to_ns }: TimeRange): number {
    return spansIn(this.#warehouse, this.#warehouse.derivedSegments(from_ns, to_ns).map(({ id }) => id));
  }

  #firstOf(range: TimeRange): TimeRange {
    const { part_spans = PART_SPANS } = this.#options;
    let [to_ns, sum] = [range.from_ns, 0];
    for (const segment of this.#warehouse.derivedSegments(range.from_ns, range.to_ns).toSorted((a, b) => (a.from_ns < b.from_ns ? -1 : 1))) {
      sum += spansIn(this.#warehouse, [segment.id]);
      if (sum > part_spans && to_ns > range.from_ns) return { from_ns: range.from_ns, to_ns };
      if (segment.to_ns > to_ns) to_ns = segment.to_ns;
    }
    return range;
  }
}
