// Batches in an Arrow IPC file. Every batch is written at once and whole: what a killed recorder leaves is readable up to
// its last batch, because the file is a stream in itself and its footer only an index.
import { MetadataVersion, RecordBatchReader } from 'apache-arrow';
import { FileBlock, Footer } from 'apache-arrow/ipc/metadata/file';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { TracehouseError } from '../schema/errors.ts';
import { FILE_MAGIC, firstMessage, notArrow, readMessage } from './arrow-frames.ts';
import type { Framed } from './arrow-frames.ts';
import { readRecordBatch } from './arrow-read.ts';
import type { MessagePlace } from './arrow-message.ts';
import { BATCH_SCHEMA, BatchWriter } from './arrow-write.ts';
import type { Batch } from './batch.ts';
import { ByteWriter } from './byte-writer.ts';

export interface RecordingWriter {
  write(batch: Batch): Promise<void>;
  /** Writes the footer. Without it the file is still readable, here and by readers of streams. */
  close(): Promise<void>;
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

/** Makes the file, or empties it. */
export async function openRecordingWriter(path: string): Promise<RecordingWriter> {
  const file = await open(path, 'w').catch((cause: unknown) => {
    throw new TracehouseError('recording', `cannot write ${path}: ${(cause as Error).message}`, { mend: 'name a writable file with --out', cause });
  });
  const out = new ByteWriter();
  const writer = new BatchWriter(out);
  const records: FileBlock[] = [];
  const dictionaries: FileBlock[] = [];
  let position = 0;
  const block = ({ at, metadata_bytes, body_bytes }: MessagePlace): FileBlock => new FileBlock(metadata_bytes, body_bytes, position + at);
  const flush = async (): Promise<void> => {
    const bytes = out.taken;
    position += bytes.length;
    out.clear();
    await writeAll(file, bytes);
  };
  out.put(Buffer.from(FILE_MAGIC));
  writer.begin();
  await flush();
  return {
    async write(batch) {
      const places = writer.write(batch);
      records.push(block(places.record));
      dictionaries.push(...places.dictionaries.map(block));
      await flush();
    },
    async close() {
      writer.end();
      await flush();
      const footer = Footer.encode(new Footer(BATCH_SCHEMA, MetadataVersion.V5, records, dictionaries));
      const length = Buffer.alloc(4);
      length.writeInt32LE(footer.length);
      await writeAll(file, Buffer.concat([footer, length, Buffer.from(FILE_MAGIC)]));
      await file.close();
    },
  };
}

async function readAt(file: FileHandle, at: number, count: number, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, Math.min(count, size - at)));
  let have = 0;
  while (have < bytes.length) {
    const { bytesRead } = await file.read(bytes, have, bytes.length - have, at + have);
    if (bytesRead === 0) break;
    have += bytesRead;
  }
  return bytes.subarray(0, have);
}

/**
 * The batches of a recording, in their order; also of one that was not closed. Throws TracehouseError `arrow-format`
 * after the batches that were whole, when it is damaged or ends within a batch; `schema-version`; `recording`.
 */
export async function* readRecording(path: string): AsyncGenerator<Batch, void> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw new TracehouseError('recording', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  });
  let count = 0;
  let cut_at: number | undefined;
  try {
    const { size } = await file.stat();
    const pieces = async function* (): AsyncGenerator<Uint8Array, void> {
      const first = firstMessage(await readAt(file, 0, 8, size), path);
      let at = first;
      for (;;) {
        const steps = readMessage(at);
        let step: IteratorResult<{ at: number; count: number }, Framed> = steps.next();
        while (step.done !== true) step = steps.next(await readAt(file, step.value.at, step.value.count, size));
        if (step.value === 'cut') cut_at = at;
        else if (step.value === 'end' && at === first) throw notArrow(path, 'has no schema');
        if (step.value === 'cut' || step.value === 'end') return;
        yield* step.value.pieces;
        at = step.value.end;
      }
    };
    const reader = await RecordBatchReader.from(pieces());
    await reader.open();
    for await (const record of reader) {
      for (const batch of readRecordBatch(record, path)) {
        count += 1;
        yield batch;
      }
    }
    if (cut_at !== undefined) throw notArrow(path, `is cut off at byte ${cut_at}`);
  } catch (error) {
    if (!(error instanceof TracehouseError)) throw notArrow(path, `is damaged (${(error as Error).message}); ${count} batches before that were read`, error);
    if (error.code !== 'arrow-format') throw error;
    throw new TracehouseError('arrow-format', `${error.message}; ${count} batches before that were read`, { cause: error, ...(error.mend === undefined ? {} : { mend: error.mend }) });
  } finally {
    await file.close();
  }
}
