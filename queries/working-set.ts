// What correlation works on, as temp tables of one connection: messages of exchanges that are not stored yet, what was decided
// about them, and for a while what was stored last, for children that come late.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Warehouse } from '../ingest/warehouse.ts';
import { URL_TEMPLATE_MACROS } from './url-template.ts';

export interface Limits {
  /** A request that is open for longer is given up: stored as incomplete. */
  readonly open_limit_ns: bigint;
  /** A connect this long before the first request was made ahead of need. */
  readonly pool_limit_ns: bigint;
  /** An answer that nobody understands is over when nothing came for so long. */
  readonly quiet_limit_ns: bigint;
  /** A server whose client has reset the connection works on until it closes it as well, or for so long: not every close is seen. Less than KEEP_NS. */
  readonly reset_limit_ns: bigint;
  /** A call that several requests may have caused waits for so long for them to be answered: the answers tell more. */
  readonly decide_limit_ns: bigint;
  /** A request causes at most so many calls of one trace; later ones begin traces of their own. */
  readonly call_limit: bigint;
  /** A candidate has to score more than this to become the parent. */
  readonly threshold: number;
}

export const DEFAULT_LIMITS: Limits = { open_limit_ns: 600_000_000_000n, pool_limit_ns: 1_000_000_000n, quiet_limit_ns: 1_000_000_000n, reset_limit_ns: 10_000_000_000n, decide_limit_ns: 5_000_000_000n, call_limit: 10_000n, threshold: 0.5 };

/** Of what ended so long before the cut everything is stored: calls that several requests may have caused, and what hangs on them, wait to be decided; and both ends of a call. */
export const STORED_AFTER_NS = DEFAULT_LIMITS.decide_limit_ns + 2_000_000_000n;

/** How long stored spans stay known to children that begin after their parent has ended. */
export const KEEP_NS = 15_000_000_000n;

/** Later than any time, ns since 1970. */
export const NEVER = 9_000_000_000_000_000_000n;

/** What other threads did around a call has landed by so long after it. */
export const SETTLE_NS = 100_000_000n;

/** Losses that hide whole events: a span during which one happened may lack something. */
export const HIDING_CAUSES = "('ring_full', 'connection_shed', 'not_running', 'not_received', 'spool_full', 'undecodable', 'hook_missed')";

/** What the steps and the stored spans need of a message. */
export const MESSAGE_COLUMNS = [
  'node', 'run_id', 'apply_no', 'ts_ns', 'end_ts_ns', 'socket_id', 'conn_id', 'process_id', 'pid', 'role', 'kind', 'protocol', 'exchange_no', 'stream_offset', 'end_offset',
  'first_thread_id', 'first_tid', 'first_turn', 'last_thread_id', 'last_turn', 'connect_turn', 'comm', 'fd', 'local_ip', 'local_port', 'remote_ip', 'remote_port', 'connect_ts_ns', 'connect_thread_id', 'method', 'path', 'traceparent', 'request_id', 'task_id', 'parent_task_id',
  'status', 'host', 'http_version', 'errno', 'end_reason', 'complete', 'partial',
].join(', ');

/**
 * Of each socket when its process closed it, and when it was gone: reset, timed out, or taken down after the close; of `relation` (socket_events), where
 * it is not known yet; what is gone after its close is known by that. thread_id: who closed what it had accepted.
 */
export const addCloses = (relation: string, where: string): string => `INSERT INTO closes
  SELECT e.run_id, e.socket_id, e.by_process, min(e.ts_ns), arg_min(e.thread_id, e.ts_ns) FILTER (e.by_process AND e.role = 'server')
  FROM (SELECT run_id, socket_id, op = 'close' AS by_process, ts_ns, thread_id, role FROM ${relation} e WHERE ${where} AND (op = 'close' OR new_state = 7)) e
  ANTI JOIN (SELECT run_id, socket_id, by_process FROM closes UNION ALL SELECT run_id, socket_id, FALSE FROM closes WHERE by_process) c
    ON c.socket_id = e.socket_id AND c.run_id = e.run_id AND c.by_process = e.by_process
  GROUP BY e.run_id, e.socket_id, e.by_process`;

export interface RunEnd {
  readonly run_id: bigint;
  readonly node: string;
  readonly run_end_ns: bigint;
}

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

/** Empty tables but for what live correlation has learned of programs, and what stays the same. */
export async function createWorkingSet(connection: DuckDBConnection): Promise<void> {
  await connection.run('SET asof_loop_join_threshold = 0');
  await connection.run(URL_TEMPLATE_MACROS);
  await connection.run(`
    CREATE OR REPLACE TEMP TABLE known_messages AS SELECT ${MESSAGE_COLUMNS} FROM memory.stored.messages LIMIT 0;
    CREATE OR REPLACE TEMP TABLE closes (run_id BIGINT, socket_id BIGINT, by_process BOOLEAN, close_ns BIGINT, thread_id BIGINT);
    CREATE OR REPLACE TEMP TABLE run_ends (run_id BIGINT, node VARCHAR, run_end_ns BIGINT);
    CREATE OR REPLACE TEMP TABLE processes (process_id BIGINT, service_name VARCHAR, ts_ns BIGINT);
    CREATE OR REPLACE TEMP TABLE thread_moves (op VARCHAR, process_id BIGINT, thread_id BIGINT, target_thread_id BIGINT, ts_ns BIGINT);
    CREATE OR REPLACE TEMP TABLE losses (node VARCHAR, from_ns BIGINT, to_ns BIGINT, cause VARCHAR);
    CREATE OR REPLACE TEMP TABLE known_holds (span_id BIGINT, thread_id BIGINT, from_ns BIGINT, to_ns BIGINT);
    CREATE OR REPLACE TEMP TABLE known_passes (thread_id BIGINT, seen_ns BIGINT, passed_on DOUBLE, taken DOUBLE);
    CREATE OR REPLACE TEMP TABLE known_lenders (process_id BIGINT, seen_ns BIGINT, lent DOUBLE, alone DOUBLE, sure DOUBLE, sure_alone DOUBLE, several DOUBLE);
    CREATE OR REPLACE TEMP TABLE known_links (span_id BIGINT, candidate_span_id BIGINT, evidence VARCHAR, score DOUBLE, chosen BOOLEAN, doubt BOOLEAN);
    CREATE OR REPLACE TEMP TABLE known_work (span_id BIGINT, process_id BIGINT, ts_ns BIGINT, request_end_ns BIGINT, free_ns BIGINT, reader_thread_id BIGINT, read_turn BIGINT, answer_thread_id BIGINT, answer_ns BIGINT, traceparent VARCHAR, request_id VARCHAR, task_id BIGINT, reader_task_id BIGINT, method VARCHAR, path VARCHAR);
    CREATE OR REPLACE TEMP TABLE known_call_ends (span_id BIGINT, process_id BIGINT, socket_id BIGINT, exchange_no BIGINT, thread_id BIGINT, turn BIGINT, begun_ns BIGINT, end_ns BIGINT, callee_ip VARCHAR, callee_port INTEGER);
    CREATE OR REPLACE TEMP TABLE known_lags (service VARCHAR, callee_ip VARCHAR, callee_port INTEGER, fresh BOOLEAN, source_ip VARCHAR, source_port INTEGER, lag BIGINT, explained DOUBLE);
    CREATE OR REPLACE TEMP TABLE known_lag_calls (service VARCHAR, callee_ip VARCHAR, callee_port INTEGER, fresh BOOLEAN, calls DOUBLE);
    CREATE OR REPLACE TEMP TABLE known_lag_orders (service VARCHAR, callee_ip VARCHAR, callee_port INTEGER, fresh BOOLEAN, calls DOUBLE, at_once DOUBLE);
    CREATE OR REPLACE TEMP TABLE known_flushes (service VARCHAR, before_ns DOUBLE, between_ns DOUBLE);
    CREATE OR REPLACE TEMP TABLE known_own (counted VARCHAR, calls DOUBLE, own DOUBLE, seen_ns BIGINT);
    CREATE OR REPLACE TEMP TABLE known_servers (process_id BIGINT, seen_ns BIGINT);
    CREATE OR REPLACE TEMP TABLE known_call_counts (span_id BIGINT, calls BIGINT);
    CREATE OR REPLACE TEMP TABLE evidence_off (evidence VARCHAR);
    CREATE OR REPLACE TEMP TABLE timing_claims (span_id BIGINT, candidate_span_id BIGINT, score DOUBLE, at_connect BOOLEAN);
    CREATE OR REPLACE TEMP TABLE timing_models (model_version INTEGER, service VARCHAR, window_start_ns BIGINT, window_end_ns BIGINT, parameters VARCHAR);
    CREATE OR REPLACE TEMP TABLE timing_versions (span_id BIGINT, model_version INTEGER);
    CREATE OR REPLACE TEMP TABLE lags AS SELECT range AS lag FROM range(13);
    CREATE OR REPLACE TEMP TABLE doubted (span_id BIGINT);
    CREATE OR REPLACE TEMP TABLE decided_open (span_id BIGINT, parent_span_id BIGINT, start_ns BIGINT, trace_hi BIGINT, trace_lo BIGINT, end_ns BIGINT, stored BOOLEAN);
    CREATE OR REPLACE TEMP TABLE decided_stored (span_id BIGINT, parent_span_id BIGINT, start_ns BIGINT, trace_hi BIGINT, trace_lo BIGINT, end_ns BIGINT, stored BOOLEAN);
    CREATE OR REPLACE TEMP VIEW decided AS FROM decided_open UNION ALL FROM decided_stored;`);
  await recallHabits(connection);
  await connection.run(readMessages());
}

/** What was learned of programs, which takes time to learn anew. */
const HABITS = ['known_lags', 'known_lag_calls', 'known_lag_orders', 'known_flushes', 'known_own', 'known_servers', 'known_passes', 'known_lenders'] as const;

/** Before the working set of live correlation is dropped or made anew: the next one, also that of a rewrite meanwhile, begins with what this one has learned. */
export async function rememberHabits(connection: DuckDBConnection): Promise<void> {
  const found = await connection.runAndReadAll("SELECT table_name FROM duckdb_tables() WHERE database_name = 'temp'");
  const there = new Set(found.getRows().map(([name]) => name as string));
  if (!HABITS.every((name) => there.has(name))) return;
  await connection.run(HABITS.map((name) => `CREATE OR REPLACE TABLE memory.live.${name} AS FROM temp.main.${name}`).join(';'));
}

async function recallHabits(connection: DuckDBConnection): Promise<void> {
  const found = await connection.runAndReadAll("SELECT table_name FROM duckdb_tables() WHERE database_name = 'memory' AND schema_name = 'live'");
  const there = new Set(found.getRows().map(([name]) => name as string));
  for (const name of HABITS) if (there.has(name)) await connection.run(`INSERT INTO temp.main.${name} FROM memory.live.${name}`);
}

/** What steps have made too: memory, and names that stand before those of files. */
export async function dropWorkingSet(connection: DuckDBConnection): Promise<void> {
  const found = await connection.runAndReadAll(`
    SELECT 'VIEW', view_name FROM duckdb_views() WHERE database_name = 'temp' AND NOT internal
    UNION ALL SELECT 'TABLE', table_name FROM duckdb_tables() WHERE database_name = 'temp'`);
  const drops = (found.getRows() as [string, string][]).map(([what, name]) => `DROP ${what} temp.main."${name}"`);
  if (drops.length > 0) await connection.run(drops.join(';'));
}

/** Messages that begin later than `horizon_ns` are left to a later cycle: nothing that happened by the cut depends on them. */
export interface Landed {
  /** Messages where they are stored, with MESSAGE_COLUMNS; those of known_messages not among them. Absent: all are there already. */
  readonly news?: string;
  readonly horizon_ns: bigint;
}

// Statements, so that several can be said at once: on busy processors each answer takes milliseconds to come.

/** `landed`: what is known already, and the news, read where they are stored; `messages`: as much of it as this cycle looks at. */
export const readMessages = (more?: Landed): string => `CREATE OR REPLACE TEMP VIEW landed AS FROM known_messages${more?.news === undefined ? '' : ` UNION ALL ${more.news}`};
    CREATE OR REPLACE TEMP VIEW messages AS FROM landed${more === undefined ? '' : ` WHERE kind = 'response' OR ts_ns <= ${more.horizon_ns}`}`;

/** Adds to thread_moves the forks, exits, and wakes that a thread caused, of (after_ns, to_ns]. */
export const addThreadMoves = (warehouse: Warehouse, after_ns: bigint, to_ns: bigint): string => `INSERT INTO thread_moves
    SELECT op, process_id, thread_id, target_thread_id, ts_ns FROM ${warehouse.storedBetween('raw', 'thread_events', after_ns, to_ns)} t
    WHERE t.ts_ns > ${after_ns} AND t.ts_ns <= ${to_ns} AND (t.op IN ('fork', 'exit') OR (t.op = 'wake' AND NOT t.in_irq))`;

/** Before the steps are run: what is known is what happened up to cut_ns. */
export const setLimits = (limits: Limits, cut_ns: bigint): string => `CREATE OR REPLACE TEMP TABLE limits AS
    SELECT CAST(${cut_ns} AS BIGINT) AS cut_ns, CAST(${limits.open_limit_ns} AS BIGINT) AS open_limit_ns, CAST(${limits.pool_limit_ns} AS BIGINT) AS pool_limit_ns, CAST(${limits.quiet_limit_ns} AS BIGINT) AS quiet_limit_ns, CAST(${limits.reset_limit_ns} AS BIGINT) AS reset_limit_ns, CAST(${limits.decide_limit_ns} AS BIGINT) AS decide_limit_ns,
      CAST(${SETTLE_NS} AS BIGINT) AS settle_ns, CAST(${limits.call_limit} AS BIGINT) AS call_limit,
      CAST(${limits.threshold} AS DOUBLE) AS threshold`;

export async function setRunEnds(connection: DuckDBConnection, ends: readonly RunEnd[]): Promise<void> {
  await connection.run('DELETE FROM run_ends');
  if (ends.length > 0) await connection.run(`INSERT INTO run_ends VALUES ${ends.map((end) => `(${end.run_id}, ${text(end.node)}, ${end.run_end_ns})`).join(', ')}`);
}

/** The newest row of a process says what it is called. */
export async function loadProcesses(connection: DuckDBConnection, relation: string): Promise<void> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE processes AS
    SELECT process_id, arg_max(service_name, ts_ns) AS service_name, max(ts_ns) AS ts_ns FROM (
      SELECT process_id, service_name, ts_ns FROM processes UNION ALL SELECT process_id, service_name, ts_ns FROM ${relation} p WHERE p.service_name IS NOT NULL
    ) GROUP BY process_id`);
}

/** Of the files of that time: over some 250 files the statement does not fit into 512 MB. `where`: which of those that began by to_ns. */
async function loadLosses(warehouse: Warehouse, connection: DuckDBConnection, to_ns: bigint, where: string, low_ns: bigint): Promise<void> {
  await connection.run(`INSERT INTO losses SELECT DISTINCT node, from_ns, to_ns, cause FROM ${warehouse.storedBetween('raw', 'losses', low_ns, to_ns)} l WHERE cause IN ${HIDING_CAUSES} AND ${where} AND from_ns <= ${to_ns}`);
}

/** Messages of a part of history, where they are stored: in files of [low_ns, to_ns], those that `where` says of a row m. */
export interface StoredMessages {
  readonly low_ns: bigint;
  readonly to_ns: bigint;
  readonly where: string;
}

/** As text to select from, with MESSAGE_COLUMNS; for use at once, or within the same replaceDerived or withDerived. */
export const storedMessages = (warehouse: Warehouse, { low_ns, to_ns, where }: StoredMessages): string => `SELECT ${MESSAGE_COLUMNS} FROM ${warehouse.storedBetween('raw', 'messages', low_ns, to_ns)} m WHERE ${where}`;

/** Keys of exchanges that are held in memory at a time; those of ten minutes at 80,000 events/s (more than 16 million) do not fit into 512 MB. */
const MOST_KEYS = 4_000_000;

const exchangesBetween = (warehouse: Warehouse, from_ns: bigint, to_ns: bigint): number =>
  warehouse.segments.reduce((sum, segment) => sum + (segment.kind === 'derived' && segment.to_ns >= from_ns && segment.from_ns <= to_ns ? (segment.rows?.get('exchanges') ?? 0) : 0), 0);

/**
 * Everything that may matter to exchanges that are over in (from_ns, to_ns] or still open then: their messages, what was
 * stored of exchanges that ended shortly before, and of what longer ones belong to. Most of the messages stay where they are stored; returned is where.
 */
export async function loadHistory(warehouse: Warehouse, connection: DuckDBConnection, range: { from_ns: bigint; to_ns: bigint; apply_no: bigint }, limits: Limits, most_keys = MOST_KEYS): Promise<StoredMessages> {
  const { from_ns, to_ns, apply_no } = range;
  const [recent, oldest] = [from_ns - KEEP_NS, from_ns - limits.open_limit_ns];
  const raw = (table: string, low: bigint): string => warehouse.storedBetween('raw', table, low, to_ns);
  const derived = (table: string): string => warehouse.storedBetween('derived', table, oldest, to_ns);
  const there = { low_ns: recent, to_ns, where: `m.end_ts_ns >= ${recent} AND m.ts_ns <= ${to_ns} AND m.apply_no <= ${apply_no}` };
  // Requests that were read long ago and went on until shortly before, or had not been stored by then, and what of their answers is there. Of a busy time the keys of all exchanges are more than memory holds.
  const parts = 2 ** Math.ceil(Math.log2(Math.max(1, exchangesBetween(warehouse, oldest, to_ns) / most_keys)));
  for (let part = 0; part < parts; part += 1) {
    const own = (table: string): string => (parts === 1 ? '' : ` AND (${table}.socket_id & ${parts - 1}) = ${part}`);
    await connection.run(`INSERT INTO known_messages BY NAME
      SELECT ${MESSAGE_COLUMNS} FROM ${raw('messages', oldest)} m
      WHERE m.kind <> 'response' AND m.ts_ns >= ${oldest} AND m.end_ts_ns < ${recent} AND m.apply_no <= ${apply_no}${own('m')}
        AND NOT EXISTS (FROM ${derived('exchanges')} x WHERE x.socket_id = m.socket_id AND x.exchange_no = m.exchange_no AND x.run_id = m.run_id AND x.end_ns >= ${oldest} AND x.end_ns < ${recent}${own('x')})`);
  }
  await connection.run(`INSERT INTO known_messages BY NAME
    SELECT ${MESSAGE_COLUMNS} FROM ${raw('messages', oldest)} m
    SEMI JOIN (FROM known_messages WHERE kind <> 'response' AND end_ts_ns < ${recent}) k ON k.socket_id = m.socket_id AND k.exchange_no = m.exchange_no AND k.run_id = m.run_id
    WHERE m.kind = 'response' AND m.ts_ns >= ${oldest} AND m.end_ts_ns < ${recent} AND m.apply_no <= ${apply_no}`);
  await connection.run(addCloses(raw('socket_events', recent), `e.ts_ns >= ${recent} AND e.ts_ns <= ${to_ns}`));
  await connection.run(addCloses(raw('socket_events', oldest), `e.ts_ns >= ${oldest} AND e.ts_ns < ${recent} AND e.socket_id IN (SELECT socket_id FROM known_messages WHERE kind <> 'response' AND end_ts_ns < ${recent})`));
  await loadProcesses(connection, 'memory.stored.processes');
  await loadLosses(warehouse, connection, to_ns, `to_ns >= ${oldest}`, oldest);
  await connection.run(`INSERT INTO decided_stored
    SELECT span_id, parent_span_id, start_ns, trace_hi, trace_lo, end_ns, TRUE FROM ${derived('spans')} s WHERE s.end_ns >= ${recent} AND s.end_ns <= ${from_ns}`);
  await connection.run(`INSERT INTO known_call_counts
    SELECT s.parent_span_id, count(*) FROM ${derived('spans')} s WHERE NOT s.is_server AND s.parent_span_id IS NOT NULL AND s.start_ns <= ${from_ns}
      AND EXISTS (FROM ${derived('spans')} k WHERE k.is_server AND k.span_id = s.parent_span_id AND k.end_ns > ${from_ns}) GROUP BY s.parent_span_id`);
  // What a long request belongs to may have ended long ago too.
  await connection.run(readMessages({ news: storedMessages(warehouse, there), horizon_ns: to_ns }));
  await connection.run(`CREATE OR REPLACE TEMP TABLE long_calls AS SELECT DISTINCT first_thread_id AS thread_id, ts_ns FROM messages WHERE kind = 'request' AND role = 'client' AND ts_ns < ${recent}`);
  await connection.run(`INSERT INTO decided_stored
    SELECT DISTINCT s.span_id, s.parent_span_id, s.start_ns, s.trace_hi, s.trace_lo, s.end_ns, TRUE
    FROM ${derived('spans')} s JOIN long_calls k ON k.thread_id = s.thread_id AND s.start_ns <= k.ts_ns AND s.end_ns > k.ts_ns
    WHERE s.is_server AND s.end_ns >= ${oldest} AND s.end_ns < ${recent}`);
  await connection.run(`INSERT INTO known_holds SELECT d.span_id, s.thread_id, s.start_ns, s.end_ns FROM decided_stored d JOIN ${derived('spans')} s ON s.span_id = d.span_id AND s.end_ns = d.end_ns WHERE d.end_ns < ${recent}`);
  return there;
}

/**
 * For what follows a working set of history that has been carried over at from_ns, when all but messages was loaded up to loaded_ns: what happened since
 * then and by to_ns. Returns where the messages are.
 */
export async function loadMore(warehouse: Warehouse, connection: DuckDBConnection, range: { from_ns: bigint; loaded_ns: bigint; to_ns: bigint; apply_no: bigint }): Promise<StoredMessages> {
  const { from_ns, loaded_ns, to_ns, apply_no } = range;
  await connection.run(addCloses(warehouse.storedBetween('raw', 'socket_events', loaded_ns, to_ns), `e.ts_ns > ${loaded_ns} AND e.ts_ns <= ${to_ns}`));
  await loadProcesses(connection, 'memory.stored.processes');
  await loadLosses(warehouse, connection, to_ns, `from_ns > ${loaded_ns}`, loaded_ns);
  return { low_ns: from_ns, to_ns, where: `m.ts_ns > ${from_ns} AND m.ts_ns <= ${to_ns} AND m.apply_no <= ${apply_no}` };
}
