// Batches that are written at the same time: each has its number, and commits after the one before it, so that no reader sees a
// number before a lower one, and a run's watermark never passes events that are not there.
import type { Batch } from './batch.ts';

interface UnderWay {
  readonly batch: Batch;
  /** Undefined: it is there. Never rejects. */
  readonly left: Promise<{ failed: unknown } | undefined>;
  readonly over: Promise<void>;
  failing: boolean;
}

export interface Turn {
  readonly apply_no: bigint;
  /** Under way when it entered: there when it is, or it fails as they do. */
  readonly before: readonly Batch[];
  /** Settles when the batch before is there; its error where it failed. */
  come(): Promise<void>;
  /** It is there, and what follows may commit. */
  landed(): void;
  /** What follows fails as well. Settles when nobody else writes, and what failed before this is over. */
  failed(error: unknown): Promise<void>;
  /** After landed or failed: nothing of it is left to be done. */
  end(): void;
}

function settled<T>(): { promise: Promise<T>; settle(value: T): void } {
  let settle: (value: T) => void = () => undefined;
  const promise = new Promise<T>((resolve) => (settle = resolve));
  return { promise, settle: (value) => settle(value) };
}

const isSame = (a: Batch, b: Batch): boolean => a.sequence === b.sequence && a.run_id === b.run_id && a.boot_id === b.boot_id && a.node === b.node;

export class ApplyOrder {
  readonly #under_way: UnderWay[] = [];
  #issued = 0n;

  /** To wait for before the batch enters, and then to ask again: what may decide whether and how it is applied. */
  decider(batch: Batch): Promise<unknown> | undefined {
    return this.#under_way.find((other) => other.failing || batch.sequence === 1n || isSame(batch, other.batch))?.over;
  }

  enter(batch: Batch, last_apply_no: bigint): Turn {
    const apply_no = (this.#issued > last_apply_no ? this.#issued : last_apply_no) + 1n;
    this.#issued = apply_no;
    const before = [...this.#under_way];
    const left = settled<{ failed: unknown } | undefined>();
    const over = settled<void>();
    const own: UnderWay = { batch, left: left.promise, over: over.promise, failing: false };
    this.#under_way.push(own);
    return {
      apply_no,
      before: before.map(({ batch: other }) => other),
      come: async () => {
        const other = await before.at(-1)?.left;
        if (other !== undefined) throw other.failed;
      },
      landed: () => left.settle(undefined),
      failed: async (error) => {
        own.failing = true;
        left.settle({ failed: error });
        await Promise.all(this.#under_way.map((other) => (before.includes(other) ? other.over : other.left)));
      },
      end: () => {
        this.#under_way.splice(this.#under_way.indexOf(own), 1);
        over.settle();
      },
    };
  }
}
