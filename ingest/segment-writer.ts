// The open segment of a kind, the empty one that takes over from it, and the moment between.
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { checkpointBytes, requireRoom } from './disk-room.ts';
import type { FewValues } from './few-values.ts';
import { Lanes } from './lanes.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import { newUid, openName } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { eventRows, openAlias, sealWhileRead } from './segment-seal.ts';
import { countRows, totalRows } from './segment-tables.ts';
import type { SegmentTables } from './segment-tables.ts';

/** A segment with nothing but bookkeeping in it is sealed this rarely. */
const QUIET_SEAL_MS = 60_000;

export interface SegmentWriterOptions {
  readonly kind: SegmentKind;
  readonly folder: string;
  readonly catalog: SegmentCatalog;
  readonly tables: SegmentTables;
  /** For checkpoints, which take their time. */
  readonly sealer: DuckDBConnection;
  readonly now: () => number;
  /** Of its texts, for new files. */
  readonly few_values: FewValues;
  /** Looks for them in a file before the next one is made. */
  readonly learn?: (closing: Segment) => Promise<void>;
}

/** Transactions that append at the same time. One keeps one core busy, and a batch waits for nothing but its turn to commit. */
export const WRITING_LANES = 2;

export class SegmentWriter {
  readonly #options: SegmentWriterOptions;
  readonly #writing = new Lanes(WRITING_LANES);
  #open: Segment;
  #spare: Segment | null;
  #sealed_at: number;

  private constructor(options: SegmentWriterOptions, open: Segment, spare: Segment) {
    this.#options = options;
    this.#open = open;
    this.#spare = spare;
    this.#sealed_at = options.now();
  }

  /** start_ns: where the range of a derived segment begins. */
  static async start(options: SegmentWriterOptions, start_ns: bigint): Promise<SegmentWriter> {
    return new SegmentWriter(options, await createSegment(options, 'open', start_ns), await createSegment(options, 'spare', start_ns));
  }

  get segments(): Segment[] {
    return this.#spare === null ? [this.#open] : [this.#open, this.#spare];
  }

  get open(): Segment {
    return this.#open;
  }

  /** With no other write beside it, and not while the open segment changes. */
  write<T>(work: (open: Segment) => Promise<T>): Promise<T> {
    return this.#writing.alone(() => work(this.#open));
  }

  /** At most WRITING_LANES at a time, begun in the order asked for, and none while the open segment changes. `alone`: whether there may be none beside it in this one. */
  writeBeside<T>(work: (open: Segment, lane: number) => Promise<T>, alone: (open: Segment) => boolean): Promise<T> {
    return this.#writing.run((lane) => work(this.#open, lane), () => alone(this.#open));
  }

  /** Calls must not overlap. Does nothing when there is nothing to seal; `always`: even if that is only bookkeeping. */
  async seal(always: boolean): Promise<void> {
    const { kind, folder, catalog, tables, sealer, now, learn } = this.#options;
    await catalog.attachGivenUp();
    // What an earlier attempt (a full disk) left behind goes first.
    for (const segment of catalog.of(kind).filter((other) => other.state === 'sealing')) {
      await requireRoom(folder, checkpointBytes(segment.path));
      beginAfter(await sealWhileRead(sealer, catalog, tables, segment), this.#open);
    }
    const rows = await countRows(sealer, this.#open.alias);
    if (totalRows(rows) === 0) return;
    if (!always && eventRows(rows) === 0 && now() - this.#sealed_at < QUIET_SEAL_MS) return;
    await requireRoom(folder, checkpointBytes(this.#open.path));
    const next = await this.#readySpare();
    const closing = await this.write(async (open) => {
      open.state = 'sealing';
      next.state = 'open';
      if (kind === 'derived') next.from_ns = next.to_ns = open.to_ns;
      this.#open = next;
      this.#spare = null;
      return open;
    });
    this.#sealed_at = now();
    await learn?.(closing);
    this.#spare = await createSegment(this.#options, 'spare', next.from_ns);
    beginAfter(await sealWhileRead(sealer, catalog, tables, closing, [this.#spare]), next);
  }

  async #readySpare(): Promise<Segment> {
    const { catalog, kind } = this.#options;
    const spare = this.#spare ?? (await createSegment(this.#options, 'spare', this.#open.from_ns));
    this.#spare = spare;
    if (!catalog.segments.includes(spare)) await catalog.publish(kind, (segments) => [...segments, spare]);
    return spare;
  }

  /** Settles when the writes under way are done. */
  idle(): Promise<void> {
    return this.#writing.alone(async () => undefined);
  }
}

/** Rows beyond the cut that was noted belong to the segment they are in. */
function beginAfter(sealed: Segment, next: Segment): void {
  if (next.kind !== 'derived' || sealed.to_ns <= next.from_ns) return;
  next.from_ns = sealed.to_ns;
  if (next.to_ns < next.from_ns) next.to_ns = next.from_ns;
}

async function createSegment({ kind, folder, catalog, now, few_values }: SegmentWriterOptions, state: 'open' | 'spare', start_ns: bigint): Promise<Segment> {
  const uid = newUid();
  const born_ms = now();
  const at = kind === 'derived' ? start_ns : BigInt(Math.floor(born_ms)) * 1_000_000n;
  const segment: Segment = { kind, uid, level: 0, state, alias: openAlias(kind, uid), path: join(folder, kind, openName(uid)), from_ns: at, to_ns: at, rows: null, bytes: 0, last_apply_no: null, born_ms, enumerations: few_values.forNewFile() };
  await catalog.create(segment.path, kind, segment);
  return segment;
}
