// DuckDB values -> Arrow columns. Types are those of DuckDB's own Arrow export; what Arrow has no type for goes as text.
import {
  Binary, Bool, DateDay, Decimal, Field, FixedSizeList, Float32, Float64, Int8, Int16, Int32, Int64, List, Map_, Null, Struct, TimeMicrosecond, TimestampMicrosecond, TimestampMillisecond, TimestampNanosecond,
  TimestampSecond, Uint8, Uint16, Uint32, Uint64, Utf8, makeData,
} from 'apache-arrow';
import type { Data, DataType } from 'apache-arrow';
import {
  DuckDBArrayType, DuckDBArrayValue, DuckDBBlobValue, DuckDBDateValue, DuckDBDecimalType, DuckDBDecimalValue, DuckDBListType, DuckDBListValue, DuckDBMapType, DuckDBMapValue, DuckDBStructType, DuckDBStructValue,
  DuckDBTimeValue, DuckDBTimestampMillisecondsValue, DuckDBTimestampNanosecondsValue, DuckDBTimestampSecondsValue, DuckDBTimestampTZValue, DuckDBTimestampValue, DuckDBTypeId,
} from '@duckdb/node-api';
import type { DuckDBType, DuckDBValue } from '@duckdb/node-api';

type Values = readonly (DuckDBValue | undefined)[];

interface ColumnMaker {
  readonly type: DataType;
  data(values: Values): Data;
}

interface Validity {
  readonly length: number;
  readonly nullCount: number;
  readonly nullBitmap?: Uint8Array;
}

function validityOf(values: Values): Validity {
  const bits = new Uint8Array((values.length + 7) >> 3);
  let nulls = 0;
  values.forEach((value, row) => {
    if (value === null || value === undefined) nulls += 1;
    else bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7));
  });
  return { length: values.length, nullCount: nulls, ...(nulls === 0 ? {} : { nullBitmap: bits }) };
}

interface Fixed {
  readonly from: (values: Values) => ArrayLike<number | bigint>;
  readonly type: DataType;
}

const isNull = (value: DuckDBValue | undefined): value is null | undefined => value === null || value === undefined;
const numbers = (values: Values): number[] => values.map((value) => (isNull(value) ? 0 : (value as number)));
const bigints = <T>(values: Values, of: (value: T) => bigint): bigint[] => values.map((value) => (isNull(value) ? 0n : of(value as T)));
const asIs = (values: Values): bigint[] => bigints<bigint>(values, (value) => value);

/** Types of fixed width: one typed array, nulls as 0 under the bitmap. */
const FIXED: Partial<Record<DuckDBTypeId, Fixed>> = {
  [DuckDBTypeId.TINYINT]: { type: new Int8(), from: (values) => Int8Array.from(numbers(values)) },
  [DuckDBTypeId.SMALLINT]: { type: new Int16(), from: (values) => Int16Array.from(numbers(values)) },
  [DuckDBTypeId.INTEGER]: { type: new Int32(), from: (values) => Int32Array.from(numbers(values)) },
  [DuckDBTypeId.BIGINT]: { type: new Int64(), from: (values) => BigInt64Array.from(asIs(values)) },
  [DuckDBTypeId.UTINYINT]: { type: new Uint8(), from: (values) => Uint8Array.from(numbers(values)) },
  [DuckDBTypeId.USMALLINT]: { type: new Uint16(), from: (values) => Uint16Array.from(numbers(values)) },
  [DuckDBTypeId.UINTEGER]: { type: new Uint32(), from: (values) => Uint32Array.from(numbers(values)) },
  [DuckDBTypeId.UBIGINT]: { type: new Uint64(), from: (values) => BigUint64Array.from(asIs(values)) },
  [DuckDBTypeId.FLOAT]: { type: new Float32(), from: (values) => Float32Array.from(numbers(values)) },
  [DuckDBTypeId.DOUBLE]: { type: new Float64(), from: (values) => Float64Array.from(numbers(values)) },
  [DuckDBTypeId.DATE]: { type: new DateDay(), from: (values) => Int32Array.from(values, (value) => (isNull(value) ? 0 : (value as DuckDBDateValue).days)) },
  [DuckDBTypeId.TIME]: { type: new TimeMicrosecond(), from: (values) => BigInt64Array.from(bigints<DuckDBTimeValue>(values, ({ micros }) => micros)) },
  [DuckDBTypeId.TIMESTAMP]: { type: new TimestampMicrosecond(), from: (values) => BigInt64Array.from(bigints<DuckDBTimestampValue>(values, ({ micros }) => micros)) },
  [DuckDBTypeId.TIMESTAMP_TZ]: { type: new TimestampMicrosecond('UTC'), from: (values) => BigInt64Array.from(bigints<DuckDBTimestampTZValue>(values, ({ micros }) => micros)) },
  [DuckDBTypeId.TIMESTAMP_S]: { type: new TimestampSecond(), from: (values) => BigInt64Array.from(bigints<DuckDBTimestampSecondsValue>(values, ({ seconds }) => seconds)) },
  [DuckDBTypeId.TIMESTAMP_MS]: { type: new TimestampMillisecond(), from: (values) => BigInt64Array.from(bigints<DuckDBTimestampMillisecondsValue>(values, ({ millis }) => millis)) },
  [DuckDBTypeId.TIMESTAMP_NS]: { type: new TimestampNanosecond(), from: (values) => BigInt64Array.from(bigints<DuckDBTimestampNanosecondsValue>(values, ({ nanos }) => nanos)) },
};

function fixed({ type, from }: Fixed): ColumnMaker {
  return { type, data: (values) => makeData({ type: type as Int64, data: from(values) as unknown as BigInt64Array, ...validityOf(values) }) };
}

/** Two's complement, 128 bits, little-endian. */
function decimal(width: number, scale: number, unscaled: (value: DuckDBValue) => bigint): ColumnMaker {
  const type = new Decimal(scale, width, 128);
  return {
    type,
    data: (values) => {
      const words = new BigUint64Array(values.length * 2);
      values.forEach((value, row) => {
        if (isNull(value)) return;
        const bits = BigInt.asUintN(128, unscaled(value));
        words[row * 2] = bits & 0xffff_ffff_ffff_ffffn;
        words[row * 2 + 1] = bits >> 64n;
      });
      return makeData({ type, data: new Uint32Array(words.buffer), ...validityOf(values) });
    },
  };
}

function slices(parts: readonly (Uint8Array | undefined)[]): { valueOffsets: Int32Array; data: Uint8Array } {
  const valueOffsets = new Int32Array(parts.length + 1);
  const data = new Uint8Array(parts.reduce((sum, part) => sum + (part?.length ?? 0), 0));
  parts.forEach((part, row) => {
    const at = valueOffsets[row] as number;
    if (part !== undefined) data.set(part, at);
    valueOffsets[row + 1] = at + (part?.length ?? 0);
  });
  return { valueOffsets, data };
}

/** All into one buffer: an array a text would cost more than its bytes. */
function textSlices(values: Values): { valueOffsets: Int32Array; data: Uint8Array } {
  const texts = values.map((value) => (isNull(value) ? '' : String(value)));
  const buffer = Buffer.allocUnsafe(texts.reduce((sum, text) => sum + text.length * 3, 0));
  const valueOffsets = new Int32Array(texts.length + 1);
  let at = 0;
  texts.forEach((text, row) => {
    at += buffer.write(text, at);
    valueOffsets[row + 1] = at;
  });
  return { valueOffsets, data: buffer.subarray(0, at) };
}

const TEXT: ColumnMaker = {
  type: new Utf8(),
  data: (values) => makeData({ type: new Utf8(), ...textSlices(values), ...validityOf(values) }),
};
const BYTES: ColumnMaker = {
  type: new Binary(),
  data: (values) => makeData({ type: new Binary(), ...slices(values.map((value) => (isNull(value) ? undefined : (value as DuckDBBlobValue).bytes))), ...validityOf(values) }),
};
const BOOLEANS: ColumnMaker = {
  type: new Bool(),
  data: (values) => {
    const bits = new Uint8Array((values.length + 7) >> 3);
    values.forEach((value, row) => {
      if (value === true) bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7));
    });
    return makeData({ type: new Bool(), data: bits, ...validityOf(values) });
  },
};
const NULLS: ColumnMaker = { type: new Null(), data: (values) => makeData({ type: new Null(), length: values.length }) };

function offsetsOf(lists: readonly (readonly unknown[] | undefined)[]): Int32Array {
  const offsets = new Int32Array(lists.length + 1);
  lists.forEach((list, row) => (offsets[row + 1] = (offsets[row] as number) + (list?.length ?? 0)));
  return offsets;
}

function list(of: DuckDBType): ColumnMaker {
  const item = columnMaker(of);
  const type = new List(new Field('item', item.type, true));
  return {
    type,
    data: (values) => {
      const lists = values.map((value) => (isNull(value) ? undefined : (value as DuckDBListValue).items));
      return makeData({ type, valueOffsets: offsetsOf(lists), child: item.data(lists.flatMap((items) => items ?? [])), ...validityOf(values) });
    },
  };
}

function array(of: DuckDBType, length: number): ColumnMaker {
  const item = columnMaker(of);
  const type = new FixedSizeList(length, new Field('item', item.type, true));
  const none: Values = Array.from({ length }, () => null);
  return {
    type,
    data: (values) => makeData({ type, child: item.data(values.flatMap((value) => (isNull(value) ? none : (value as DuckDBArrayValue).items) as Values)), ...validityOf(values) }),
  };
}

function struct(names: readonly string[], types: readonly DuckDBType[]): ColumnMaker {
  const makers = types.map(columnMaker);
  const type = new Struct(makers.map((maker, at) => new Field(names[at] as string, maker.type, true)));
  return {
    type,
    data: (values) => makeData({ type, children: makers.map((maker, at) => maker.data(values.map((value) => (isNull(value) ? null : (value as DuckDBStructValue).entries[names[at] as string])))), ...validityOf(values) }),
  };
}

function map(key: DuckDBType, value: DuckDBType): ColumnMaker {
  const keys = columnMaker(key);
  const items = columnMaker(value);
  const entry = new Struct<{ key: DataType; value: DataType }>([new Field('key', keys.type, false), new Field('value', items.type, true)]);
  const type = new Map_(new Field('entries', entry, false));
  return {
    type,
    data: (values) => {
      const maps = values.map((one) => (isNull(one) ? undefined : (one as DuckDBMapValue).entries));
      const entries = maps.flatMap((one) => one ?? []);
      const child = makeData({ type: entry, length: entries.length, nullCount: 0, children: [keys.data(entries.map((pair) => pair.key)), items.data(entries.map((pair) => pair.value))] });
      return makeData({ type, valueOffsets: offsetsOf(maps), child: child as never, ...validityOf(values) });
    },
  };
}

/** HUGEINT, what sum() gives, as DuckDB exports it: 38 digits. */
export function columnMaker(type: DuckDBType): ColumnMaker {
  const simple = FIXED[type.typeId];
  if (simple !== undefined) return fixed(simple);
  if (type instanceof DuckDBDecimalType) return decimal(type.width, type.scale, (value) => (value as DuckDBDecimalValue).value);
  if (type instanceof DuckDBListType) return list(type.valueType);
  if (type instanceof DuckDBArrayType) return array(type.valueType, type.length);
  if (type instanceof DuckDBStructType) return struct(type.entryNames, type.entryTypes);
  if (type instanceof DuckDBMapType) return map(type.keyType, type.valueType);
  if (type.typeId === DuckDBTypeId.HUGEINT) return decimal(38, 0, (value) => value as bigint);
  if (type.typeId === DuckDBTypeId.BLOB) return BYTES;
  if (type.typeId === DuckDBTypeId.BOOLEAN) return BOOLEANS;
  if (type.typeId === DuckDBTypeId.SQLNULL) return NULLS;
  return TEXT;
}
