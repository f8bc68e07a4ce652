// Parts of an answer as a stream, one at a time: the next is asked for when whoever reads wants more, never ahead.
import { Readable } from 'node:stream';

/** A socket takes less than this without saying that it is full, and without having sent it. */
const KEPT_BYTES = 64 * 1024;

/**
 * For parts that last until the next is asked for, and for a reader that is full with a part of 64 KiB until it has sent it, as
 * sockets are. Smaller parts are copied.
 */
export class PartStream extends Readable {
  readonly #parts: AsyncGenerator<string | Uint8Array, void>;

  constructor(parts: AsyncGenerator<string | Uint8Array, void>) {
    super({ highWaterMark: 0 });
    this.#parts = parts;
  }

  override _read(): void {
    this.#parts.next().then(
      ({ value, done }) => this.push(done === true ? null : typeof value === 'string' || value.byteLength > KEPT_BYTES ? value : Buffer.from(value)),
      (error: unknown) => this.destroy(error as Error),
    );
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#parts.return().then(
      () => done(error),
      (failed: unknown) => done(error ?? (failed as Error)),
    );
  }
}

/** Parts that last. */
export async function* lasting(parts: AsyncIterable<string | Uint8Array>): AsyncGenerator<string | Uint8Array, void> {
  for await (const part of parts) yield typeof part === 'string' ? part : Buffer.from(part);
}
