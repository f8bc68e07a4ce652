// Room for so much at once; who comes beyond waits for its turn, in order, for so long.
import { TracehouseError } from '../schema/errors.ts';

export interface Place {
  /** It takes more than it said. It is let go on: others wait. */
  grow(more: number): void;
  /** Done; a second time it does nothing. */
  leave(): void;
}

interface Waiting {
  readonly size: number;
  enter(place: Place): void;
}

export class Room {
  readonly #most: number;
  readonly #wait_ms: number;
  readonly #what: string;
  readonly #waiting: Waiting[] = [];
  #taken = 0;
  #inside = 0;

  constructor(options: { most: number; wait_ms: number; what: string }) {
    this.#most = options.most;
    this.#wait_ms = options.wait_ms;
    this.#what = options.what;
  }

  /** Whatever is larger than the room has it alone. Error: ingest-busy, after the wait; the signal's reason when it is aborted before. */
  enter(size: number, gone?: AbortSignal): Promise<Place> {
    return new Promise<Place>((resolve, reject) => {
      const give_up = (reason: unknown): void => {
        const at = this.#waiting.indexOf(waiting);
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        end();
        reject(reason as Error);
        this.#admit(); // those behind it may be smaller
      };
      const left = (): void => give_up(gone?.reason);
      const timer = setTimeout(() => give_up(new TracehouseError('ingest-busy', `${this.#what} for ${this.#wait_ms / 1000} s`, { mend: 'send it again in a moment' })), this.#wait_ms);
      const end = (): void => {
        clearTimeout(timer);
        gone?.removeEventListener('abort', left);
      };
      const waiting: Waiting = {
        size,
        enter: (place) => {
          end();
          resolve(place);
        },
      };
      gone?.addEventListener('abort', left, { once: true });
      this.#waiting.push(waiting);
      if (gone?.aborted === true) left();
      else this.#admit();
    });
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined && (this.#inside === 0 || this.#taken + next.size <= this.#most); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.enter(this.#place(next.size));
    }
  }

  #place(size: number): Place {
    let own = size;
    let inside = true;
    this.#taken += own;
    this.#inside += 1;
    return {
      grow: (more) => {
        if (!inside) return;
        own += more;
        this.#taken += more;
      },
      leave: () => {
        if (!inside) return;
        inside = false;
        this.#taken -= own;
        this.#inside -= 1;
        this.#admit();
      },
    };
  }
}
