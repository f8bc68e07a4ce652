// How far a collector has been told, in DATA/otlp: a file a collector, replaced whole. Not in the ledger: its checkpoints
// would have to wait for what is written here twice a second.
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface Position {
  /** Everything that was finished by then is settled. */
  readonly done_ns: bigint;
  /** The window that is being sent, said before its first batch: after a crash the same one is sent. */
  readonly window: WindowState | null;
  /** Up to here it was not waited for traces to be quiet: nothing more was to be expected. */
  readonly flushed_ns: bigint;
}

export interface WindowState {
  readonly to_ns: bigint;
  readonly batches_done: number;
  /** It ends in a flush. */
  readonly flush: boolean;
}

export class PositionFile {
  readonly #folder: string;
  readonly #path: string;
  readonly #url: string;

  constructor(data_folder: string, url: string) {
    this.#folder = join(data_folder, 'otlp');
    this.#url = url;
    this.#path = join(this.#folder, `${createHash('sha256').update(url).digest('hex').slice(0, 16)}.json`);
  }

  /** Undefined: nothing was ever sent there. */
  read(): Position | undefined {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const { done_ns, flushed_ns, window } = JSON.parse(text) as { done_ns: string; flushed_ns: string; window: (Omit<WindowState, 'to_ns'> & { to_ns: string }) | null };
    return { done_ns: BigInt(done_ns), flushed_ns: BigInt(flushed_ns), window: window === null ? null : { ...window, to_ns: BigInt(window.to_ns) } };
  }

  /** On disk when it returns. */
  write({ done_ns, flushed_ns, window }: Position): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const next = `${this.#path}.next`;
    const file = openSync(next, 'w', 0o600);
    try {
      writeSync(file, JSON.stringify({ url: this.#url, done_ns: String(done_ns), flushed_ns: String(flushed_ns), window: window === null ? null : { ...window, to_ns: String(window.to_ns) } }));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(next, this.#path);
    const folder = openSync(this.#folder, 'r');
    fsyncSync(folder);
    closeSync(folder);
  }
}
