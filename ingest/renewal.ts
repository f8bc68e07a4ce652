// Work that many ask for and one does at a time: who comes while it is under way waits for the next one, which all of those share.
import { setTimeout as delay } from 'node:timers/promises';

export class Renewal {
  readonly #work: (max_age_ms: number) => Promise<void>;
  readonly #waiting = new Set<() => void>();
  #running: Promise<void> | undefined;
  #next: { max_age_ms: number; readonly done: Promise<void> } | undefined;

  constructor(work: (max_age_ms: number) => Promise<void>) {
    this.#work = work;
  }

  /** It is held up by others, and tries again. */
  readonly heldUp = (): void => {
    for (const tell of this.#waiting) tell();
  };

  /** False: it was held up, and was not done wait_ms later; it goes on. */
  async ask(max_age_ms: number, wait_ms: number): Promise<boolean> {
    const done = this.#enter(max_age_ms).then(() => true);
    if (wait_ms === Infinity) return done;
    let tell = (): void => undefined;
    const held_up = new Promise<void>((resolve) => (tell = resolve));
    this.#waiting.add(tell);
    const ended = new AbortController();
    const too_long = held_up.then(() => delay(wait_ms, false, { signal: ended.signal }).catch(() => false));
    try {
      return await Promise.race([done, too_long]);
    } finally {
      ended.abort();
      this.#waiting.delete(tell);
    }
  }

  #enter(max_age_ms: number): Promise<void> {
    if (this.#running === undefined && this.#next === undefined) return this.#begin(max_age_ms);
    if (this.#next === undefined) {
      const done = (this.#running as Promise<void>).catch(() => undefined).then(() => {
        const asked = this.#next?.max_age_ms ?? max_age_ms;
        this.#next = undefined;
        return this.#begin(asked);
      });
      this.#next = { max_age_ms, done };
    }
    this.#next.max_age_ms = Math.min(this.#next.max_age_ms, max_age_ms);
    return this.#next.done;
  }

  #begin(max_age_ms: number): Promise<void> {
    const running = this.#work(max_age_ms).finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}
