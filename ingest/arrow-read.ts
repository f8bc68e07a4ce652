// Arrow record batches -> Batch. Everything in them was written by somebody else: types, lengths and nulls are looked at
// before anything relies on them.
import { DataType } from 'apache-arrow';
import type { Data, Dictionary, Field, RecordBatch, Utf8 } from 'apache-arrow';
import { BATCH_COLUMNS, RELATIONS, RELATION_NAMES, SCHEMA_VERSION } from '../schema/relations.ts';
import type { Column, ColumnType, RelationName } from '../schema/relations.ts';
import { TracehouseError } from '../schema/errors.ts';
import { checkBatch } from './batch-check.ts';
import type { Batch, BatchHeader, ColumnData, TableData, Validity } from './batch.ts';

const decoder = new TextDecoder('utf-8', { fatal: true });

class Wrong extends Error {}

function typeFits(type: ColumnType, arrow: DataType): boolean {
  switch (type) {
    case 'int64':
    case 'int32':
      return DataType.isInt(arrow) && arrow.isSigned && arrow.bitWidth === (type === 'int64' ? 64 : 32);
    case 'bool':
      return DataType.isBool(arrow);
    case 'blob':
      return DataType.isBinary(arrow);
    default:
      return DataType.isUtf8(arrow) || (DataType.isDictionary(arrow) && DataType.isUtf8(arrow.dictionary));
  }
}

/** Validity of rows [from, to), null when the column says that none is missing. */
function validityOf(data: Data, from: number, to: number): Validity {
  const bits = data.nullBitmap as Uint8Array | undefined;
  if (bits === undefined || bits.length === 0) return null;
  const start = from + data.offset;
  if ((start & 7) === 0) return bits.subarray(start >> 3, (start + to - from + 7) >> 3);
  const shifted = new Uint8Array((to - from + 7) >> 3);
  for (let row = 0; row < to - from; row += 1) {
    if (((bits[(start + row) >> 3] ?? 0) & (1 << ((start + row) & 7))) !== 0) shifted[row >> 3] = (shifted[row >> 3] as number) | (1 << (row & 7));
  }
  return shifted;
}

const isPresent = (validity: Validity, row: number): boolean => validity === null || ((validity[row >> 3] ?? 0) & (1 << (row & 7))) !== 0;

function textAt(data: Data<Utf8>, row: number): string {
  const start = data.valueOffsets[row];
  const end = data.valueOffsets[row + 1];
  if (start === undefined || end === undefined || start < 0 || end < start || end > data.values.length) throw new Wrong(`has a text outside its data`);
  return decoder.decode(data.values.subarray(start, end));
}

/** Dictionary values by index, decoded when first asked for and then remembered as long as the dictionary lives. */
class DictionaryValues {
  static readonly #decoded = new WeakMap<object, (string | undefined)[]>();
  readonly #parts: readonly Data<Utf8>[];

  constructor(data: Data<Dictionary<Utf8>>) {
    this.#parts = (data.dictionary?.data ?? []) as readonly Data<Utf8>[];
  }

  get length(): number {
    return this.#parts.reduce((sum, part) => sum + part.length, 0);
  }

  get(index: number): string {
    let at = index;
    for (const part of this.#parts) {
      if (at < part.length) {
        let texts = DictionaryValues.#decoded.get(part);
        if (texts === undefined) DictionaryValues.#decoded.set(part, (texts = []));
        return (texts[at] ??= textAt(part, at + part.offset));
      }
      at -= part.length;
    }
    throw new Wrong(`points outside its dictionary`);
  }
}

/** Rows [from, to) of a dictionary column, with a dictionary of its own that holds only what they use. */
function readDictionary(data: Data<Dictionary<Utf8>>, from: number, to: number, validity: Validity): ColumnData & { type: 'dict' } {
  const values = new DictionaryValues(data);
  const size = values.length;
  const source = data.values as Int32Array | BigInt64Array;
  const dictionary: string[] = [];
  const indices = new Int32Array(to - from);
  const placed = new Int32Array(size).fill(-1);
  for (let row = 0; row < indices.length; row += 1) {
    if (!isPresent(validity, row)) continue;
    const index = Number(source[data.offset + from + row] ?? -1);
    if (!(index >= 0 && index < size)) throw new Wrong(`points outside its dictionary at row ${row}`);
    if ((placed[index] as number) < 0) {
      placed[index] = dictionary.length;
      dictionary.push(values.get(index));
    }
    indices[row] = placed[index] as number;
  }
  return { type: 'dict', indices, dictionary, validity };
}

function internTexts(data: Data<Utf8>, from: number, to: number, validity: Validity): ColumnData {
  const index_of = new Map<string, number>();
  const indices = new Int32Array(to - from);
  for (let row = 0; row < indices.length; row += 1) {
    if (!isPresent(validity, row)) continue;
    const value = textAt(data, data.offset + from + row);
    let index = index_of.get(value);
    if (index === undefined) index_of.set(value, (index = index_of.size));
    indices[row] = index;
  }
  return { type: 'dict', indices, dictionary: [...index_of.keys()], validity };
}

function expandTexts(column: ColumnData & { type: 'dict' }): ColumnData {
  const parts = column.dictionary.map((value) => Buffer.from(value));
  const rows = column.indices.length;
  const offsets = new Int32Array(rows + 1);
  const chosen = Array.from({ length: rows }, (_, row) => (isPresent(column.validity, row) ? (parts[column.indices[row] as number] as Buffer) : Buffer.alloc(0)));
  chosen.forEach((part, row) => (offsets[row + 1] = (offsets[row] as number) + part.length));
  return { type: 'text', offsets, data: Buffer.concat(chosen), validity: column.validity };
}

function unpackBits(data: Data, from: number, to: number): Uint8Array {
  const bits = data.values as Uint8Array;
  const rows = new Uint8Array(to - from);
  const start = data.offset + from;
  if (bits.length < (start + rows.length + 7) >> 3) throw new Wrong(`has ${bits.length * 8} values for ${start + rows.length} rows`);
  for (let row = 0; row < rows.length; row += 1) rows[row] = ((bits[(start + row) >> 3] as number) >> ((start + row) & 7)) & 1;
  return rows;
}

function readColumn(type: ColumnType, data: Data, from: number, to: number): ColumnData {
  const validity = validityOf(data, from, to);
  const [start, end] = [data.offset + from, data.offset + to];
  switch (type) {
    case 'int64':
      return { type, values: (data.values as BigInt64Array).subarray(start, end), validity };
    case 'int32':
      return { type, values: (data.values as Int32Array).subarray(start, end), validity };
    case 'bool':
      return { type, values: unpackBits(data, from, to), validity };
    case 'blob':
      return { type, offsets: data.valueOffsets.subarray(start, end + 1), data: data.values as Uint8Array, validity };
    default: {
      if (DataType.isDictionary(data.type)) {
        const column = readDictionary(data as unknown as Data<Dictionary<Utf8>>, from, to, validity);
        return type === 'dict' ? column : expandTexts(column);
      }
      if (type === 'dict') return internTexts(data as unknown as Data<Utf8>, from, to, validity);
      return { type, offsets: data.valueOffsets.subarray(start, end + 1), data: data.values as Uint8Array, validity };
    }
  }
}

function named(fields: readonly Field[], children: readonly Data[]): Map<string, Data> {
  return new Map(fields.flatMap((field, at) => (children[at] === undefined ? [] : [[field.name, children[at]]])) as [string, Data][]);
}

function readTable(name: RelationName, list: Data, row: number): TableData {
  const struct = list.children[0];
  if (!DataType.isList(list.type) || struct === undefined || !DataType.isStruct(struct.type)) throw new Wrong(`${name} is no list of structs`);
  const from = list.valueOffsets[list.offset + row] ?? -1;
  const to = list.valueOffsets[list.offset + row + 1] ?? -1;
  if (from < 0 || to < from || to > struct.length) throw new Wrong(`${name} has rows ${from} to ${to} of ${struct.length}`);
  if (!isPresent(validityOf(list, row, row + 1), 0)) throw new Wrong(`${name} is null`);
  if (struct.nullCount > 0) throw new Wrong(`${name} has rows that are null`);
  const columns: Record<string, ColumnData> = {};
  const found = named(struct.type.children, struct.children as readonly Data[]);
  for (const column of RELATIONS[name].columns as readonly Column[]) {
    const data = found.get(column.name);
    if (data === undefined) continue; // older writers do not have it
    if (!typeFits(column.type, data.type as DataType)) throw new Wrong(`${name}.${column.name} is of type ${String(data.type)}`);
    try {
      columns[column.name] = readColumn(column.type, data, from + struct.offset, to + struct.offset);
    } catch (error) {
      throw new Wrong(`${name}.${column.name} ${(error as Error).message}`);
    }
  }
  return { rows: to - from, columns };
}

function readHeader(found: ReadonlyMap<string, Data>, row: number): BatchHeader {
  const header: Record<string, bigint | number | boolean | string> = {};
  for (const column of BATCH_COLUMNS) {
    const data = found.get(column.name);
    if (data === undefined) throw new Wrong(`it has no column ${column.name}: no batches of tracehouse`);
    if (!typeFits(column.type, data.type as DataType)) throw new Wrong(`${column.name} is of type ${String(data.type)}`);
    const read = readColumn(column.type === 'text' ? 'dict' : column.type, data, row, row + 1);
    if (!isPresent(read.validity, 0)) throw new Wrong(`${column.name} is null`);
    const value = read.type === 'dict' ? read.dictionary[read.indices[0] ?? 0] : 'values' in read ? read.values[0] : undefined;
    if (value === undefined) throw new Wrong(`${column.name} has no value`);
    header[column.name] = column.type === 'bool' ? value === 1 : value;
    if (column.name === 'schema_version' && Number(value) > SCHEMA_VERSION) {
      throw new TracehouseError('schema-version', `the batch is of schema version ${String(value)}; this version knows 1 to ${SCHEMA_VERSION}`, { mend: 'update the side that reads: warehouses before collectors' });
    }
  }
  return header as unknown as BatchHeader;
}

const EMPTY: TableData = { rows: 0, columns: {} };

/** One batch a row. Throws TracehouseError `arrow-format` or `schema-version`. */
export function readRecordBatch(record: RecordBatch, source: string): Batch[] {
  const found = named(record.schema.fields, record.data.children as readonly Data[]);
  return Array.from({ length: record.numRows }, (_, row) => {
    try {
      const header = readHeader(found, row);
      const tables = Object.fromEntries(
        RELATION_NAMES.map((name) => {
          const list = found.get(name);
          return [name, list === undefined ? EMPTY : readTable(name, list, row)];
        }),
      ) as Record<RelationName, TableData>;
      const batch = { ...header, tables };
      checkBatch(batch);
      return batch;
    } catch (error) {
      if (error instanceof TracehouseError && error.code === 'schema-version') throw error;
      throw new TracehouseError('arrow-format', `${source}, batch row ${row}: ${(error as Error).message}`, {
        mend: 'it was damaged, or made by another program: record it again',
        cause: error,
      });
    }
  });
}
