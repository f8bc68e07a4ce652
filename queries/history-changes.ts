// What correlating a chunk of history again has changed, span by span: links for the report, ids of traces so that old ones still lead to them.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Warehouse } from '../ingest/warehouse.ts';
import { someIn } from './carry-over.ts';
import { rowsNow, type Chunk } from './history-pieces.ts';

export interface ChangeReport {
  readonly spans: number;
  /** Of these, as they were: their raw rows are gone. */
  readonly kept: number;
  readonly unchanged: number;
  readonly links_gained: number;
  readonly links_lost: number;
  readonly links_moved: number;
}

export const NOTHING: ChangeReport = { spans: 0, kept: 0, unchanged: 0, links_gained: 0, links_lost: 0, links_moved: 0 };

/** Of two parts of history together. */
export function bothReports(a: ChangeReport, b: ChangeReport): ChangeReport {
  return {
    spans: a.spans + b.spans, kept: a.kept + b.kept, unchanged: a.unchanged + b.unchanged, links_gained: a.links_gained + b.links_gained, links_lost: a.links_lost + b.links_lost,
    links_moved: a.links_moved + b.links_moved,
  };
}

const COLUMNS = 'span_id, parent_span_id, trace_hi, trace_lo';

/** Temp table changes: spans of which only one side knows (was, is_now), or whose link or trace is another now. */
const difference = (before: string, now: string): string => `CREATE OR REPLACE TEMP TABLE changes AS
  SELECT coalesce(o.span_id, n.span_id) AS span_id, o.span_id IS NOT NULL AS was, n.span_id IS NOT NULL AS is_now,
    o.parent_span_id AS old_parent, n.parent_span_id AS new_parent, o.trace_hi AS old_hi, o.trace_lo AS old_lo, n.trace_hi AS new_hi, n.trace_lo AS new_lo
  FROM ${before} o FULL JOIN ${now} n ON n.span_id = o.span_id
  WHERE o.span_id IS NULL OR n.span_id IS NULL OR o.parent_span_id IS DISTINCT FROM n.parent_span_id OR o.trace_hi <> n.trace_hi OR o.trace_lo <> n.trace_lo`;

/** Of a trace the new id of its root, or of the span with the least id: the root leads the old id to where it is now. */
const OLD_IDS = `INSERT INTO old_ids
  SELECT old_hi, old_lo, arg_min(new_hi, place), arg_min(new_lo, place), min(place)
  FROM (SELECT *, CASE WHEN span_id = old_lo THEN 0 ELSE span_id END AS place FROM changes WHERE was AND is_now AND (old_hi <> new_hi OR old_lo <> new_lo))
  GROUP BY old_hi, old_lo`;

const traceId = (hi: string, lo: string): string => `printf('%016x%016x', ${hi}, ${lo})`;

/** Over the pieces of one chunk. Temp tables: old_ids, and one_sided: spans that were another piece's before, have gone, or are new. */
export class ChunkChanges {
  readonly #connection: DuckDBConnection;
  #report = NOTHING;

  private constructor(connection: DuckDBConnection) {
    this.#connection = connection;
  }

  static async begin(connection: DuckDBConnection): Promise<ChunkChanges> {
    await connection.run(`CREATE OR REPLACE TEMP TABLE old_ids (old_hi BIGINT, old_lo BIGINT, new_hi BIGINT, new_lo BIGINT, place BIGINT);
      CREATE OR REPLACE TEMP TABLE one_sided (span_id BIGINT, parent_span_id BIGINT, trace_hi BIGINT, trace_lo BIGINT, was BOOLEAN)`);
    return new ChunkChanges(connection);
  }

  /** Spans that have been stored so far. */
  get spans(): number {
    return this.#report.spans;
  }

  /** Once a piece is stored. Needed: before_spans, over_now, kept_spans, stays. */
  async notePiece(): Promise<void> {
    await this.#connection.run(`CREATE OR REPLACE TEMP VIEW stored_now AS
      SELECT ${COLUMNS} FROM over_now WHERE is_span UNION ALL SELECT k.span_id, k.parent_span_id, k.trace_hi, k.trace_lo FROM kept_spans k ANTI JOIN over_now o ON o.span_id = k.span_id`);
    await this.#connection.run(difference('before_spans', 'stored_now'));
    await this.#connection.run(`INSERT INTO one_sided
      SELECT span_id, old_parent, old_hi, old_lo, TRUE FROM changes WHERE NOT is_now UNION ALL SELECT span_id, new_parent, new_hi, new_lo, FALSE FROM changes WHERE NOT was`);
    const counted = await this.#connection.runAndReadAll('SELECT (SELECT count(*) FROM stored_now), (SELECT count(*) FROM stays)');
    const [spans, kept] = (counted.getRows()[0] ?? []).map(Number) as [number, number];
    this.#report = bothReports(this.#report, { ...NOTHING, spans, kept });
    await this.#count('was AND is_now');
  }

  /** After the last one: what went from one piece to another is compared as well. */
  async end(): Promise<ChangeReport> {
    await this.#connection.run(difference(`(SELECT ${COLUMNS} FROM one_sided WHERE was)`, `(SELECT ${COLUMNS} FROM one_sided WHERE NOT was)`));
    await this.#count('true');
    const { spans, links_gained, links_moved, links_lost } = this.#report;
    return { ...this.#report, unchanged: spans - links_gained - links_moved - links_lost + this.#gone };
  }

  /** Links that are lost with their spans. */
  #gone = 0;

  async #count(where: string): Promise<void> {
    const counted = await this.#connection.runAndReadAll(`SELECT count(*) FILTER (old_parent IS NULL AND new_parent IS NOT NULL), count(*) FILTER (old_parent IS NOT NULL AND new_parent IS NULL),
      count(*) FILTER (old_parent <> new_parent), count(*) FILTER (old_parent IS NOT NULL AND NOT is_now) FROM changes WHERE ${where}`);
    const [links_gained, links_lost, links_moved, gone] = (counted.getRows()[0] ?? []).map(Number) as [number, number, number, number];
    this.#report = bothReports(this.#report, { ...NOTHING, links_gained, links_lost, links_moved });
    this.#gone += gone;
    await this.#connection.run(OLD_IDS);
  }
}

/** Ids that a trace of the chunk had before still lead to it, as long as no other has them. Needed: old_ids, before_trace_aliases. Rows of the new file are read where they are: there may be many. */
export async function storeAliases(warehouse: Warehouse, connection: DuckDBConnection, alias: string, { ids }: Chunk): Promise<void> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE old_names AS
    SELECT ${traceId('old_hi', 'old_lo')} AS old_trace_id, ${traceId('arg_min(new_hi, place)', 'arg_min(new_lo, place)')} AS trace_id, 0 AS place FROM old_ids GROUP BY old_hi, old_lo`);
  if (await someIn(connection, 'before_trace_aliases')) {
    await connection.run(`CREATE OR REPLACE TEMP TABLE alias_roots AS
      SELECT r.span_id, ${traceId('r.trace_hi', 'r.trace_lo')} AS trace_id FROM ${rowsNow(warehouse, ids, 'spans')} r WHERE r.span_id = r.trace_lo AND ${traceId('r.trace_hi', 'r.trace_lo')} IN (SELECT trace_id FROM before_trace_aliases)`);
    await connection.run(`INSERT INTO old_names
      SELECT a.old_trace_id, coalesce(n.trace_id, a.trace_id), 1
      FROM before_trace_aliases a LEFT JOIN alias_roots r ON r.trace_id = a.trace_id
      LEFT JOIN (SELECT span_id, trace_id FROM ${alias}.spans WHERE span_id IN (SELECT span_id FROM alias_roots)) n ON n.span_id = r.span_id`);
  }
  if (!(await someIn(connection, 'old_names'))) return;
  await connection.run(`CREATE OR REPLACE TEMP TABLE still_names AS SELECT DISTINCT trace_id FROM ${alias}.spans WHERE trace_id IN (SELECT old_trace_id FROM old_names)`);
  await connection.run(`INSERT INTO ${alias}.trace_aliases BY NAME
    SELECT old_trace_id, arg_min(trace_id, place) AS trace_id FROM old_names o ANTI JOIN still_names s ON s.trace_id = o.old_trace_id GROUP BY old_trace_id`);
}
