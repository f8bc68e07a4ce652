// History whose raw rows have gone (retention, a file that cannot be read) cannot be correlated again: what was found then stays.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Warehouse } from '../ingest/warehouse.ts';

/**
 * Temp table stays: spans of before_spans that ended after from_ns and stay as they are stored. Those whose request is in no raw file any more,
 * and all that had begun by the end of the last of these: parents among them would be missing. Columns as those of decided_stored. Needed
 * besides: before_exchanges (the keys of those that ended after from_ns, and of what had begun and ended later), later_spans, and `landed`, what the steps work on.
 * What is not over by the end of a piece stays or not as the piece says in which it began (staying_later): the spans that hang on it have been stored by then.
 * A server with a raw row is not among them, as nobody would know what its thread held later.
 */
export async function chooseStaying(warehouse: Warehouse, connection: DuckDBConnection, { first, from_ns }: { readonly first: boolean; readonly from_ns: bigint }): Promise<void> {
  // What is waited for and what ended before is not among what the steps work on, so the files have the last word.
  await connection.run(`CREATE OR REPLACE TEMP TABLE maybe_gone AS
    SELECT b.* FROM before_exchanges b ANTI JOIN (FROM landed WHERE kind <> 'response') m ON m.socket_id = b.socket_id AND m.exchange_no = b.exchange_no AND m.run_id = b.run_id`);
  const found = await connection.runAndReadAll('SELECT min(start_ns), max(end_ns) FROM maybe_gone');
  const [first_ns, last_ns] = found.getRows()[0] as [bigint | null, bigint | null];
  const gone = first_ns === null || last_ns === null
    ? 'maybe_gone'
    : `(SELECT g.* FROM maybe_gone g ANTI JOIN (FROM ${warehouse.storedBetween('raw', 'messages', first_ns, last_ns)} r WHERE r.kind <> 'response') m ON m.socket_id = g.socket_id AND m.exchange_no = g.exchange_no AND m.run_id = g.run_id)`;
  await connection.run(`CREATE OR REPLACE TEMP TABLE really_gone AS FROM ${gone}`);
  if (first) await connection.run('CREATE OR REPLACE TEMP TABLE staying_later (span_id BIGINT)');
  const in_time = `start_ns <= (SELECT max(end_ns) FROM really_gone)${first ? '' : ` AND start_ns > ${from_ns}`}`;
  const columns = 'span_id, parent_span_id, start_ns, trace_hi, trace_lo, end_ns, TRUE AS stored';
  await connection.run(`CREATE OR REPLACE TEMP TABLE stays AS
    SELECT ${columns} FROM before_spans b SEMI JOIN before_exchanges x ON x.span_id = b.span_id WHERE (${in_time}) OR span_id IN (SELECT span_id FROM staying_later)`);
  await connection.run(`CREATE OR REPLACE TEMP TABLE straddling AS
    SELECT ${columns} FROM later_spans WHERE ${in_time} AND (NOT is_server OR span_id IN (SELECT span_id FROM really_gone))`);
}

/** For the steps they are decided and stored, as the spans of earlier cycles are for a live one. */
export async function takeAsStored(connection: DuckDBConnection): Promise<void> {
  await connection.run(`
    INSERT INTO staying_later SELECT span_id FROM straddling;
    CREATE OR REPLACE TEMP TABLE taken AS SELECT * FROM (FROM stays UNION ALL FROM straddling) t WHERE NOT EXISTS (FROM decided_stored d WHERE d.span_id = t.span_id);
    DELETE FROM decided_open d WHERE d.span_id IN (SELECT span_id FROM stays UNION ALL SELECT span_id FROM straddling);
    INSERT INTO decided_stored FROM taken`);
}
