// Messages of Arrow's IPC format whose layout never changes. Their metadata are made once, by apache-arrow, and the numbers
// in them are filled in for each message, so that a batch costs little more than copying its columns.
import { BufferRegion, DictionaryBatch, FieldNode, Message, RecordBatch } from 'apache-arrow/ipc/metadata/message';
import { DICTIONARY_BATCH, MESSAGE, Metadata, NODE_BYTES, RECORD_BATCH } from './arrow-metadata.ts';
import type { ByteWriter } from './byte-writer.ts';

/** What a file's footer says of a message. */
export interface MessagePlace {
  readonly at: number;
  readonly metadata_bytes: number;
  readonly body_bytes: number;
}

/** Continuation mark and length. */
const PREFIX_BYTES = 8;
/** Numbers that are 0 have no place in the metadata of apache-arrow. */
const SOME = 1;

const many = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

/** With its prefix, padded. */
export function frameMetadata(metadata: Uint8Array): Uint8Array {
  const framed = new Uint8Array((PREFIX_BYTES + metadata.length + 7) & ~7);
  new Int32Array(framed.buffer).set([-1, framed.length - PREFIX_BYTES]);
  framed.set(metadata, PREFIX_BYTES);
  return framed;
}

export class MessageWriter {
  readonly #template: Uint8Array;
  readonly #words: Int32Array;
  // Positions in words.
  readonly #body_length: number;
  readonly #rows: number;
  readonly #nodes: number;
  readonly #buffers: number;
  readonly #id: number;
  #out: ByteWriter | undefined;
  #at = 0;
  #next_node = 0;
  #next_buffer = 0;

  private constructor(message: Message) {
    this.#template = frameMetadata(Message.encode(message));
    this.#words = new Int32Array(this.#template.buffer);
    const metadata = new Metadata(this.#template.subarray(PREFIX_BYTES));
    const word = (position: number): number => {
      if (position === 0 || (position & 7) !== 0) throw new Error('a number is not where it can be filled in');
      return (PREFIX_BYTES + position) >> 2;
    };
    const root = metadata.root();
    const header = metadata.table(metadata.field(root, MESSAGE.header));
    const of_dictionary = message.isDictionaryBatch();
    const batch = of_dictionary ? metadata.table(metadata.field(header, DICTIONARY_BATCH.data)) : header;
    this.#body_length = word(metadata.field(root, MESSAGE.body_length));
    this.#id = of_dictionary ? word(metadata.field(header, DICTIONARY_BATCH.id)) : -1;
    this.#rows = word(metadata.field(batch, RECORD_BATCH.length));
    this.#nodes = word(metadata.vector(metadata.field(batch, RECORD_BATCH.nodes), NODE_BYTES).first);
    this.#buffers = word(metadata.vector(metadata.field(batch, RECORD_BATCH.buffers), NODE_BYTES).first);
  }

  static recordBatch(nodes: number, buffers: number): MessageWriter {
    return new MessageWriter(Message.from(new RecordBatch(SOME, many(nodes, () => new FieldNode(0, 0)), many(buffers, () => new BufferRegion(0, 0)), null), SOME));
  }

  /** Of texts. */
  static dictionary(is_delta: boolean): MessageWriter {
    const texts = new RecordBatch(SOME, [new FieldNode(0, 0)], many(3, () => new BufferRegion(0, 0)), null);
    return new MessageWriter(Message.from(new DictionaryBatch(texts, SOME, is_delta), SOME));
  }

  /** Then nodes and buffers in Arrow's order, depth first, then end(). */
  begin(out: ByteWriter, rows: number, dictionary_id = 0): void {
    this.#out = out;
    this.#at = out.reserve(this.#template.length);
    this.#words[this.#rows] = rows;
    if (this.#id >= 0) this.#words[this.#id] = dictionary_id;
    this.#next_node = this.#nodes;
    this.#next_buffer = this.#buffers;
  }

  node(length: number, nulls: number): void {
    this.#words[this.#next_node] = length;
    this.#words[this.#next_node + 2] = nulls;
    this.#next_node += NODE_BYTES >> 2;
  }

  /** A buffer that is left out. */
  nothing(): void {
    this.#place(0, 0);
  }

  buffer(piece: Uint8Array): void {
    const at = this.reserve(piece.length);
    (this.#out as ByteWriter).bytes.set(piece, at);
  }

  zeros(count: number): void {
    const at = this.reserve(count);
    (this.#out as ByteWriter).bytes.fill(0, at, at + count);
  }

  /** A buffer to be filled: where its bytes lie in the writer's memory. */
  reserve(count: number): number {
    const at = (this.#out as ByteWriter).reserve(count);
    this.#place(at, count);
    return at;
  }

  /** Two buffers: offsets, and texts as UTF-8. */
  texts(texts: readonly string[]): void {
    const out = this.#out as ByteWriter;
    const offsets = this.reserve((texts.length + 1) * 4) >> 2;
    const start = out.reserve(texts.reduce((most, text) => most + text.length * 3, 0));
    let end = start;
    out.words[offsets] = 0;
    for (const [index, text] of texts.entries()) {
      end += out.bytes.write(text, end);
      out.words[offsets + index + 1] = end - start;
    }
    out.length = start;
    this.reserve(end - start);
  }

  end(): MessagePlace {
    const out = this.#out as ByteWriter;
    const metadata_bytes = this.#template.length;
    const body_bytes = out.length - this.#at - metadata_bytes;
    this.#words[this.#body_length] = body_bytes;
    out.bytes.set(this.#template, this.#at);
    this.#out = undefined;
    return { at: this.#at, metadata_bytes, body_bytes };
  }

  #place(at: number, bytes: number): void {
    this.#words[this.#next_buffer] = bytes === 0 ? 0 : at - this.#at - this.#template.length;
    this.#words[this.#next_buffer + 2] = bytes;
    this.#next_buffer += NODE_BYTES >> 2;
  }
}
