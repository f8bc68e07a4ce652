// Exported files that an answer would have needed and that are not here. Whoever asks collects them, however deep below they
// were found to be missing: no answer is less than it should be in silence.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { ColdFile } from './export-ledger.ts';

const collecting = new AsyncLocalStorage<AwayFiles>();

export class AwayFiles {
  readonly #files = new Map<string, ColdFile>();

  /** Those that the work comes upon; work in another one's run is not seen by this one. */
  during<T>(work: () => T): T {
    return collecting.run(this, work);
  }

  add(files: readonly ColdFile[]): void {
    for (const file of files) this.#files.set(`${file.destination}/${file.path}`, file);
  }

  get files(): ColdFile[] {
    return [...this.#files.values()];
  }

  get bytes(): bigint {
    return this.files.reduce((sum, { bytes }) => sum + bytes, 0n);
  }
}

/** To whoever collects, if anybody. */
export function noteAway(files: readonly ColdFile[]): void {
  if (files.length > 0) collecting.getStore()?.add(files);
}
