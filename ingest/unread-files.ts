// Files that were read and are not any more are attached anew, as they were sealed. DuckDB keeps descriptions of the row groups that it has read, outside
// of its memory limit and until the file is detached: some 1 kB for each column of each, 3.5 MiB for 250,000 events (docs/adr/0027).
import type { Segment } from './segment-catalog.ts';
import { rowsIn } from './segment-tables.ts';

/** Which: no relation has named them for so long, they hold so many rows, and there are so many of them, as the views have to name them anew. */
export interface UnreadLimits {
  readonly unread_ms: number;
  readonly rows: number;
  readonly together: number;
}

const UNREAD_LIMITS: UnreadLimits = { unread_ms: 30_000, rows: 100_000, together: 4 };

export interface Reattaching {
  attach(path: string, alias: string): Promise<void>;
  detach(alias: string): Promise<void>;
  /** Settles when nobody reads what the views do not name any more. */
  unnamed(): Promise<void>;
  log(line: string): void;
}

const AGAIN = '_again';
const otherAlias = (alias: string): string => (alias.endsWith(AGAIN) ? alias.slice(0, -AGAIN.length) : `${alias}${AGAIN}`);
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class UnreadFiles {
  readonly #reattaching: Reattaching;
  /** When a relation has last named a file as it was sealed; uids. Others none has since they were attached. */
  readonly #read_ms = new Map<string, number>();
  /** Former names, until they are detached. */
  readonly #given_back = new Set<string>();

  constructor(reattaching: Reattaching) {
    this.#reattaching = reattaching;
  }

  noteRead(segments: readonly Segment[]): void {
    for (const { uid, state, level } of segments) if (state === 'sealed' && level === 0) this.#read_ms.set(uid, performance.now());
  }

  forget(uid: string): void {
    this.#read_ms.delete(uid);
  }

  /** Of these, those that are due, under another name. `show` makes the views anew once it has called what it is given. Returned: when the former names are gone; null: nothing was due. */
  async renew(segments: readonly Segment[], show: (rename: () => void) => Promise<void>, { unread_ms, rows, together }: UnreadLimits = UNREAD_LIMITS): Promise<{ gone: Promise<void> } | null> {
    const before_ms = performance.now() - unread_ms;
    const due = segments.filter((segment) => (this.#read_ms.get(segment.uid) ?? Infinity) <= before_ms && rowsIn([segment]) >= rows && !this.#given_back.has(otherAlias(segment.alias)));
    if (due.length < together) return null;
    const attached: Segment[] = [];
    for (const segment of due) {
      this.forget(segment.uid);
      try {
        await this.#reattaching.attach(segment.path, otherAlias(segment.alias));
        attached.push(segment);
      } catch (error) {
        this.noteRead([segment]);
        this.#reattaching.log(`could not attach ${segment.path} anew: ${messageOf(error)}`); // it stays as it is
      }
    }
    const former = attached.map(({ alias }) => alias);
    const rename = (): void => {
      for (const segment of attached) segment.alias = otherAlias(segment.alias);
    };
    try {
      await show(rename);
    } catch (error) {
      if (attached[0]?.alias !== former[0]) rename();
      this.noteRead(attached);
      this.#reattaching.log(`files are attached anew later: ${messageOf(error)}`);
      return { gone: this.#giveBack(former.map(otherAlias)) };
    }
    return { gone: this.#giveBack(former) };
  }

  async #giveBack(aliases: readonly string[]): Promise<void> {
    for (const alias of aliases) this.#given_back.add(alias);
    await this.#reattaching.unnamed();
    for (const alias of aliases) {
      try {
        await this.#reattaching.detach(alias);
        this.#given_back.delete(alias);
      } catch (error) {
        this.#reattaching.log(`could not detach ${alias}: ${messageOf(error)}`);
      }
    }
  }
}
