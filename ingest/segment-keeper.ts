// Everything that puts new sealed segments in place of old ones, one at a time: compaction in the background, which
// steps aside for the others: a swap of re-correlated derived segments, what an export gathers, and retention.
import type { DuckDBConnection } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';
import { Compactor, CopyMemory } from './compactor.ts';
import type { CopyPace } from './compactor.ts';
import { requireRoom } from './disk-room.ts';
import type { ExportedSegments } from './export-ledger.ts';
import { Mutex } from './mutex.ts';
import { LASTING_LAYOUT } from './segment-catalog.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import { COMPACTION_LIMITS, planCompaction } from './segment-compaction.ts';
import type { CompactionLimits, CompactionPlan } from './segment-compaction.ts';
import { SEGMENT_KINDS } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { rewriteSegments } from './segment-rewrite.ts';
import type { FileMaker, RewriteContext } from './segment-rewrite.ts';
import type { SegmentTables } from './segment-tables.ts';
import type { SegmentWriter } from './segment-writer.ts';

export interface KeeperOptions {
  readonly folder: string;
  readonly catalog: SegmentCatalog;
  /** For derived segments that are computed again; used for nothing else. */
  readonly connection: DuckDBConnection;
  readonly tables: SegmentTables;
  readonly now: () => number;
  /** What has been exported and what has not stays in files of its own. */
  readonly exported: ExportedSegments;
  readonly limits?: CompactionLimits;
}

export interface DroppedFiles {
  readonly files: number;
  readonly bytes: number;
}

interface Range {
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

function cover(ranges: readonly Range[]): Range {
  return {
    from_ns: ranges.map((range) => range.from_ns).reduce((a, b) => (a < b ? a : b)),
    to_ns: ranges.map((range) => range.to_ns).reduce((a, b) => (a > b ? a : b)),
  };
}

function giveUpRange(open: Segment): Range {
  const range = { from_ns: open.from_ns, to_ns: open.to_ns };
  open.from_ns = open.to_ns;
  return range;
}

/** So many small files wait to be put together: no longer, not even for what is more urgent, as each costs every query half a millisecond. */
const MOST_WAIT = 240;

/** Pauses, in those of a machine that has time. */
export function restOf(waiting: number, pressed: boolean): number {
  if (waiting >= MOST_WAIT) return 0;
  return pressed ? 6 : 1;
}

const sizeOf = (segments: readonly Segment[]): number => segments.reduce((sum, segment) => sum + segment.bytes, 0);

export class SegmentKeeper {
  readonly #options: KeeperOptions;
  readonly #mutex = new Mutex();
  #urgent = 0;
  readonly #copy_memory = new CopyMemory();
  #compacting: Promise<void> | undefined;
  /** Callers that wait for all of it. */
  #awaited = 0;
  /** At work now. */
  #compactor: Compactor | undefined;
  /** Of the last compaction: the others have their turn, where raw files are always due. */
  #last: SegmentKind | undefined;
  /** Batches up to here have been correlated; null: nobody does. */
  read_to: bigint | null = null;
  /** Something more urgent lacks processors. */
  pressed = false;
  /** The last compaction was given up for something more urgent: the next one does not take as long. */
  #given_up = false;
  #closed = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  async #first<T>(work: () => Promise<T>): Promise<T> {
    this.#urgent += 1;
    this.#compactor?.interrupt();
    try {
      return await this.#mutex.run(work);
    } finally {
      this.#urgent -= 1;
    }
  }

  #planOf(kind: SegmentKind): CompactionPlan | null {
    const { catalog, now, limits = COMPACTION_LIMITS, exported } = this.#options;
    const waits = this.#toBeRead();
    return planCompaction(catalog.sealed(kind), now(), { limits, groupOf: (segment) => exported.groupOf(segment), waits: (segment) => waits.has(segment) });
  }

  #next(): { kind: SegmentKind; plan: CompactionPlan } | null {
    for (const kind of SEGMENT_KINDS.toSorted((a, b) => Number(a === this.#last) - Number(b === this.#last))) {
      const plan = this.#planOf(kind);
      if (plan !== null) return { kind, plan };
    }
    return null;
  }

  /** Puts together what is due, until nothing is or something more urgent comes. At most one at a time. */
  async compact(): Promise<void> {
    if (this.#compacting !== undefined || this.#closed) return;
    this.#compacting = this.#compactDue().finally(() => (this.#compacting = undefined));
    await this.#compacting;
  }

  /** The same without pauses, and what is being put together at leisure is waited for. */
  async compactNow(): Promise<void> {
    this.#awaited += 1;
    try {
      while (this.#compacting !== undefined) await this.#compacting.catch(() => undefined);
      await this.compact();
    } finally {
      this.#awaited -= 1;
    }
  }

  async #compactDue(): Promise<void> {
    await this.#mutex.run(() => this.#renewUnread());
    if (this.#next() === null || this.#closed) return;
    const { folder, tables } = this.#options;
    await Compactor.with({ folder, tables, memory: this.#copy_memory }, (compactor) => this.#compactAll(compactor));
  }

  async #compactAll(compactor: Compactor): Promise<void> {
    for (let due = this.#next(); due !== null && !this.#closed && this.#urgent === 0; due = this.#next()) {
      const done = await this.#mutex.run(async () => {
        // What was due may have gone while this waited.
        const still = this.#next();
        if (still === null || this.#closed) return true;
        if (this.#urgent > 0 || compactor.interrupted) return false;
        this.#last = still.kind;
        return this.#merge(compactor, still.kind, still.plan);
      });
      if (!done) return;
    }
  }

  /** Raw files that correlation comes to next: it reads a part of one in each cycle, which as a part of a larger one, in another order, would be all of that. */
  #toBeRead(): ReadonlySet<Segment> {
    const { read_to } = this;
    if (read_to === null) return new Set();
    const { catalog, limits = COMPACTION_LIMITS } = this.#options;
    const waiting = catalog.sealed('raw').flatMap((segment) => (segment.level === 0 && segment.last_apply_no !== null && segment.last_apply_no > read_to ? [{ segment, last: segment.last_apply_no }] : []));
    return new Set(waiting.toSorted((a, b) => (a.last < b.last ? -1 : 1)).slice(0, limits.to_be_read).map(({ segment }) => segment));
  }

  async #renewUnread(except: readonly Segment[] = []): Promise<void> {
    for (const kind of SEGMENT_KINDS) if (!this.#closed) await this.#options.catalog.renewUnread(kind, except);
  }

  async #merge(compactor: Compactor, kind: SegmentKind, { inputs, level }: CompactionPlan): Promise<boolean> {
    this.#compactor = compactor;
    try {
      await requireRoom(this.#options.folder, sizeOf(inputs));
      await this.#copy(compactor, kind, inputs, level, {
        rest: () => (this.#awaited > 0 ? 0 : restOf(this.#planOf(kind)?.waiting ?? 0, this.pressed && !this.#given_up)),
        between: () => this.#renewUnread(inputs),
      });
      this.#given_up = false;
      return true;
    } catch (error) {
      if (!compactor.interrupted || !compactor.hasFailed(error)) throw error;
      this.#given_up = true;
      return false;
    } finally {
      this.#compactor = undefined;
    }
  }

  async #copy(compactor: Compactor, kind: SegmentKind, inputs: readonly Segment[], level: number, pace: CopyPace): Promise<Segment> {
    const fill = async (alias: string): Promise<void> => {
      await compactor.copy(kind, inputs, alias, pace);
      this.#compactor = undefined; // what is left is done soon: no reason to throw all of it away
    };
    const { segment } = await rewriteSegments(this.#rewriting(compactor.maker), { kind, inputs, level, ...cover(inputs), fill });
    return segment;
  }

  /** The given derived segments, sealed by now, give way to one that fill writes. */
  replaceDerived(ids: readonly string[], writer: SegmentWriter, range: Range | undefined, fill: (alias: string, connection: DuckDBConnection) => Promise<void>): Promise<void> {
    return this.#first(async () => {
      const { folder, catalog, connection } = this.#options;
      const found = catalog.of('derived').filter((segment) => ids.includes(segment.uid));
      if (found.length < new Set(ids).size || found.some((segment) => segment.state === 'sealing')) {
        throw new TracehouseError('segments-changed', 'derived segments were rewritten meanwhile', { mend: 'ask for them again' });
      }
      const inputs = found.filter((segment) => segment.state === 'sealed');
      const ranges: Range[] = inputs.map(({ from_ns, to_ns }) => ({ from_ns, to_ns }));
      if (range !== undefined) ranges.push(range);
      await requireRoom(folder, sizeOf(inputs));
      // An open one that is still open held no rows: what it covered so far goes to the new one.
      const given = ids.includes(writer.open.uid) ? await writer.write(async (open) => ({ open, range: giveUpRange(open) })) : undefined;
      if (given !== undefined) ranges.push(given.range);
      if (ranges.length === 0) throw new RangeError('nothing to replace, and no range given for what is new');
      const level = inputs.reduce((highest, segment) => Math.max(highest, segment.level), 0);
      try {
        await rewriteSegments(this.#rewriting(this.#own_maker), { kind: 'derived', inputs, level, recomputed: true, ...cover(ranges), fill: (alias) => fill(alias, connection), when: (swap) => writer.write(swap) });
      } catch (error) {
        // A part of history that no segment covers would never be done again.
        if (given !== undefined && given.open.from_ns === given.range.to_ns) given.open.from_ns = given.range.from_ns;
        throw error;
      }
    });
  }

  /** Runs work while no segment is put in place of others. `gather` makes one segment of sealed neighbours. */
  hold<T>(work: (gather: (segments: readonly Segment[]) => Promise<Segment>) => Promise<T>): Promise<T> {
    return this.#first(() =>
      work(async (inputs) => {
        const [only] = inputs;
        if (only === undefined || inputs.length === 1) return only as Segment;
        await requireRoom(this.#options.folder, sizeOf(inputs));
        const level = inputs.reduce((highest, input) => Math.max(highest, input.level), 1);
        const { folder, tables } = this.#options;
        return Compactor.with({ folder, tables, memory: this.#copy_memory, awaited: true }, (compactor) => this.#copy(compactor, only.kind, inputs, level, { rest: () => 0 }));
      }),
    );
  }

  /** Drops the sealed segments that choose names, whole files; `keep` runs once before any goes. */
  async drop(choose: (sealed: readonly Segment[]) => readonly Segment[], keep: (leaving: readonly Segment[]) => Promise<void>): Promise<DroppedFiles> {
    const { catalog } = this.#options;
    const chosen = (): readonly Segment[] => choose(catalog.segments.filter((segment) => segment.state === 'sealed'));
    if (chosen().length === 0) return { files: 0, bytes: 0 }; // nothing has to make way for that
    return this.#first(async () => {
      const leaving = chosen();
      if (leaving.length === 0) return { files: 0, bytes: 0 };
      await keep(leaving);
      const gone: Promise<void>[] = [];
      for (const kind of SEGMENT_KINDS) {
        const own = leaving.filter((segment) => segment.kind === kind);
        if (own.length === 0) continue;
        await catalog.publish(kind, (segments) => segments.filter((segment) => !own.includes(segment)));
        gone.push(catalog.retire(own));
      }
      await Promise.all(gone);
      return { files: leaving.length, bytes: sizeOf(leaving) };
    });
  }

  get #own_maker(): FileMaker {
    const { connection, catalog } = this.#options;
    return { instance: catalog, connection, create: (path, kind, made) => catalog.create(path, kind, made, LASTING_LAYOUT), detach: (alias) => catalog.detach(alias) };
  }

  #rewriting(maker: FileMaker): RewriteContext {
    const { folder, catalog, exported } = this.#options;
    return { folder, maker, catalog, known: (uid) => exported.knows(uid) };
  }

  /** Lets the job under way finish or step aside, and starts no other. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#compactor?.interrupt();
    await this.#compacting?.catch(() => undefined);
    await this.#mutex.run(async () => undefined);
  }
}
