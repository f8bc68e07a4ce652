// A batch in memory: one slice of one collector run, column by column in Arrow's layout.
import type { RelationName } from '../schema/relations.ts';

/** Validity bitmaps are Arrow's and DuckDB's: bit i of byte i >> 3, least significant first, 1 = present; null = all present. */
export type Validity = Uint8Array | null;

export type ColumnData =
  | { readonly type: 'int64'; readonly values: BigInt64Array; readonly validity: Validity }
  | { readonly type: 'int32'; readonly values: Int32Array; readonly validity: Validity }
  /** One byte a row, 0 or 1 (Arrow IPC packs it into bits, DuckDB takes it as it is). */
  | { readonly type: 'bool'; readonly values: Uint8Array; readonly validity: Validity }
  /** values[i] is an index into dictionary. */
  | { readonly type: 'dict'; readonly indices: Int32Array; readonly dictionary: readonly string[]; readonly validity: Validity }
  /** Row i is data[offsets[i], offsets[i + 1]); text is UTF-8. */
  | { readonly type: 'text' | 'blob'; readonly offsets: Int32Array; readonly data: Uint8Array; readonly validity: Validity };

export interface TableData {
  readonly rows: number;
  /** Keyed by the column names of RELATIONS; every column of the writer's schema version is there. */
  readonly columns: Readonly<Record<string, ColumnData>>;
}

export interface BatchHeader {
  readonly schema_version: number;
  readonly node: string;
  readonly boot_id: string;
  /** Start of the collector, ns since 1970. */
  readonly run_id: bigint;
  /** From 1, without a gap within the run. */
  readonly sequence: bigint;
  readonly mono_ns: bigint;
  readonly utc_ns: bigint;
  readonly error_ns: bigint;
  /** No row older than this follows from this run; ns since 1970. */
  readonly watermark_ns: bigint;
  readonly final: boolean;
}

export interface Batch extends BatchHeader {
  readonly tables: Readonly<Record<RelationName, TableData>>;
}
