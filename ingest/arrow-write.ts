// Batch -> Arrow record batch. Column memory goes out as it is; only booleans are packed into bits.
import { Binary, RecordBatch, Struct, Utf8, Vector, makeData } from 'apache-arrow';
import type { Bool, Data, Dictionary, Int32, Int64, List } from 'apache-arrow';
import { BATCH_COLUMNS, RELATIONS, RELATION_NAMES } from '../schema/relations.ts';
import type { Column, ColumnType } from '../schema/relations.ts';
import { TracehouseError } from '../schema/errors.ts';
import { arrowSchema } from './arrow-schema.ts';
import type { ArrowSchema } from './arrow-schema.ts';
import type { Batch, BatchHeader, ColumnData, TableData } from './batch.ts';

/** Distinct values that one dictionary column may have in one stream. */
const MOST_VALUES = 2 ** 20;

const encoder = new TextEncoder();

function utf8Data(texts: readonly string[]): Data<Utf8> {
  const parts = texts.map((text) => encoder.encode(text));
  const valueOffsets = new Int32Array(texts.length + 1);
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.forEach((part, index) => {
    data.set(part, valueOffsets[index]);
    valueOffsets[index + 1] = (valueOffsets[index] as number) + part.length;
  });
  return makeData({ type: new Utf8(), length: texts.length, nullCount: 0, valueOffsets, data });
}

function packBits(bytes: Uint8Array, rows: number): Uint8Array {
  const bits = new Uint8Array((rows + 7) >> 3);
  for (let row = 0; row < rows; row += 1) if (bytes[row] !== 0) bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7));
  return bits;
}

/** The values of one dictionary column so far in one stream. Later batches add to it: files allow no replacement. */
class GrowingDictionary {
  readonly #index_of = new Map<string, number>();
  #parts: Data<Utf8>[] = [];
  #vector: Vector<Utf8> | undefined;

  /** Index here of each of the values; new ones are added. */
  place(values: readonly string[]): Int32Array {
    const added: string[] = [];
    const placed = Int32Array.from(values, (value) => {
      let index = this.#index_of.get(value);
      if (index === undefined) {
        index = this.#index_of.size;
        this.#index_of.set(value, index);
        added.push(value);
      }
      return index;
    });
    if (this.#index_of.size > MOST_VALUES) {
      throw new TracehouseError('arrow-format', `a column has more than ${MOST_VALUES} distinct values`, { mend: 'begin a new recording' });
    }
    if (added.length > 0 || this.#vector === undefined) {
      this.#parts = [...this.#parts, utf8Data(added)];
      this.#vector = new Vector(this.#parts);
    }
    return placed;
  }

  get vector(): Vector<Utf8> {
    return this.#vector ?? new Vector([utf8Data([])]);
  }
}

/** One a stream or file: it knows which dictionary values went out before. */
export class BatchWriter {
  readonly #arrow: ArrowSchema = arrowSchema();
  readonly #dictionaries = new Map<number, GrowingDictionary>();

  get schema(): ArrowSchema['schema'] {
    return this.#arrow.schema;
  }

  recordBatch(batch: Batch): RecordBatch {
    const children: Data[] = BATCH_COLUMNS.map((column) => flatData(column.name as keyof BatchHeader, column.type, batch));
    for (const name of RELATION_NAMES) {
      const table = batch.tables[name];
      const struct = this.#arrow.structs[name];
      const field = this.#arrow.schema.fields[children.length];
      const child = makeData({ type: struct, length: table.rows, nullCount: 0, children: struct.children.map((column, at) => this.#column(column.name, column.type, table, (RELATIONS[name].columns[at] as Column).type)) });
      children.push(makeData({ type: field?.type as List, length: 1, nullCount: 0, valueOffsets: Int32Array.of(0, table.rows), child }));
    }
    const { schema } = this.#arrow;
    return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: 1, nullCount: 0, children }));
  }

  #column(name: string, type: unknown, table: TableData, column_type: ColumnType): Data {
    const data = table.columns[name] ?? nullColumn(column_type, table.rows);
    const length = table.rows;
    const common = { length, ...(data.validity === null ? { nullCount: 0 } : { nullBitmap: data.validity }) };
    switch (data.type) {
      case 'int64':
        return makeData({ type: type as Int64, data: data.values.subarray(0, length), ...common });
      case 'int32':
        return makeData({ type: type as Int32, data: data.values.subarray(0, length), ...common });
      case 'bool':
        return makeData({ type: type as Bool, data: packBits(data.values, length), ...common });
      case 'dict':
        return this.#dictionary(type as Dictionary<Utf8, Int32>, data, common);
      case 'text':
        return makeData({ type: new Utf8(), valueOffsets: data.offsets.subarray(0, length + 1), data: data.data, ...common });
      case 'blob':
        return makeData({ type: new Binary(), valueOffsets: data.offsets.subarray(0, length + 1), data: data.data, ...common });
    }
  }

  #dictionary(type: Dictionary<Utf8, Int32>, data: ColumnData & { type: 'dict' }, common: { length: number; nullBitmap?: Uint8Array; nullCount?: number }): Data {
    let growing = this.#dictionaries.get(type.id);
    if (growing === undefined) this.#dictionaries.set(type.id, (growing = new GrowingDictionary()));
    const placed = growing.place(data.dictionary);
    const indices = new Int32Array(common.length);
    for (let row = 0; row < indices.length; row += 1) indices[row] = placed[data.indices[row] as number] ?? 0;
    return makeData({ type, data: indices, dictionary: growing.vector, ...common });
  }
}

/** A column that an older batch does not have. */
function nullColumn(type: ColumnType, rows: number): ColumnData {
  const validity = new Uint8Array((rows + 7) >> 3);
  switch (type) {
    case 'int64':
      return { type, values: new BigInt64Array(rows), validity };
    case 'int32':
      return { type, values: new Int32Array(rows), validity };
    case 'bool':
      return { type, values: new Uint8Array(rows), validity };
    case 'dict':
      return { type, indices: new Int32Array(rows), dictionary: [], validity };
    case 'text':
    case 'blob':
      return { type, offsets: new Int32Array(rows + 1), data: new Uint8Array(0), validity };
  }
}

function flatData(name: keyof BatchHeader, type: ColumnType, batch: BatchHeader): Data {
  const value = batch[name];
  switch (type) {
    case 'int64':
      return makeData({ type: arrowTypeOf(name) as Int64, length: 1, nullCount: 0, data: BigInt64Array.of(value as bigint) });
    case 'int32':
      return makeData({ type: arrowTypeOf(name) as Int32, length: 1, nullCount: 0, data: Int32Array.of(value as number) });
    case 'bool':
      return makeData({ type: arrowTypeOf(name) as Bool, length: 1, nullCount: 0, data: Uint8Array.of(value === true ? 1 : 0) });
    default:
      return utf8Data([String(value)]);
  }
}

const FLAT_TYPES = new Map(arrowSchema().schema.fields.map((field) => [field.name, field.type]));
function arrowTypeOf(name: string): unknown {
  return FLAT_TYPES.get(name);
}
