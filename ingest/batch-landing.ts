// Batches into the open raw segment: each once, in the order asked for, whatever a commit says of itself.
import type { DuckDBConnection } from '@duckdb/node-api';
import { RELATION_NAMES } from '../schema/relations.ts';
import type { TracehouseError } from '../schema/errors.ts';
import { ApplyOrder } from './apply-order.ts';
import type { Batch } from './batch.ts';
import { noteBatch, outgrownBy } from './batch-values.ts';
import { checkBatch } from './batch-check.ts';
import { hasLanded, insertBatch } from './batch-insert.ts';
import { requireRoom } from './disk-room.ts';
import { widen } from './few-values.ts';
import { isInvalidated } from './duckdb-errors.ts';
import { AppliedBatches } from './ledger.ts';
import { RunStates } from './run-states.ts';
import type { Segment } from './segment-catalog.ts';
import type { BatchWriter, WarehouseParts } from './warehouse-parts.ts';

export interface ApplyResult {
  readonly status: 'applied' | 'duplicate';
  /** Of the batch just applied; of the last one applied when this was a duplicate. */
  readonly apply_no: bigint;
}

interface LandingOptions {
  readonly parts: WarehouseParts;
  readonly now: () => number;
  readonly log: (line: string) => void;
  /** What is told of an error of DuckDB or the disk. */
  readonly storageError: (error: unknown) => TracehouseError;
}

/** Of so many batches, the last ones, it is known how large they were. */
const LAST_BATCHES = 64;

const rowsOf = (batch: Batch): number => RELATION_NAMES.reduce((sum, name) => sum + (batch.tables[name]?.rows ?? 0), 0);
/** What a row may take until its checkpoint has packed it. */
const ROW_BYTES = 256;

export class BatchLanding {
  readonly applied = new AppliedBatches();
  readonly runs = new RunStates();
  /** Since this process opened the folder. */
  readonly counts = { applied: 0, duplicates: 0, rows: 0 };
  readonly #options: LandingOptions;
  readonly #order = new ApplyOrder();
  #last_apply_no = 0n;
  readonly #last_rows = new Map<bigint, number>();
  /** A batch may be stored without our knowing it. */
  #unsure = false;

  constructor(options: LandingOptions) {
    this.#options = options;
  }

  get last_apply_no(): bigint {
    return this.#last_apply_no;
  }

  /** Rows of the batches after this one; null: one of them is not of the last few. */
  rowsSince(apply_no: bigint): number | null {
    let sum = 0;
    for (let no = this.#last_apply_no; no > apply_no; no -= 1n) {
      const rows = this.#last_rows.get(no);
      if (rows === undefined) return null;
      sum += rows;
    }
    return sum;
  }

  /** What the folder's files say of the batches in them. */
  async learn(): Promise<void> {
    const { ledger, connections } = this.#options.parts;
    const last_apply_no = await ledger.load(this.applied, 'memory.stored.batches');
    if (last_apply_no > this.#last_apply_no) this.#last_apply_no = last_apply_no;
    await this.runs.load(connections.ledger, 'memory.stored.batches');
  }

  /** `segment`: the open one, held by the caller, alone where the batch does not fit its enumerations; `lane`: which of the writers is the caller's. */
  async land(batch: Batch, segment: Segment, lane: number): Promise<ApplyResult> {
    const { parts, log, storageError } = this.#options;
    for (let decider = this.#decider(batch); decider !== undefined; decider = this.#decider(batch)) await decider;
    if (this.applied.has(batch, batch.sequence)) {
      this.counts.duplicates += 1;
      return { status: 'duplicate', apply_no: this.#last_apply_no };
    }
    checkBatch(batch);
    const turn = this.#order.enter(batch, this.#last_apply_no);
    const { apply_no } = turn;
    const { connection, rows: source } = parts.batch_writers[lane] as BatchWriter;
    try {
      await requireRoom(parts.folder, rowsOf(batch) * ROW_BYTES);
      await this.#makeFit(batch, segment, connection);
      await insertBatch(batch, { connection, source, alias: segment.alias, enumerations: segment.enumerations, apply_no, missed: this.runs.missedBefore(batch, turn.before), beforeCommit: () => turn.come() });
      const result = this.#note(batch, apply_no);
      turn.landed();
      return result;
    } catch (error) {
      await turn.failed(error);
      if (isInvalidated(error)) await parts.catalog.attachAgain(segment).catch((again: Error) => log(`${segment.path} is opened again later: ${again.message}`));
      // A commit that reported an error may still be in the log.
      const landed = await hasLanded(connection, segment.alias, batch, apply_no);
      if (landed === true) return this.#note(batch, apply_no);
      if (landed === 'unknown') this.#unsure = true;
      throw storageError(error);
    } finally {
      turn.end();
    }
  }

  /** Nothing else is written to a file that a batch does not fit into. */
  async #makeFit(batch: Batch, segment: Segment, connection: DuckDBConnection): Promise<void> {
    if (segment.enumerations === undefined) return;
    const columns = outgrownBy(batch, segment.enumerations);
    if (columns.length === 0) return;
    segment.enumerations = await widen(connection, segment.alias, segment.enumerations, columns);
    // The next file may have been made already, and outgrown by the same value: that is counted once.
    const { raw } = this.#options.parts.few_values;
    const news = noteBatch(raw, batch);
    raw.noteOutgrown(columns.filter(([table, column]) => news.some((other) => other[0] === table && other[1] === column)));
  }

  #decider(batch: Batch): Promise<unknown> | undefined {
    return this.#order.decider(batch) ?? (this.#unsure ? this.#beSure() : undefined);
  }

  /** After a commit that failed left a file that could not be looked into: it may hold the batch that comes again now. */
  async #beSure(): Promise<void> {
    try {
      await this.#options.parts.catalog.attachGivenUp();
      await this.learn();
    } catch (error) {
      throw this.#options.storageError(error);
    }
    this.#unsure = false;
  }

  #note(batch: Batch, apply_no: bigint): ApplyResult {
    this.applied.add(batch, batch.sequence);
    noteBatch(this.#options.parts.few_values.raw, batch);
    if (apply_no > this.#last_apply_no) this.#last_apply_no = apply_no;
    this.runs.note(batch, this.#options.now());
    this.counts.applied += 1;
    this.counts.rows += rowsOf(batch);
    this.#last_rows.set(apply_no, rowsOf(batch));
    this.#last_rows.delete(apply_no - BigInt(LAST_BATCHES));
    return { status: 'applied', apply_no };
  }
}
