import { TracehouseError } from '../schema/errors.ts';

/** Distinct values that one dictionary column may have in one stream. */
const MOST_VALUES = 2 ** 20;

export interface Placed {
  /** Values that are new in this stream. */
  readonly added: readonly string[];
  /** Index in the stream's dictionary of each of the batch's values; null = the same as in the batch. */
  readonly indices: Int32Array | null;
}

/** The values of one dictionary column so far in one stream. Later batches add to it: files allow no replacement. */
export class GrowingDictionary {
  #size = 0;
  /** The values of the only batch, until a second one comes: most streams hold one. */
  #first: readonly string[] = [];
  readonly #index_of = new Map<string, number>();

  clear(): void {
    this.#size = 0;
    this.#first = [];
    this.#index_of.clear();
  }

  place(values: readonly string[]): Placed {
    if (this.#size === 0) {
      this.#first = values;
      this.#grow(values.length);
      return { added: values, indices: null };
    }
    for (const [index, value] of this.#first.entries()) this.#index_of.set(value, index);
    this.#first = [];
    const added: string[] = [];
    const indices = Int32Array.from(values, (value) => {
      const known = this.#index_of.get(value);
      if (known !== undefined) return known;
      const index = this.#size;
      this.#grow(1);
      this.#index_of.set(value, index);
      added.push(value);
      return index;
    });
    return { added, indices };
  }

  #grow(count: number): void {
    this.#size += count;
    if (this.#size > MOST_VALUES) throw new TracehouseError('arrow-format', `a column has more than ${MOST_VALUES} distinct values`, { mend: 'begin a new recording' });
  }
}
