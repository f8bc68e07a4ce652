// Arrow's IPC framing, read whole message by whole message: what was cut off is noticed, and never read beyond.
import { TracehouseError } from '../schema/errors.ts';
import { verifyMessage } from './arrow-verify.ts';

const MOST_METADATA = 64 * 1024 * 1024;
const CONTINUATION = -1;
export const FILE_MAGIC = 'ARROW1';
/** Magic and two bytes of padding. */
const FILE_HEADER_BYTES = 8;

export const RECORD_AGAIN = 'record it again, or send it again from where it was made';

export function notArrow(source: string, what: string, cause?: unknown): TracehouseError {
  return new TracehouseError('arrow-format', `${source} ${what}`, { mend: RECORD_AGAIN, ...(cause === undefined ? {} : { cause }) });
}

/** Reads up to `count` bytes from `at`; fewer when there are no more. */
export type ReadAt = (at: number, count: number) => Promise<Uint8Array> | Uint8Array;

export interface ArrowMessage {
  /** Prefix, metadata and body: three pieces of one message. */
  readonly pieces: readonly Uint8Array[];
  readonly end: number;
}

export type Framed = ArrowMessage | 'end' | 'cut';

/** Where the first message begins: after the header of a file, or at once. */
export function firstMessage(start: Uint8Array, source: string): number {
  const text = Buffer.from(start.subarray(0, FILE_HEADER_BYTES)).toString('latin1');
  if (text.startsWith(FILE_MAGIC)) return FILE_HEADER_BYTES;
  if (start.length >= 4 && new DataView(start.buffer, start.byteOffset).getInt32(0, true) === CONTINUATION) return 0;
  if (start.length === 0) throw notArrow(source, 'is empty');
  throw notArrow(source, text.startsWith('PAR1') ? 'is a Parquet file, not an Arrow IPC file' : 'is no Arrow IPC file or stream');
}

/** 'end' = the stream's own end mark, or no byte more; 'cut' = a message that is not whole. */
export function* readMessage(at: number): Generator<{ at: number; count: number }, Framed, Uint8Array> {
  const prefix = yield { at, count: 8 };
  if (prefix.length === 0) return 'end';
  if (prefix.length < 8) return 'cut';
  const view = new DataView(prefix.buffer, prefix.byteOffset, 8);
  const length = view.getInt32(4, true);
  if (view.getInt32(0, true) !== CONTINUATION) throw new Error(`no message at byte ${at}`);
  if (length === 0) return 'end';
  if (length < 0 || length > MOST_METADATA) throw new Error(`a message of ${length} bytes of metadata at byte ${at}`);
  const metadata = yield { at: at + 8, count: length };
  if (metadata.length < length) return 'cut';
  const body_bytes = verifyMessage(metadata);
  const body = yield { at: at + 8 + length, count: body_bytes };
  if (body.length < body_bytes) return 'cut';
  return { pieces: [prefix, metadata, body], end: at + 8 + length + body_bytes };
}
