// Collectors send four batches a second, and who guesses at tokens asks as fast as it can: the first of a kind is a line of its
// own, those that follow within a minute are one line together. Else they would push everything else out of the log.
import type { AuditEntry } from './audit-log.ts';

const WINDOW_MS = 60_000;
const MOST_KINDS = 1000;

interface Kind {
  readonly last: AuditEntry;
  readonly until_ms: number;
  readonly requests: number;
  readonly rows: number;
}

export class AuditRepeats {
  readonly #write: (entry: AuditEntry) => void;
  readonly #now_ms: () => number;
  readonly #kinds = new Map<string, Kind>();
  readonly #timer: NodeJS.Timeout;

  constructor(write: (entry: AuditEntry) => void, now_ms: () => number = Date.now) {
    this.#write = write;
    this.#now_ms = now_ms;
    this.#timer = setInterval(() => this.#flush(this.#now_ms()), WINDOW_MS);
    this.#timer.unref();
  }

  add(entry: AuditEntry): void {
    const now_ms = this.#now_ms();
    const exact = `${entry.action} ${entry.code ?? ''} ${entry.token ?? ''} ${entry.address ?? ''}`;
    const key = this.#kinds.has(exact) || this.#kinds.size < MOST_KINDS ? exact : `${entry.action} others`;
    const kind = this.#kinds.get(key);
    if (kind !== undefined && kind.until_ms > now_ms) {
      this.#kinds.set(key, { last: entry, until_ms: kind.until_ms, requests: kind.requests + 1, rows: kind.rows + (entry.rows ?? 0) });
      return;
    }
    if (kind !== undefined) this.#tell(kind);
    this.#kinds.set(key, { last: entry, until_ms: now_ms + WINDOW_MS, requests: 0, rows: 0 });
    this.#write(entry);
  }

  #tell({ last, requests, rows }: Kind): void {
    if (requests > 0) this.#write({ ...last, requests, ...(last.rows === undefined ? {} : { rows }) });
  }

  #flush(now_ms: number): void {
    for (const [key, kind] of this.#kinds) {
      if (kind.until_ms > now_ms) continue;
      this.#tell(kind);
      this.#kinds.delete(key);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#flush(Infinity);
  }
}
