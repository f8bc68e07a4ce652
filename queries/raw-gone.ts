// History whose raw rows have gone (retention, a file that cannot be read) cannot be correlated again: what was found then stays.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Warehouse } from '../ingest/warehouse.ts';

/**
 * Temp table stays: spans of before_spans that ended after from_ns and stay as they are stored. Those whose request is in no raw file any more,
 * and all that had begun by the end of the last of these: parents among them would be missing. Columns as those of decided_stored. Needed
 * besides: before_exchanges (the keys of those that ended after from_ns, and of what had begun and ended later), and `landed`, what the steps work on.
 */
export async function chooseStaying(warehouse: Warehouse, connection: DuckDBConnection): Promise<void> {
  // What is waited for and what ended before is not among what the steps work on, so the files have the last word.
  await connection.run(`CREATE OR REPLACE TEMP TABLE maybe_gone AS
    SELECT b.* FROM before_exchanges b ANTI JOIN (FROM landed WHERE kind <> 'response') m ON m.socket_id = b.socket_id AND m.exchange_no = b.exchange_no AND m.run_id = b.run_id`);
  const found = await connection.runAndReadAll('SELECT min(start_ns), max(end_ns) FROM maybe_gone');
  const [first_ns, last_ns] = found.getRows()[0] as [bigint | null, bigint | null];
  const gone = first_ns === null || last_ns === null
    ? 'maybe_gone'
    : `(SELECT g.* FROM maybe_gone g ANTI JOIN (FROM ${warehouse.storedBetween('raw', 'messages', first_ns, last_ns)} r WHERE r.kind <> 'response') m ON m.socket_id = g.socket_id AND m.exchange_no = g.exchange_no AND m.run_id = g.run_id)`;
  await connection.run(`CREATE OR REPLACE TEMP TABLE really_gone AS FROM ${gone}`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE stays AS
    SELECT b.span_id, b.parent_span_id, b.start_ns, b.trace_hi, b.trace_lo, b.end_ns, TRUE AS stored
    FROM before_spans b SEMI JOIN before_exchanges x ON x.span_id = b.span_id WHERE b.start_ns <= (SELECT max(end_ns) FROM really_gone)`);
}

/** For the steps they are decided and stored, as the spans of earlier cycles are for a live one. */
export async function takeAsStored(connection: DuckDBConnection): Promise<void> {
  // Of later ones that are gone themselves: their calls of this time hang on them.
  await connection.run(`
    INSERT INTO decided_stored SELECT l.span_id, l.parent_span_id, l.start_ns, l.trace_hi, l.trace_lo, l.end_ns, TRUE FROM later_spans l SEMI JOIN really_gone g ON g.span_id = l.span_id ANTI JOIN decided_stored d ON d.span_id = l.span_id;
    DELETE FROM decided_open d WHERE EXISTS (FROM stays s WHERE s.span_id = d.span_id);
    INSERT INTO decided_stored FROM stays s WHERE NOT EXISTS (FROM decided_stored d WHERE d.span_id = s.span_id)`);
}
