// A column of an answer as Arrow, gathered from DuckDB's chunks. Numbers, times and texts are copied as they lie in memory: a value of JavaScript each
// would take twenty times as long. What lies there is DuckDB's business, so its version is pinned and each type tested by value.
import duckdb from '@duckdb/node-bindings';
import { DuckDBTypeId } from '@duckdb/node-api';
import type { DuckDBDataChunk, DuckDBType, DuckDBValue } from '@duckdb/node-api';
import { Bool, makeData } from 'apache-arrow';
import type { Data, DataType, Int64 } from 'apache-arrow';
import { columnMaker } from './arrow-data.ts';
import { Room } from './arrow-room.ts';
import { TextColumn } from './arrow-texts.ts';
import { Validity, isValid, setBit, vectorOf } from './arrow-validity.ts';

export interface ArrowColumn {
  readonly type: DataType;
  append(chunk: DuckDBDataChunk, column: number, row_count: number): void;
  /** All rows since the last time; what it is made of may be written again by the first append after the next take. */
  take(): Data;
}

/** Bytes of a value, where DuckDB and Arrow lay it out alike. */
const WIDTHS: Partial<Record<DuckDBTypeId, number>> = {
  [DuckDBTypeId.TINYINT]: 1, [DuckDBTypeId.SMALLINT]: 2, [DuckDBTypeId.INTEGER]: 4, [DuckDBTypeId.BIGINT]: 8, [DuckDBTypeId.UTINYINT]: 1, [DuckDBTypeId.USMALLINT]: 2, [DuckDBTypeId.UINTEGER]: 4, [DuckDBTypeId.UBIGINT]: 8,
  [DuckDBTypeId.FLOAT]: 4, [DuckDBTypeId.DOUBLE]: 8, [DuckDBTypeId.DATE]: 4, [DuckDBTypeId.TIME]: 8,
  [DuckDBTypeId.TIMESTAMP]: 8, [DuckDBTypeId.TIMESTAMP_TZ]: 8, [DuckDBTypeId.TIMESTAMP_S]: 8, [DuckDBTypeId.TIMESTAMP_MS]: 8, [DuckDBTypeId.TIMESTAMP_NS]: 8,
};
class FixedColumn implements ArrowColumn {
  readonly type: DataType;
  readonly #width: number;
  readonly #validity = new Validity();
  readonly #room = new Room();

  constructor(type: DataType, width: number) {
    this.type = type;
    this.#width = width;
  }

  append(chunk: DuckDBDataChunk, column: number, row_count: number): void {
    const vector = vectorOf(chunk, column);
    const width = this.#width;
    const bytes = duckdb.vector_get_data(vector, row_count * width) as Uint8Array;
    const bits = this.#validity.append(vector, row_count);
    // Under a null lies whatever lay there before.
    if (bits !== null) for (let row = 0; row < row_count; row++) if (!isValid(bits, row)) bytes.fill(0, row * width, (row + 1) * width);
    this.#room.add(bytes);
  }

  take(): Data {
    const { buffer, byteOffset, byteLength } = this.#room.take();
    const { ArrayType } = this.type as Int64;
    return makeData({ type: this.type as Int64, data: new ArrayType(buffer, byteOffset, byteLength / this.#width) as BigInt64Array, ...this.#validity.take() });
  }
}

/** A byte a row in DuckDB, a bit in Arrow. */
class BoolColumn implements ArrowColumn {
  readonly type = new Bool();
  readonly #validity = new Validity();
  readonly #room = new Room();

  append(chunk: DuckDBDataChunk, column: number, row_count: number): void {
    const vector = vectorOf(chunk, column);
    const bytes = duckdb.vector_get_data(vector, row_count) as Uint8Array;
    const bits = this.#validity.append(vector, row_count);
    if (bits !== null) for (let row = 0; row < row_count; row++) if (!isValid(bits, row)) bytes[row] = 0;
    this.#room.add(bytes);
  }

  take(): Data {
    const bytes = this.#room.take();
    const data = new Uint8Array((bytes.byteLength + 7) >> 3);
    for (let row = 0; row < bytes.byteLength; row++) if (bytes[row] === 1) setBit(data, row);
    return makeData({ type: this.type, data, ...this.#validity.take() });
  }
}

/** Everything else goes through values. */
class ValueColumn implements ArrowColumn {
  readonly type: DataType;
  readonly #data: (values: readonly (DuckDBValue | undefined)[]) => Data;
  #values: DuckDBValue[][] = [];

  constructor({ type, data }: { readonly type: DataType; data(values: readonly (DuckDBValue | undefined)[]): Data }) {
    this.type = type;
    this.#data = data;
  }

  append(chunk: DuckDBDataChunk, column: number, row_count: number): void {
    this.#values.push(chunk.getColumnValues(column).slice(0, row_count));
  }

  take(): Data {
    const values = this.#values.flat();
    this.#values = [];
    return this.#data(values);
  }
}

export function arrowColumn(type: DuckDBType): ArrowColumn {
  const maker = columnMaker(type);
  const width = WIDTHS[type.typeId];
  if (width !== undefined) return new FixedColumn(maker.type, width);
  if (type.typeId === DuckDBTypeId.VARCHAR || type.typeId === DuckDBTypeId.BLOB) return new TextColumn(maker.type);
  if (type.typeId === DuckDBTypeId.BOOLEAN) return new BoolColumn();
  return new ValueColumn(maker);
}
