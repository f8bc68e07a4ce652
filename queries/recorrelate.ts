// History again, under today's rules: whole derived segments are computed from the raw messages and swapped.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Warehouse } from '../ingest/warehouse.ts';
import { RULE_VERSION, URL_TEMPLATE_MACRO, correlateOnce, storeFinished } from './correlate-run.ts';

export interface ChangeReport {
  readonly spans: number;
  readonly unchanged: number;
  readonly links_gained: number;
  readonly links_lost: number;
  readonly links_moved: number;
}

export interface RecorrelateOptions {
  /** Segments that hold spans which ended in [from_ns, to_ns] are done again, whole. */
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  readonly progress?: (done: number, of: number) => void;
}

/** Requests may have been read this long before the span that they caused ended. */
const MARGIN_NS = 600_000_000_000n;

async function fillSegment(warehouse: Warehouse, alias: string, connection: DuckDBConnection, from_ns: bigint, to_ns: bigint): Promise<void> {
  const [low, high] = [from_ns - MARGIN_NS, to_ns + 1_000_000_000n];
  const between = (table: string): string => warehouse.storedBetween('raw', table, low, high);
  await connection.run(URL_TEMPLATE_MACRO);
  await connection.run(`CREATE OR REPLACE TEMP TABLE messages AS SELECT * FROM ${between('messages')} m WHERE m.end_ts_ns >= ${low} AND m.ts_ns <= ${high}`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE closes AS SELECT run_id, socket_id, min(ts_ns) AS close_ns FROM ${between('socket_events')} e WHERE e.op = 'close' OR e.new_state = 7 GROUP BY run_id, socket_id`);
  await connection.run('CREATE OR REPLACE TEMP TABLE runs (run_id BIGINT, run_end_ns BIGINT)');
  const gone = warehouse.runs().filter((run) => run.final || Date.now() - run.heard_ms >= 10_000);
  if (gone.length > 0) await connection.run(`INSERT INTO runs VALUES ${gone.map((run) => `(${run.run_id}, ${run.watermark_ns})`).join(', ')}`);
  await connection.run('CREATE OR REPLACE TEMP TABLE processes AS SELECT process_id, max_by(service_name, ts_ns) AS service_name FROM memory.stored.processes WHERE service_name IS NOT NULL GROUP BY process_id');
  await connection.run(`CREATE OR REPLACE TEMP TABLE losses AS SELECT DISTINCT node, from_ns, to_ns FROM memory.stored.losses WHERE cause IN ('ring_full', 'connection_shed', 'spool_full') AND to_ns >= ${low} AND from_ns <= ${high}`);
  await connection.run('CREATE OR REPLACE TEMP TABLE decided (span_id BIGINT, parent_span_id BIGINT, trace_hi BIGINT, trace_lo BIGINT, end_ns BIGINT)');
  await correlateOnce(connection, { after_ns: from_ns, cut_ns: to_ns });
  await storeFinished(connection, alias);
}

/** Links before and after, span by span. */
async function compare(connection: DuckDBConnection, alias: string): Promise<ChangeReport> {
  const result = await connection.runAndReadAll(`SELECT
      count(*) FILTER (n.span_id IS NOT NULL),
      count(*) FILTER (o.parent_span_id IS NOT DISTINCT FROM n.parent_span_id AND n.span_id IS NOT NULL),
      count(*) FILTER (o.parent_span_id IS NULL AND n.parent_span_id IS NOT NULL),
      count(*) FILTER (o.parent_span_id IS NOT NULL AND n.parent_span_id IS NULL),
      count(*) FILTER (o.parent_span_id <> n.parent_span_id)
    FROM before o FULL JOIN ${alias}.spans n ON n.span_id = o.span_id`);
  const [spans, unchanged, links_gained, links_lost, links_moved] = (result.getRows()[0] ?? []).map(Number) as [number, number, number, number, number];
  return { spans, unchanged, links_gained, links_lost, links_moved };
}

/** Old trace ids of spans whose root is another one now still lead to their trace. */
async function keepOldIds(connection: DuckDBConnection, alias: string): Promise<void> {
  await connection.run(`INSERT INTO ${alias}.trace_aliases
    SELECT old_trace_id, max(trace_id) FROM (
      SELECT o.trace_id AS old_trace_id, n.trace_id FROM before o JOIN ${alias}.spans n ON n.span_id = o.span_id WHERE n.trace_id <> o.trace_id
      UNION ALL SELECT old_trace_id, trace_id FROM before_aliases)
    GROUP BY old_trace_id HAVING old_trace_id NOT IN (SELECT trace_id FROM ${alias}.spans)`);
}

/** Running it again under the same rules changes nothing. */
export async function recorrelate(warehouse: Warehouse, options: RecorrelateOptions): Promise<ChangeReport> {
  const total = { spans: 0, unchanged: 0, links_gained: 0, links_lost: 0, links_moved: 0 };
  const segments = warehouse.derivedSegments(options.from_ns, options.to_ns).filter((segment) => segment.to_ns > segment.from_ns);
  let done = 0;
  for (const segment of segments) {
    await warehouse.replaceDerived([segment.id], async (alias, connection) => {
      const old = (table: string): string => warehouse.storedBetween('derived', table, segment.from_ns, segment.to_ns);
      await connection.run(`CREATE OR REPLACE TEMP TABLE before AS SELECT span_id, parent_span_id, trace_id FROM ${old('spans')} s WHERE s.end_ns > ${segment.from_ns} AND s.end_ns <= ${segment.to_ns}`);
      await connection.run(`CREATE OR REPLACE TEMP TABLE before_aliases AS SELECT * FROM ${old('trace_aliases')} a`);
      const rows = await connection.runAndReadAll(`SELECT coalesce(max(apply_no), 0), coalesce(max(cut_ns), 0) FROM ${old('progress')} p WHERE p.cut_ns <= ${segment.to_ns}`);
      const [apply_no, cut_ns] = rows.getRows()[0] as [bigint, bigint];
      await fillSegment(warehouse, alias, connection, segment.from_ns, segment.to_ns);
      await keepOldIds(connection, alias);
      await connection.run(`INSERT INTO ${alias}.progress VALUES (${apply_no}, ${cut_ns}, ${RULE_VERSION})`);
      const changes = await compare(connection, alias);
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += changes[key];
    });
    done += 1;
    options.progress?.(done, segments.length);
  }
  return total;
}
