// Batches as an Arrow IPC stream: what collectors send, and what spools hold.
import { RecordBatchReader } from 'apache-arrow';
import { TracehouseError } from '../schema/errors.ts';
import { firstMessage, notArrow, readMessage } from './arrow-frames.ts';
import { readRecordBatch } from './arrow-read.ts';
import { BatchWriter } from './arrow-write.ts';
import type { Batch } from './batch.ts';
import { ByteWriter } from './byte-writer.ts';

/** An Arrow IPC stream, one record batch a batch. */
export function encodeBatches(batches: readonly Batch[]): Uint8Array {
  const out = new ByteWriter();
  const writer = new BatchWriter(out);
  writer.begin();
  for (const batch of batches) writer.write(batch);
  writer.end();
  return out.taken;
}

function* pieces(bytes: Uint8Array, source: string): Generator<Uint8Array, void> {
  const first = firstMessage(bytes, source);
  let at = first;
  for (;;) {
    const steps = readMessage(at);
    let step = steps.next();
    while (step.done !== true) step = steps.next(bytes.subarray(step.value.at, step.value.at + step.value.count));
    if (step.value === 'end' && at === first) throw notArrow(source, 'has no schema');
    if (step.value === 'end') return;
    if (step.value === 'cut') throw notArrow(source, `is cut off in the message at byte ${at} of ${bytes.length}`);
    for (const piece of step.value.pieces) yield piece;
    at = step.value.end;
  }
}

/**
 * All batches of an Arrow IPC stream or file, which may come from anyone. Their columns are views of `bytes` where its
 * memory allows. Throws TracehouseError: `arrow-format` (nothing of it counts), `schema-version`.
 */
export function decodeBatches(bytes: Uint8Array, source = 'Arrow stream'): Batch[] {
  try {
    const batches: Batch[] = [];
    const reader = RecordBatchReader.from(pieces(bytes, source));
    for (const record of reader) batches.push(...readRecordBatch(record, source));
    return batches;
  } catch (error) {
    if (error instanceof TracehouseError) throw error;
    throw notArrow(source, `is no valid Arrow IPC stream (${(error as Error).message})`, error);
  }
}
