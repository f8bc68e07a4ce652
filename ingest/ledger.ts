// Which batches have been applied, as ranges of sequence numbers per run.

interface Range {
  from: bigint;
  to: bigint;
}

export interface RunKey {
  readonly node: string;
  readonly boot_id: string;
  readonly run_id: bigint;
}

const keyOf = (run: RunKey): string => JSON.stringify([run.node, run.boot_id, String(run.run_id)]);

export class AppliedBatches {
  readonly #runs = new Map<string, { run: RunKey; ranges: Range[] }>();

  has(run: RunKey, sequence: bigint): boolean {
    const ranges = this.#runs.get(keyOf(run))?.ranges;
    if (ranges === undefined) return false;
    const index = lastStartingAtOrBefore(ranges, sequence);
    return index >= 0 && sequence <= (ranges[index] as Range).to;
  }

  add(run: RunKey, from: bigint, to: bigint = from): void {
    const key = keyOf(run);
    let entry = this.#runs.get(key);
    if (entry === undefined) {
      entry = { run: { node: run.node, boot_id: run.boot_id, run_id: run.run_id }, ranges: [] };
      this.#runs.set(key, entry);
    }
    const { ranges } = entry;
    const before = lastStartingAtOrBefore(ranges, from);
    const left = ranges[before];
    // The usual case: the batch after the last one.
    const at = left !== undefined && left.to >= from - 1n ? before : before + 1;
    let merged: Range = left !== undefined && at === before ? { from: left.from, to: left.to > to ? left.to : to } : { from, to };
    let end = at === before ? at + 1 : at;
    for (let next = ranges[end]; next !== undefined && next.from <= merged.to + 1n; next = ranges[++end]) {
      if (next.to > merged.to) merged = { from: merged.from, to: next.to };
    }
    ranges.splice(at, end - at, merged);
  }

  *entries(): Generator<{ run: RunKey; from: bigint; to: bigint }> {
    for (const { run, ranges } of this.#runs.values()) for (const range of ranges) yield { run, from: range.from, to: range.to };
  }
}

function lastStartingAtOrBefore(ranges: readonly Range[], sequence: bigint): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ranges[middle] as Range).from <= sequence) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
