// What a packing of a table says (packed-tables.ts), and parts of several.
export interface Packing {
  /** Raised when it changes: files of an older one are read by their own views, and copied through them. */
  readonly layout: number;
  /** Columns that pack and unpack name: a table without one of them is copied as it is. */
  readonly uses: readonly string[];
  /** Over the rows of one copy; times stay near each other, because a copy is of a short time. */
  readonly order: string;
  /** Integers that order begins with: rows are put in order a range of them at a time, so that little is in memory at once. */
  readonly pieces_by?: string;
  /** Rows with more columns, for what a row alone does not say. */
  readonly over?: (rows: string) => string;
  /** The select list that packs. */
  readonly pack: string;
  /** What several columns are unpacked from: a select list besides those of the packed table. */
  readonly inner?: string;
  /** The columns that are not there as they were. Each operator costs each query some 0.03 ms a file, whether its column is asked for or not. */
  readonly unpack: Readonly<Record<string, string>>;
  /** Whether a row comes back exactly; rows may come from anyone. */
  readonly fits?: string;
}

/** Sums and differences of two such numbers do not overflow. */
export const SAFE = 4e18;
export const within = (...columns: readonly string[]): string => columns.map((column) => `coalesce(${column} BETWEEN 0 AND ${SAFE}, false)`).join(' AND ');
export const withinOrNull = (most: number, ...columns: readonly string[]): string => columns.map((column) => `coalesce(${column} BETWEEN 0 AND ${most}, true)`).join(' AND ');

/** The other end's span id is this one's plus one of a few numbers (queries/correlate/10-exchanges.sql): a dictionary. */
export const PEER_DISTANCE = 'CAST(peer_span_id - span_id AS VARCHAR) AS peer_distance';
export const PEER_FITS = 'coalesce(span_id >= 0, false) AND coalesce(peer_span_id >= 0, true)';
