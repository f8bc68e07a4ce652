// The loader's pipe as records. Chunks may have any size and be split anywhere; what is wrong ends the run with one error,
// because nothing after a wrong length can be trusted.
import { ABI_VERSION, FRAME_MAGIC, RECORDS } from '../schema/records.ts';
import type { RecordLayout, RecordName } from '../schema/records.ts';
import { TracehouseError } from '../schema/errors.ts';
import { HEADER_BYTES, fixedBytes, readRecord, recordName, wordOf } from './record-fields.ts';

/** `words` and `bytes` are two views of one buffer and valid during the call only. */
export interface FrameHandlers {
  /** base: index of the record's first word. */
  socketEvent(words: Int32Array, base: number, bytes: Uint8Array): void;
  threadEvent(words: Int32Array, base: number, bytes: Uint8Array): void;
  /** Every other record; body is its fixed part and what follows it. */
  record(name: RecordName, body: Uint8Array): void;
  /** A frame of a type that this version does not know. */
  unknown(id: number): void;
}

/** Longer frames are taken for garbage: the longest honest one carries a command line. */
export const MAX_FRAME_BYTES = 4 * 1024 * 1024;

const SOCKET_EVENT = RECORDS.socket_event.id;
const THREAD_EVENT = RECORDS.thread_event.id;
const SOCKET_EVENT_BYTES = fixedBytes('socket_event');
const THREAD_EVENT_BYTES = fixedBytes('thread_event');
const PAYLOAD_LENGTH = wordOf('socket_event', 'payload_length');
const FIXED_BYTES = new Map<RecordName, number>((Object.keys(RECORDS) as RecordName[]).map((name) => [name, fixedBytes(name)]));
const HEADER_WORDS = HEADER_BYTES >> 2;
const MEND = 'the loader and this program belong to different versions, or something else writes to the pipe: run `npm run build`, then start again';

export class FrameDecoder {
  readonly #handlers: FrameHandlers;
  /** The start of a frame that the last chunk ended in. */
  #rest = new Uint8Array(new ArrayBuffer(4096));
  #rest_bytes = 0;
  /** Offset in the stream of the next byte to decode. */
  #offset = 0;
  #greeted = false;
  #failed: TracehouseError | undefined;

  constructor(handlers: FrameHandlers) {
    this.#handlers = handlers;
  }

  /** Bytes decoded so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes of an unfinished frame. */
  get pending_bytes(): number {
    return this.#rest_bytes;
  }

  /** Throws `loader-stream`, and again whenever it is called after that. */
  push(chunk: Uint8Array): void {
    if (this.#failed !== undefined) throw this.#failed;
    if (this.#rest_bytes === 0 && (chunk.byteOffset & 7) === 0) {
      const used = this.#decode(chunk, chunk.length);
      if (used < chunk.length) this.#keep(chunk.subarray(used));
      return;
    }
    this.#append(chunk);
    const used = this.#decode(this.#rest, this.#rest_bytes);
    if (used > 0) this.#rest.copyWithin(0, used, this.#rest_bytes);
    this.#rest_bytes -= used;
  }

  #keep(bytes: Uint8Array): void {
    this.#rest_bytes = 0;
    this.#append(bytes);
  }

  #append(bytes: Uint8Array): void {
    const need = this.#rest_bytes + bytes.length;
    if (need > this.#rest.length) {
      const grown = new Uint8Array(new ArrayBuffer(1 << (32 - Math.clz32(need - 1))));
      grown.set(this.#rest.subarray(0, this.#rest_bytes));
      this.#rest = grown;
    }
    this.#rest.set(bytes, this.#rest_bytes);
    this.#rest_bytes = need;
  }

  /** Decodes whole frames from the first `length` bytes (8-aligned); returns how many bytes they took. */
  #decode(bytes: Uint8Array, length: number): number {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, length >> 2);
    const handlers = this.#handlers;
    const start = this.#offset;
    let at = 0;
    while (at + HEADER_BYTES <= length) {
      const word = at >> 2;
      const magic = (words[word] as number) >>> 0;
      const type = (words[word + 1] as number) & 0xffff;
      const size = (words[word + 2] as number) >>> 0;
      const used = (words[word + 3] as number) >>> 0;
      this.#offset = start + at;
      if (magic !== FRAME_MAGIC) this.#fail(`bytes 0x${magic.toString(16).padStart(8, '0')} where a frame should begin`);
      if (size > MAX_FRAME_BYTES || (size & 7) !== 0 || used > size) this.#fail(`a frame of type ${type} with ${size} bytes, ${used} of them used`);
      if (at + HEADER_BYTES + size > length) return at;
      const body = at + HEADER_BYTES;
      if (type === SOCKET_EVENT && this.#greeted) {
        const base = word + HEADER_WORDS;
        if (used < SOCKET_EVENT_BYTES || used - SOCKET_EVENT_BYTES < (words[base + PAYLOAD_LENGTH] as number) >>> 0) this.#fail(`a socket event of ${used} bytes`);
        handlers.socketEvent(words, base, bytes);
      } else if (type === THREAD_EVENT && this.#greeted) {
        if (used < THREAD_EVENT_BYTES) this.#fail(`a thread event of ${used} bytes`);
        handlers.threadEvent(words, word + HEADER_WORDS, bytes);
      } else {
        this.#other(type, bytes.subarray(body, body + used));
      }
      at = body + size;
      this.#offset = start + at;
    }
    return at;
  }

  #other(type: number, body: Uint8Array): void {
    const name = recordName(type);
    if (name === undefined && this.#greeted) return this.#handlers.unknown(type);
    if (name === undefined || (!this.#greeted && name !== 'hello')) this.#fail(`a frame of type ${type} (${name ?? 'unknown'}) before hello`);
    const layout: RecordLayout = RECORDS[name];
    if (body.length < (FIXED_BYTES.get(name) ?? 0) || (layout.strings !== undefined && readRecord(name, body) === undefined)) {
      this.#fail(`a ${name} record of ${body.length} bytes`);
    }
    if (name === 'hello') {
      const { abi_version } = readRecord('hello', body) as { abi_version: number };
      if (abi_version !== ABI_VERSION) this.#fail(`a loader of ABI version ${abi_version}; this program speaks ${ABI_VERSION}`);
      this.#greeted = true;
    }
    this.#handlers.record(name, body);
  }

  #fail(what: string): never {
    this.#failed = new TracehouseError('loader-stream', `the eBPF loader sent ${what}, at byte ${this.#offset} of its stream`, { mend: MEND });
    throw this.#failed;
  }
}
