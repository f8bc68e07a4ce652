// Batches -> Arrow's IPC format. Column memory goes out as it is; only booleans are packed into bits.
import { Message } from 'apache-arrow/ipc/metadata/message';
import { BATCH_COLUMNS, RELATIONS, RELATION_NAMES } from '../schema/relations.ts';
import type { Column, ColumnType } from '../schema/relations.ts';
import { GrowingDictionary } from './arrow-dictionary.ts';
import type { Placed } from './arrow-dictionary.ts';
import { MessageWriter, frameMetadata } from './arrow-message.ts';
import type { MessagePlace } from './arrow-message.ts';
import { arrowSchema } from './arrow-schema.ts';
import type { Batch, BatchHeader, ColumnData } from './batch.ts';
import type { ByteWriter } from './byte-writer.ts';

export const BATCH_SCHEMA = arrowSchema().schema;
const SCHEMA_MESSAGE = frameMetadata(Message.encode(Message.from(BATCH_SCHEMA)));
const END_MARK = new Uint8Array(Int32Array.of(-1, 0).buffer);

const TABLES = RELATION_NAMES.map((name) => ({ name, columns: RELATIONS[name].columns as readonly Column[] }));
/** Of the list and of the struct in it. */
const NODES_A_TABLE = 2;
const BUFFERS_A_TABLE = 3;
/** Of a dictionary: its indices. */
const BUFFERS: Record<ColumnType, number> = { int64: 2, int32: 2, bool: 2, dict: 2, text: 3, blob: 3 };

/** A batch's own columns have no dictionaries. */
const plain = (type: ColumnType): ColumnType => (type === 'dict' ? 'text' : type);
const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);

const NODE_COUNT = BATCH_COLUMNS.length + sum(TABLES.map(({ columns }) => NODES_A_TABLE + columns.length));
const BUFFER_COUNT = sum(BATCH_COLUMNS.map(({ type }) => BUFFERS[plain(type)])) + sum(TABLES.map(({ columns }) => BUFFERS_A_TABLE + sum(columns.map(({ type }) => BUFFERS[type]))));

const bytesOf = (numbers: Int32Array | BigInt64Array, count: number): Uint8Array => new Uint8Array(numbers.buffer, numbers.byteOffset, count * numbers.BYTES_PER_ELEMENT);

/** Zero bits among the first. */
function countNulls(bits: Uint8Array, rows: number): number {
  let present = 0;
  for (let row = 0; row < rows; row += 8) {
    let byte = bits[row >> 3] as number;
    if (row + 8 > rows) byte &= (1 << (rows - row)) - 1;
    byte -= (byte >> 1) & 0x55;
    byte = (byte & 0x33) + ((byte >> 2) & 0x33);
    present += (byte + (byte >> 4)) & 0x0f;
  }
  return rows - present;
}

/** One a stream or file: it knows which dictionary values went out before. */
export class BatchWriter {
  readonly #out: ByteWriter;
  readonly #record = MessageWriter.recordBatch(NODE_COUNT, BUFFER_COUNT);
  readonly #dictionary = MessageWriter.dictionary(false);
  readonly #delta = MessageWriter.dictionary(true);
  /** In the order of the columns, which is that of their ids. */
  readonly #dictionaries = TABLES.flatMap(({ columns }) => columns.filter(({ type }) => type === 'dict').map(() => new GrowingDictionary()));
  #began = false;

  constructor(out: ByteWriter) {
    this.#out = out;
  }

  /** Begins a stream or file anew. */
  begin(): void {
    for (const dictionary of this.#dictionaries) dictionary.clear();
    this.#began = false;
    this.#out.put(SCHEMA_MESSAGE);
  }

  end(): void {
    this.#out.put(END_MARK);
  }

  write(batch: Batch): { record: MessagePlace; dictionaries: readonly MessagePlace[] } {
    const { placed, places } = this.#writeDictionaries(batch);
    this.#began = true;
    const record = this.#record;
    record.begin(this.#out, 1);
    for (const { name, type } of BATCH_COLUMNS) this.#header(type, batch[name as keyof BatchHeader]);
    let next = 0;
    for (const { name, columns } of TABLES) {
      const table = batch.tables[name];
      record.node(1, 0);
      record.nothing();
      record.buffer(bytesOf(Int32Array.of(0, table.rows), 2));
      record.node(table.rows, 0);
      record.nothing();
      for (const { name: column, type } of columns) {
        const data = table.columns[column];
        const indices = type === 'dict' ? (placed[next++] as Placed).indices : null;
        if (data === undefined) this.#absent(type, table.rows);
        else this.#column(data, table.rows, indices);
      }
    }
    return { record: record.end(), dictionaries: places };
  }

  /** Where each dictionary column's values are, and where the messages lie. */
  #writeDictionaries({ tables }: Batch): { placed: readonly Placed[]; places: readonly MessagePlace[] } {
    const placed: Placed[] = [];
    const places: MessagePlace[] = [];
    for (const { name, columns } of TABLES) {
      for (const column of columns) {
        if (column.type !== 'dict') continue;
        const data = tables[name].columns[column.name];
        const place = (this.#dictionaries[placed.length] as GrowingDictionary).place(data?.type === 'dict' ? data.dictionary : []);
        placed.push(place);
        if (place.added.length > 0 || !this.#began) places.push(this.#values(placed.length, place.added));
      }
    }
    return { placed, places };
  }

  #values(id: number, texts: readonly string[]): MessagePlace {
    const message = this.#began ? this.#delta : this.#dictionary;
    message.begin(this.#out, texts.length, id);
    message.node(texts.length, 0);
    message.nothing();
    message.texts(texts);
    return message.end();
  }

  #header(type: ColumnType, value: BatchHeader[keyof BatchHeader]): void {
    const record = this.#record;
    record.node(1, 0);
    record.nothing();
    if (type === 'int64') record.buffer(bytesOf(BigInt64Array.of(value as bigint), 1));
    else if (type === 'int32') record.buffer(bytesOf(Int32Array.of(value as number), 1));
    else if (type === 'bool') record.buffer(Uint8Array.of(value === true ? 1 : 0));
    else record.texts([String(value)]);
  }

  #column(data: ColumnData, rows: number, indices: Int32Array | null): void {
    const record = this.#record;
    const { validity } = data;
    record.node(rows, validity === null ? 0 : countNulls(validity, rows));
    if (validity === null) record.nothing();
    else record.buffer(validity.subarray(0, (rows + 7) >> 3));
    switch (data.type) {
      case 'int64':
      case 'int32':
        record.buffer(bytesOf(data.values, rows));
        break;
      case 'bool':
        this.#bits(data.values, rows);
        break;
      case 'dict':
        if (indices === null) record.buffer(bytesOf(data.indices, rows));
        else this.#indices(data.indices, rows, indices);
        break;
      case 'text':
      case 'blob':
        record.buffer(bytesOf(data.offsets, rows + 1));
        record.buffer(data.data);
        break;
    }
  }

  #bits(values: Uint8Array, rows: number): void {
    const at = this.#record.reserve((rows + 7) >> 3);
    const { bytes } = this.#out;
    for (let row = 0; row < rows; row += 8) {
      let byte = 0;
      for (let bit = 0; bit < 8 && row + bit < rows; bit += 1) if (values[row + bit] !== 0) byte |= 1 << bit;
      bytes[at + (row >> 3)] = byte;
    }
  }

  #indices(own: Int32Array, rows: number, indices: Int32Array): void {
    const at = this.#record.reserve(rows * 4) >> 2;
    const { words } = this.#out;
    // A null's index may be anything.
    for (let row = 0; row < rows; row += 1) words[at + row] = indices[own[row] as number] ?? 0;
  }

  /** A column that an older batch does not have. */
  #absent(type: ColumnType, rows: number): void {
    const record = this.#record;
    record.node(rows, rows);
    record.zeros((rows + 7) >> 3);
    if (type === 'int64') record.zeros(rows * 8);
    else if (type === 'bool') record.zeros((rows + 7) >> 3);
    else if (type === 'text' || type === 'blob') {
      record.zeros((rows + 1) * 4);
      record.nothing();
    } else record.zeros(rows * 4);
  }
}
