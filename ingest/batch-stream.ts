import { BatchWriter } from './arrow-write.ts';
import type { Batch } from './batch.ts';
import { BATCH_BYTES, ByteWriter } from './byte-writer.ts';

/** One batch as an Arrow IPC stream, in memory that is used again for the next one. */
export class BatchStream {
  readonly #out = new ByteWriter(BATCH_BYTES);
  readonly #writer = new BatchWriter(this.#out);

  /** The bytes are valid until the next call. */
  encode(batch: Batch): Uint8Array {
    this.#out.clear();
    this.#writer.begin();
    this.#writer.write(batch);
    this.#writer.end();
    return this.#out.taken;
  }
}
