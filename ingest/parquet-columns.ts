// How stored columns are written to Parquet, and how they are read back. Every reader gets BIGINT, INTEGER, BOOLEAN, DOUBLE,
// VARCHAR, BLOB and microseconds in UTC right; nanosecond timestamps and unsigned integers are errors or wrong in some.
// So a time is two columns: <name>, for people and for pruning, and <name>_unix_nano, exact.
import { createHash } from 'node:crypto';
import { sqlName } from './duckdb-instance.ts';

export interface StoredColumn {
  readonly name: string;
  readonly type: string;
}

/** Stored BIGINT columns that are UTC, ns since 1970, and what their time is called. Other ..._ns are durations or other clocks. */
const TIME_NAMES: Readonly<Record<string, string>> = {
  ts_ns: 'ts', end_ts_ns: 'end_ts', connect_ts_ns: 'connect_ts', started_ns: 'started_at', ended_ns: 'ended_at', from_ns: 'from_ts', to_ns: 'to_ts',
  utc_ns: 'utc', watermark_ns: 'watermark', start_ns: 'start_time', end_ns: 'end_time', request_end_ns: 'request_end_time', answer_ns: 'response_time',
  window_start_ns: 'window_start', window_end_ns: 'window_end',
};

/** Added for people: the public view makes them from other columns, so they are not read back. What costs bytes (hex ids, durations) is left to the reader. */
const EXTRA_COLUMNS: Readonly<Record<string, Readonly<Record<string, string>>>> = { spans: { kind: "CASE WHEN is_server THEN 'server' ELSE 'client' END" } };

interface Rewritten {
  /** The stored column. */
  readonly name: string;
  /** What it would be written as, and is not. */
  readonly instead_of: readonly string[];
  readonly written: Readonly<Record<string, string>>;
  /** The way back. */
  readonly read: string;
  /** Columns that `read` names and files have only if they are of older versions. */
  readonly former: Readonly<Record<string, string>>;
}

/** Written otherwise than they are stored: what another column says already costs bytes again, as nothing is compressed across columns. */
const WRITTEN: Readonly<Record<string, readonly Rewritten[]>> = {
  spans: [
    // One of a few numbers, where the id itself is 8 bytes that look like no other.
    { name: 'peer_span_id', instead_of: ['peer_span_id'], written: { peer_distance: 'peer_span_id - span_id' }, read: 'coalesce(span_id + peer_distance, peer_span_id)', former: { peer_span_id: 'BIGINT' } },
    // Both halves of trace_id; the first is kept as a number, so that row groups are skipped by it.
    { name: 'trace_hi', instead_of: ['trace_hi'], written: {}, read: 'trace_start_unix_nano', former: {} },
    { name: 'trace_start', instead_of: ['trace_start'], written: {}, read: 'make_timestamp_ns(trace_start_unix_nano)', former: {} },
    { name: 'trace_lo', instead_of: ['trace_lo'], written: {}, read: "coalesce(trace_lo, TRY_CAST('0x' || right(trace_id, 16) AS BIGINT))", former: { trace_lo: 'BIGINT' } },
    { name: 'end_ns', instead_of: ['end_time_unix_nano'], written: { end_time_nanos: 'CAST(end_ns % 1000 AS INTEGER)' }, read: 'coalesce(epoch_us(end_time) * 1000 + end_time_nanos, end_time_unix_nano)', former: { end_time_unix_nano: 'BIGINT' } },
    { name: 'first_byte_ns', instead_of: ['first_byte_ns'], written: { after_first_byte_ns: 'end_ns - start_ns - first_byte_ns' },
      read: 'coalesce(epoch_us(end_time) * 1000 + end_time_nanos - start_time_unix_nano - after_first_byte_ns, first_byte_ns)', former: { first_byte_ns: 'BIGINT' } },
  ],
};

/** Rows that are alike lie together, as far as times allow; else in order of time. */
const ORDERS: Readonly<Record<string, string>> = {
  socket_events: 'ts_ns // 10000000000, socket_id, ts_ns',
  messages: 'ts_ns // 10000000000, socket_id, ts_ns',
  spans: 'trace_hi, trace_lo, start_ns',
  span_links: 'start_ns, span_id, candidate_span_id',
};

/** What rows are partitioned by, first that is there; none: the table says nothing of when. */
const SORT_COLUMNS = ['ts_ns', 'start_ns', 'from_ns', 'utc_ns', 'window_start_ns'] as const;

export const sortColumn = (columns: readonly StoredColumn[]): string | null => SORT_COLUMNS.find((name) => columns.some((column) => column.name === name)) ?? null;

export const exportOrder = (table: string, columns: readonly StoredColumn[]): string | null => ORDERS[table] ?? sortColumn(columns);

const nanoName = (time: string): string => `${time}_unix_nano`;
const microseconds = (ns: string): string => `make_timestamptz(${ns} // 1000)`;

/** DuckDB types that a reader somewhere gets wrong, and what is written for them. Also for the columns of queries. */
export function portable(name: string, type: string): readonly (readonly [name: string, expression: string])[] {
  const own = sqlName(name);
  if (type === 'TIMESTAMP_NS') return [[name, microseconds(`epoch_ns(${own})`)], [nanoName(name), `epoch_ns(${own})`]];
  if (type.startsWith('TIMESTAMP')) return [[name, microseconds(`epoch_us(${own}) * 1000`)]];
  if (/^U(BIGINT|INTEGER)$|^(U?HUGEINT)$/.test(type)) return [[name, `CAST(${own} AS BIGINT)`]];
  if (/^U?(TINY|SMALL)INT$|^USMALLINT$/.test(type)) return [[name, `CAST(${own} AS INTEGER)`]];
  if (type === 'FLOAT' || type.startsWith('DECIMAL')) return [[name, `CAST(${own} AS DOUBLE)`]];
  if (/^(BIGINT|INTEGER|BOOLEAN|DOUBLE|VARCHAR|BLOB|DATE)$/.test(type)) return [[name, own]];
  if (/\[|^(STRUCT|MAP|LIST|UNION)/.test(type)) return [[name, `CAST(to_json(${own}) AS VARCHAR)`]];
  return [[name, `CAST(${own} AS VARCHAR)`]];
}

/** The select list that writes a stored table; nothing that could not be read back is left out. */
export function writtenColumns(table: string, columns: readonly StoredColumn[]): string {
  const list = new Map<string, string>();
  for (const { name, type } of columns) {
    const time = type === 'BIGINT' ? TIME_NAMES[name] : undefined;
    for (const [as, expression] of time === undefined ? portable(name, type) : [[time, microseconds(sqlName(name))], [nanoName(time), sqlName(name)]] as const) list.set(as, expression);
  }
  for (const { instead_of, written } of WRITTEN[table] ?? []) {
    for (const name of instead_of) list.delete(name);
    for (const [as, expression] of Object.entries(written)) list.set(as, expression);
  }
  for (const [as, expression] of Object.entries(EXTRA_COLUMNS[table] ?? {})) list.set(as, expression);
  return [...list].map(([as, expression]) => `${expression} AS ${sqlName(as)}`).join(', ');
}

/** Two files of a table that were written with the same shape have the same columns. */
export function shapeOf(table: string, columns: readonly StoredColumn[]): string {
  return createHash('sha256').update(JSON.stringify([writtenColumns(table, columns), columns.map(({ type }) => type)])).digest('hex').slice(0, 16);
}

/** What files may have besides: a select list of nulls, as the columns of files of older versions. */
export const formerColumns = (table: string): string =>
  (WRITTEN[table] ?? []).flatMap(({ former }) => Object.entries(former)).map(([name, type]) => `, CAST(NULL AS ${type}) AS ${sqlName(name)}`).join('');

/** The inverse, over files and formerColumns: the stored columns, exactly as they were. */
export function readColumns(table: string, columns: readonly StoredColumn[]): string {
  return columns
    .map(({ name, type }) => {
      const otherwise = WRITTEN[table]?.find((column) => column.name === name);
      if (otherwise !== undefined) return `${otherwise.read} AS ${sqlName(name)}`;
      const time = type === 'BIGINT' ? TIME_NAMES[name] : undefined;
      if (time !== undefined) return `${sqlName(nanoName(time))} AS ${sqlName(name)}`;
      if (type === 'TIMESTAMP_NS') return `make_timestamp_ns(${sqlName(nanoName(name))}) AS ${sqlName(name)}`;
      return `CAST(${sqlName(name)} AS ${type}) AS ${sqlName(name)}`;
    })
    .join(', ');
}
