import { LOSS_CAUSES } from '../schema/records.ts';
import type { TableData } from './batch.ts';
import type { MessageBook } from './message-book.ts';
import type { RecordValues } from './record-fields.ts';
import { TableBuilder } from './table-builder.ts';

export interface Loss {
  readonly cause: keyof typeof LOSS_CAUSES;
  /** ns since 1970. */
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  /** null = not countable. */
  readonly events_lost: bigint | null;
  readonly cpu?: number | null;
}

const CAUSE_NAMES = new Map<number, string>(Object.entries(LOSS_CAUSES).map(([name, id]) => [id, name]));

/** Fills the table `losses`: the kernel's, the parsers', what could not be decoded, what others tell. */
export class LossTable {
  readonly table = new TableBuilder('losses');
  #kernel: RecordValues<'loss'>[] = [];
  readonly #others: Loss[] = [];
  #undecodable = 0n;

  get rows(): number {
    return this.#kernel.length + this.#others.length + (this.#undecodable > 0n ? 1 : 0);
  }

  addKernel(loss: RecordValues<'loss'>): void {
    if (loss.events_lost > 0n) this.#kernel.push(loss);
  }

  add(loss: Loss): void {
    this.#others.push(loss);
  }

  countUndecodable(): void {
    this.#undecodable += 1n;
  }

  /** delta: UTC minus CLOCK_MONOTONIC. from, to: CLOCK_MONOTONIC, between which the batch's records came. */
  take(book: MessageBook, delta: bigint, from: bigint, to: bigint): TableData {
    for (const loss of this.#kernel) {
      this.table.addRow({
        cpu: loss.cpu < 0 ? null : loss.cpu,
        from_ns: loss.from_mono_ns + delta,
        to_ns: loss.to_mono_ns + delta,
        events_lost: loss.events_lost,
        cause: CAUSE_NAMES.get(loss.cause) ?? 'undecodable',
      });
    }
    this.#kernel = [];
    for (const loss of this.#others.splice(0)) this.table.addRow({ ...loss, cpu: loss.cpu ?? null });
    if (book.gaps > 0) {
      this.table.addRow({ from_ns: book.gap_from + delta, to_ns: book.gap_to + delta, events_lost: BigInt(book.gaps), cause: 'parser_gap' });
      book.gaps = 0;
    }
    if (this.#undecodable > 0n) {
      this.table.addRow({ from_ns: from + delta, to_ns: (to > from ? to : from) + delta, events_lost: this.#undecodable, cause: 'undecodable' });
      this.#undecodable = 0n;
    }
    return this.table.take();
  }
}
