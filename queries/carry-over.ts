// From one part of correlation to the next, live cycles or pieces of history: what is open or not decided yet, and for a while what
// was stored last.
import type { DuckDBConnection } from '@duckdb/node-api';
import { readRows } from '../ingest/duckdb-query.ts';
import { KEEP_NS, NEVER, readMessages, type Limits } from './working-set.ts';

/** Older events of a socket than this before the cut are known by now. */
export const CLOSES_BACK_NS = 2_000_000_000n;
/** What was learned of programs' habits counts so much in the next cycle: a program may be replaced by a newer one. */
const HABIT_DECAY = 0.98;
/** A process that has read no request for so long is none that serves; of one that has called nothing for so long, nothing is remembered. */
const SERVES_NS = 3_600_000_000_000n;
/** Of so many processes or services it is remembered: programs that live for a moment may be thousands. */
const MOST_PROCESSES = 10_000;
/** What has faded to so little of one call, after 700 cycles in which its program was seen, is forgotten: addresses come and go. */
const LEAST_HABIT = 1e-6;

/** Results of steps that are read after the last of them: here, by chooseFinished, findLate and storeFinished, and by a rewrite. */
export const READ_AFTER_STEPS: ReadonlySet<string> = new Set([
  'exchanges', 'decided_ends', 'decisions', 'links', 'work', 'new_work', 'new_call_ends', 'new_holds', 'new_passes', 'call_holds', 'lending_processes',
  'call_groups', 'lag_sums', 'lag_calls', 'lag_orders', 'flushes', 'open_counts', 'serving',
]);

export const someIn = async (connection: DuckDBConnection, relation: string): Promise<boolean> => (await readRows(connection, `SELECT 1 FROM ${relation} LIMIT 1`)).length > 0;

/** What waits for a later cycle. */
export interface Waiting {
  readonly count: number;
  /** Of the first that is over, in so far as that is known. */
  readonly next_end_ns: bigint;
  readonly oldest_ns: bigint;
  /** Of the first answer that nobody understood. */
  readonly quiet_ns: bigint;
}

/**
 * After the steps, and after what was over by cut_ns has been stored (over_now). Messages later than horizon_ns were not looked at
 * by the steps if the view `messages` leaves them out, and are kept as far as they are in known_messages. Makes `waiting`.
 */
export async function carryOver(connection: DuckDBConnection, cut_ns: bigint, horizon_ns: bigint): Promise<Waiting> {
  const asked = ['work', 'open_counts', 'new_passes', 'known_passes', 'lending_processes'] as const;
  const [found] = await readRows(connection, `CREATE OR REPLACE TEMP TABLE waiting AS
    SELECT e.run_id, e.socket_id, e.exchange_no, e.ts_ns, e.end_ns, CASE WHEN e.end_ns IS NULL AND e.protocol IS NULL THEN e.answer_ns END AS quiet_ns FROM exchanges e LEFT JOIN over_now o ON o.span_id = e.span_id LEFT JOIN decided_stored d ON d.span_id = e.span_id
    WHERE o.span_id IS NULL AND d.span_id IS NULL;
    SELECT count(*), coalesce(min(end_ns), ${NEVER}), coalesce(min(ts_ns), ${NEVER}), coalesce(min(quiet_ns), ${NEVER}), EXISTS (FROM exchanges e SEMI JOIN decided_stored d ON d.span_id = e.span_id), ${asked.map((relation) => `EXISTS (FROM ${relation})`).join(', ')} FROM waiting`);
  const [count, next_end_ns, oldest_ns, quiet_ns, read_anew, ...some] = found as [bigint, bigint, bigint, bigint, ...boolean[]];
  // A working set that was read anew has what was stored before in its first cycle alone: calls that are still undecided may be for one of those.
  const gone = read_anew === true ? '(SELECT span_id FROM over_now UNION SELECT e.span_id FROM exchanges e SEMI JOIN decided_stored d ON d.span_id = e.span_id)' : 'over_now';
  const [work, open_counts, new_passes, known_passes, lending] = some as [boolean, boolean, boolean, boolean, boolean];
  await connection.run([
    `INSERT INTO known_call_ends SELECT c.* FROM new_call_ends c SEMI JOIN ${gone} o ON o.span_id = c.span_id`,
    `INSERT INTO known_holds SELECT h.span_id, h.thread_id, h.from_ns, h.to_ns FROM new_holds h SEMI JOIN ${gone} o ON o.span_id = h.span_id WHERE h.from_ns < h.to_ns`,
    ...(work ? workHabits(cut_ns, gone) : []), ...(open_counts ? ownHabits(cut_ns) : []), ...(new_passes || known_passes ? [passingHabits(cut_ns)] : []), ...(lending ? [lendingHabits(cut_ns)] : []),
    ...whatStays(cut_ns, horizon_ns), readMessages(),
  ].join(';\n'));
  return { count: Number(count), next_end_ns, oldest_ns, quiet_ns };
}

const workHabits = (cut_ns: bigint, gone: string): string[] => [
  `INSERT INTO known_work SELECT w.* FROM new_work w SEMI JOIN ${gone} o ON o.span_id = w.span_id`,
  `CREATE OR REPLACE TEMP TABLE known_servers AS SELECT process_id, max(seen_ns) AS seen_ns FROM (
      FROM known_servers UNION ALL SELECT process_id, ts_ns FROM new_work) GROUP BY process_id HAVING max(seen_ns) >= ${cut_ns - SERVES_NS} QUALIFY row_number() OVER (ORDER BY max(seen_ns) DESC, process_id) <= ${MOST_PROCESSES}`,
  // Habits fade with what is seen of a program, not with time.
  'CREATE OR REPLACE TEMP TABLE seen_now AS SELECT DISTINCT service FROM call_groups',
  `CREATE OR REPLACE TEMP TABLE known_lags AS SELECT s.service, callee_ip, callee_port, fresh, source_ip, source_port, lag, explained * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS explained FROM lag_sums s LEFT JOIN seen_now n ON n.service = s.service WHERE explained >= ${LEAST_HABIT}`,
  `CREATE OR REPLACE TEMP TABLE known_lag_calls AS SELECT s.service, callee_ip, callee_port, fresh, calls * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS calls FROM lag_calls s LEFT JOIN seen_now n ON n.service = s.service WHERE calls >= ${LEAST_HABIT}`,
  `CREATE OR REPLACE TEMP TABLE known_lag_orders AS SELECT s.service, callee_ip, callee_port, fresh, calls * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS calls, at_once * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS at_once FROM lag_orders s LEFT JOIN seen_now n ON n.service = s.service WHERE calls >= ${LEAST_HABIT}`,
  `CREATE OR REPLACE TEMP TABLE known_flushes AS SELECT s.service, before_ns * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS before_ns, between_ns * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS between_ns FROM flushes s LEFT JOIN seen_now n ON n.service = s.service`,
];

/** Each call once, when it is decided. */
const ownHabits = (cut_ns: bigint): string[] => [
  `CREATE OR REPLACE TEMP TABLE own_now AS
      SELECT CASE WHEN v.process_id IS NOT NULL AND p.service_name IS NOT NULL THEN p.service_name ELSE CAST(o.process_id AS VARCHAR) END AS counted, CAST(count(*) AS DOUBLE) AS calls, CAST(count(*) FILTER (o.open = 0) AS DOUBLE) AS own
      FROM open_counts o SEMI JOIN decisions d ON d.span_id = o.span_id LEFT JOIN serving v ON v.process_id = o.process_id LEFT JOIN processes p ON p.process_id = o.process_id WHERE o.process_id IS NOT NULL GROUP BY 1`,
  `CREATE OR REPLACE TEMP TABLE known_own AS
      SELECT counted, sum(calls) AS calls, sum(own) AS own, max(seen_ns) AS seen_ns FROM (
        SELECT counted, calls, own, CAST(${cut_ns} AS BIGINT) AS seen_ns FROM own_now
        UNION ALL
        SELECT k.counted, k.calls * CASE WHEN n.counted IS NULL THEN 1 ELSE ${HABIT_DECAY} END, k.own * CASE WHEN n.counted IS NULL THEN 1 ELSE ${HABIT_DECAY} END, k.seen_ns FROM known_own k LEFT JOIN own_now n ON n.counted = k.counted
      ) GROUP BY counted HAVING sum(calls) >= ${LEAST_HABIT} AND (TRY_CAST(counted AS BIGINT) IS NULL OR max(seen_ns) >= ${cut_ns - SERVES_NS}) QUALIFY row_number() OVER (ORDER BY max(seen_ns) DESC, counted) <= ${MOST_PROCESSES}`,
];

const remember = (cut_ns: bigint, known: string, id: string, counts: readonly string[], now: string): string => `CREATE OR REPLACE TEMP TABLE habits_now AS ${now};
    CREATE OR REPLACE TEMP TABLE ${known} AS
    SELECT ${id}, max(seen_ns) AS seen_ns, ${counts.map((count) => `sum(${count}) AS ${count}`).join(', ')} FROM (
      SELECT ${id}, ${cut_ns} AS seen_ns, ${counts.join(', ')} FROM habits_now
      UNION ALL
      SELECT k.${id}, k.seen_ns, ${counts.map((count) => `k.${count} * CASE WHEN n.${id} IS NULL THEN 1 ELSE ${HABIT_DECAY} END`).join(', ')} FROM ${known} k LEFT JOIN habits_now n ON n.${id} = k.${id}
    ) GROUP BY ${id} HAVING sum(${counts[0]}) >= ${LEAST_HABIT}`;

/** Of threads that pass on requests; most do not, and of those nothing is kept. */
const passingHabits = (cut_ns: bigint): string => remember(cut_ns, 'known_passes', 'thread_id', ['passed_on', 'taken'], `
      SELECT e.last_thread_id AS thread_id, CAST(count(*) FILTER (e.answer_first_thread_id <> e.last_thread_id) AS DOUBLE) AS passed_on, CAST(count(*) AS DOUBLE) AS taken
      FROM exchanges e SEMI JOIN over_now o ON o.span_id = e.span_id WHERE e.is_server AND e.answered AND e.protocol IS NOT NULL AND e.last_thread_id IS NOT NULL GROUP BY e.last_thread_id`);

const LENDING = ['lent', 'alone', 'sure', 'sure_alone', 'several'] as const;
/** Of processes whose threads call for each other. */
const lendingHabits = (cut_ns: bigint): string =>
  remember(cut_ns, 'known_lenders', 'process_id', LENDING, `SELECT c.process_id, ${LENDING.map((count) => `sum(c.${count}) AS ${count}`).join(', ')} FROM call_holds c SEMI JOIN decisions d ON d.span_id = c.span_id GROUP BY c.process_id`);

const whatStays = (cut_ns: bigint, horizon_ns: bigint): string[] => [
  'INSERT INTO decided_stored SELECT f.span_id, f.parent_span_id, f.start_ns, f.trace_hi, f.trace_lo, f.end_ns, TRUE FROM over_now f',
  `CREATE OR REPLACE TEMP TABLE decided_next AS
    SELECT d.* FROM decided_open d ANTI JOIN over_now o ON o.span_id = d.span_id
    UNION ALL
    SELECT n.span_id, n.parent_span_id, n.start_ns, n.trace_hi, n.trace_lo, CAST(NULL AS BIGINT), FALSE
    FROM decisions n JOIN exchanges e ON e.span_id = n.span_id ANTI JOIN over_now o ON o.span_id = n.span_id
    WHERE e.ts_ns <= ${cut_ns}`,
  // Of requests that are open: how many calls they have caused so far.
  `CREATE OR REPLACE TEMP TABLE call_counts_next AS
    SELECT c.span_id, sum(c.calls)::BIGINT AS calls FROM (
      SELECT span_id, calls FROM known_call_counts
      UNION ALL
      SELECT n.parent_span_id, 1 FROM decisions n JOIN exchanges e ON e.span_id = n.span_id WHERE NOT e.is_server AND n.parent_span_id IS NOT NULL AND e.ts_ns <= ${cut_ns}
    ) c JOIN exchanges r ON r.span_id = c.span_id JOIN waiting w ON w.socket_id = r.socket_id AND w.exchange_no = r.exchange_no AND w.run_id = r.run_id
    GROUP BY c.span_id`,
  `CREATE OR REPLACE TEMP TABLE links_next AS
    SELECT k.span_id, k.candidate_span_id, k.evidence, k.score, k.chosen, k.doubt
    FROM (SELECT * FROM known_links UNION ALL SELECT span_id, candidate_span_id, evidence, score, chosen, doubt FROM links) k SEMI JOIN decided_next d ON d.span_id = k.span_id`,
  // An answer may land before its request, when that was never finished.
  `CREATE OR REPLACE TEMP TABLE known_next AS
    SELECT m.* FROM messages m SEMI JOIN waiting w ON w.socket_id = m.socket_id AND w.exchange_no = m.exchange_no AND w.run_id = m.run_id WHERE m.ts_ns <= ${horizon_ns}
    UNION ALL
    SELECT m.* FROM messages m ANTI JOIN exchanges e ON e.socket_id = m.socket_id AND e.exchange_no = m.exchange_no AND e.run_id = m.run_id
    WHERE m.kind = 'response' AND m.exchange_no >= 0 AND m.end_ts_ns > ${cut_ns - CLOSES_BACK_NS} AND m.ts_ns <= ${horizon_ns}
    UNION ALL
    SELECT k.* FROM known_messages k WHERE k.ts_ns > ${horizon_ns}`,
  'DROP TABLE known_call_counts', 'ALTER TABLE call_counts_next RENAME TO known_call_counts',
  'DROP TABLE decided_open', 'ALTER TABLE decided_next RENAME TO decided_open',
  'DROP TABLE known_links', 'ALTER TABLE links_next RENAME TO known_links',
  'DROP TABLE known_messages', 'ALTER TABLE known_next RENAME TO known_messages',
];

/**
 * Of a live cycle, before carryOver: what landed late and was over that long before the cut. It is left to the rewrite of its part of history, which reads
 * the evidence of its time; in a later cycle it would be stored among the rows of today, as it looked before its answer landed.
 */
export async function leaveToRewrite(connection: DuckDBConnection, previous_cut_ns: bigint): Promise<void> {
  await leave(connection, `SELECT span_id FROM late_exchanges WHERE end_ns <= ${previous_cut_ns - KEEP_NS}`);
}

async function leave(connection: DuckDBConnection, spans: string): Promise<void> {
  await connection.run(`CREATE OR REPLACE TEMP TABLE left_late AS ${spans}`);
  if (!(await someIn(connection, 'left_late'))) return;
  await connection.run(`
    DELETE FROM exchanges e WHERE EXISTS (FROM left_late l WHERE l.span_id = e.span_id);
    DELETE FROM decided_open d WHERE EXISTS (FROM left_late l WHERE l.span_id = d.span_id)`);
}

/**
 * Of history, before carryOver: what landed late, lies among later rows (stored_late), and was over so long ago that nothing which is still
 * to come can hang on it. It stays there as it is: a node may have been away for days.
 */
export async function leaveLate(connection: DuckDBConnection, cut_ns: bigint): Promise<void> {
  await leave(connection, `SELECT e.span_id FROM exchanges e SEMI JOIN late_exchanges l ON l.span_id = e.span_id SEMI JOIN stored_late s ON s.span_id = e.span_id WHERE e.end_ns < ${cut_ns - KEEP_NS}`);
}

/** Now and then: what nothing that is still to come can hang on. */
export async function forgetOld(connection: DuckDBConnection, cut_ns: bigint, limits: Limits): Promise<void> {
  const old = cut_ns - KEEP_NS;
  await connection.run(`CREATE OR REPLACE TEMP TABLE decided_stored AS SELECT * FROM decided_stored WHERE end_ns >= ${old};
    CREATE OR REPLACE TEMP TABLE known_holds AS SELECT * FROM known_holds WHERE to_ns >= ${old};
    CREATE OR REPLACE TEMP TABLE known_work AS SELECT * FROM known_work WHERE coalesce(free_ns, answer_ns, ts_ns) >= ${old};
    CREATE OR REPLACE TEMP TABLE known_call_ends AS SELECT * FROM known_call_ends WHERE end_ns >= ${old};
    CREATE OR REPLACE TEMP TABLE known_passes AS SELECT k.* FROM known_passes k ANTI JOIN (FROM thread_moves WHERE op = 'exit') x ON x.thread_id = k.thread_id WHERE k.seen_ns >= ${cut_ns - limits.open_limit_ns};
    CREATE OR REPLACE TEMP TABLE known_lenders AS SELECT * FROM known_lenders WHERE seen_ns >= ${cut_ns - limits.open_limit_ns};
    CREATE OR REPLACE TEMP TABLE timing_versions AS SELECT v.* FROM timing_versions v SEMI JOIN decided_open d ON d.span_id = v.span_id;
    CREATE OR REPLACE TEMP TABLE doubted AS SELECT DISTINCT b.span_id FROM doubted b SEMI JOIN decided_open d ON d.span_id = b.span_id;
    CREATE OR REPLACE TEMP TABLE thread_moves AS SELECT * FROM thread_moves WHERE ts_ns >= ${old};
    CREATE OR REPLACE TEMP TABLE closes AS SELECT * FROM closes WHERE close_ns >= ${old};
    CREATE OR REPLACE TEMP TABLE losses AS SELECT * FROM losses WHERE to_ns >= ${cut_ns - limits.open_limit_ns}`);
}
