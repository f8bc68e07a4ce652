// Columns of an answer as text, a chunk at a time: column by column, because asking each value for its type first
// takes longer than everything else.
import { DuckDBTypeId, JsonDuckDBValueConverter } from '@duckdb/node-api';
import type { DuckDBDataChunk, DuckDBDateValue, DuckDBTimestampNanosecondsValue, DuckDBTimestampValue, DuckDBType, DuckDBValue } from '@duckdb/node-api';

/** One text a row. */
export type ColumnText = (chunk: DuckDBDataChunk, column: number, row_count: number) => string[];

type ValueText = (value: Exclude<DuckDBValue, null>) => string;

const quoted: ValueText = (value) => `"${String(value as bigint)}"`;
const plain: ValueText = (value) => String(value);
const jsonText: ValueText = (value) => JSON.stringify(value);

/** '2026-09-21 14:13:20.123', as DuckDB writes it; neighbours mostly share their second. */
function timestampText(units_a_second: bigint, digits: number, units: (value: DuckDBValue) => bigint): ValueText {
  let last_second: bigint | undefined;
  let head = '';
  return (value) => {
    const since = units(value);
    let second = since / units_a_second;
    let rest = since % units_a_second;
    if (rest < 0n) {
      second -= 1n;
      rest += units_a_second;
    }
    // Infinity, and years that Date does not write with four digits.
    if (second < -62_135_596_800n || second > 253_402_300_799n) return String(value);
    if (second !== last_second) {
      last_second = second;
      head = new Date(Number(second) * 1000).toISOString().slice(0, 19).replace('T', ' ');
    }
    return rest === 0n ? head : `${head}.${String(rest).padStart(digits, '0').replace(/0+$/, '')}`;
  };
}

const nanosText = (): ValueText => timestampText(1_000_000_000n, 9, (value) => (value as DuckDBTimestampNanosecondsValue).nanos);
const microsText = (): ValueText => timestampText(1_000_000n, 6, (value) => (value as DuckDBTimestampValue).micros);

const ENDLESS_DAYS = 2_147_483_647;

/** DuckDB's client takes an infinite date for one in five million years. */
const dateText: ValueText = (value) => {
  const { days } = value as DuckDBDateValue;
  return Math.abs(days) === ENDLESS_DAYS ? `${days < 0 ? '-' : ''}infinity` : String(value);
};

/** JSON has no word for infinity, and JavaScript's writer forgets the sign of -0. */
const jsonNumber: ValueText = (value) => (Object.is(value, -0) ? '-0.0' : Number.isFinite(value) ? String(value) : `"${String(value)}"`);

/** Makers, because a text may remember what it wrote last. */
const JSON_TEXTS: Partial<Record<DuckDBTypeId, () => ValueText>> = {
  [DuckDBTypeId.BOOLEAN]: () => plain,
  [DuckDBTypeId.TINYINT]: () => plain,
  [DuckDBTypeId.SMALLINT]: () => plain,
  [DuckDBTypeId.INTEGER]: () => plain,
  [DuckDBTypeId.UTINYINT]: () => plain,
  [DuckDBTypeId.USMALLINT]: () => plain,
  [DuckDBTypeId.UINTEGER]: () => plain,
  [DuckDBTypeId.BIGINT]: () => quoted,
  [DuckDBTypeId.UBIGINT]: () => quoted,
  [DuckDBTypeId.HUGEINT]: () => quoted,
  [DuckDBTypeId.UHUGEINT]: () => quoted,
  [DuckDBTypeId.DECIMAL]: () => quoted,
  [DuckDBTypeId.FLOAT]: () => jsonNumber,
  [DuckDBTypeId.DOUBLE]: () => jsonNumber,
  [DuckDBTypeId.VARCHAR]: () => jsonText,
  [DuckDBTypeId.DATE]: () => (value) => `"${dateText(value)}"`,
  [DuckDBTypeId.INTERVAL]: () => (value) => jsonText(String(value)),
  [DuckDBTypeId.TIMESTAMP]: () => {
    const text = microsText();
    return (value) => `"${text(value)}"`;
  },
  [DuckDBTypeId.TIMESTAMP_NS]: () => {
    const text = nanosText();
    return (value) => `"${text(value)}"`;
  },
};

/** As JSON: 64 bits and more as strings. */
export function columnJson(type: DuckDBType): ColumnText {
  const known = JSON_TEXTS[type.typeId]?.();
  if (known === undefined) return (chunk, column, row_count) => chunk.convertColumnValues(column, JsonDuckDBValueConverter).slice(0, row_count).map((value) => JSON.stringify(value));
  return (chunk, column, row_count) => chunk.getColumnValues(column).slice(0, row_count).map((value) => (value === null ? 'null' : known(value)));
}

/** And what begins a comment for some readers. */
const NEEDS_QUOTES = /[",\r\n#]/;

/** An empty field is null; an empty text is "". */
export function csvField(value: string | null): string {
  if (value === null) return '';
  return value === '' || NEEDS_QUOTES.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

/** As DuckDB writes them: 1.0, 1e-05, 1e+16, nan, -inf. */
function doubleText(value: DuckDBValue): string {
  const number = value as number;
  if (!Number.isFinite(number)) return String(number).slice(0, number < 0 ? 4 : 3).toLowerCase();
  const size = Math.abs(number);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) return number.toExponential().replace(/e([+-])(\d)$/, 'e$10$2');
  const text = Object.is(number, -0) ? '-0' : String(number);
  return text.includes('.') ? text : `${text}.0`;
}

const CSV_TEXTS: Partial<Record<DuckDBTypeId, () => ValueText>> = {
  [DuckDBTypeId.TIMESTAMP_NS]: nanosText, [DuckDBTypeId.TIMESTAMP]: microsText, [DuckDBTypeId.DOUBLE]: () => doubleText, [DuckDBTypeId.FLOAT]: () => doubleText, [DuckDBTypeId.DATE]: () => dateText,
};

/** As fields by RFC 4180. */
export function columnCsv(type: DuckDBType): ColumnText {
  const text = CSV_TEXTS[type.typeId]?.() ?? plain;
  return (chunk, column, row_count) => chunk.getColumnValues(column).slice(0, row_count).map((value) => csvField(value === null ? null : text(value)));
}
