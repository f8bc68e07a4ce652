// Live correlation: every cycle reads what has landed since the last one, decides what can be decided, stores what is over.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { RunState, Warehouse } from '../ingest/warehouse.ts';
import { chooseFinished } from './choose-finished.ts';
import { LateRanges, findLate } from './late-ranges.ts';
import { recorrelate } from './recorrelate.ts';
import { computedSteps, type HopelessServices } from './timing/claim.ts';
import { StepMemory, loadSteps, runSteps, type Step } from './step-runner.ts';
import { RULE_VERSION, describeFinished, storeFinished } from './store-spans.ts';
import { CLOSING, DEFAULT_LIMITS, HIDING_CAUSES, KEEP_NS, MESSAGE_COLUMNS, createWorkingSet, loadHistory, loadProcesses, SETTLE_NS, readMessages, readThreadMoves, setLimits, setRunEnds, type Limits, type RunEnd } from './working-set.ts';

export interface CorrelatorOptions {
  readonly log?: (line: string) => void;
  /** Kinds of evidence that are left out, to see what they contribute. */
  readonly evidence_off?: readonly string[];
  readonly now_ms?: () => number;
  readonly limits?: Partial<Limits>;
  /** A run that has said nothing for so long no longer holds the others back. */
  readonly silent_ms?: number;
  /** Shortest pause between two rewrites of stored segments because of late rows. */
  readonly late_pause_ms?: number;
  /** Awaited before each step, for work that is more urgent. */
  readonly between_steps?: () => Promise<void>;
  /** How long each step took, for measurements. */
  readonly observe?: (step: Step, elapsed_ms: number) => void;
}

export interface CycleReport {
  readonly messages: number;
  readonly spans: number;
  readonly cut_ns: bigint;
  /** Exchanges that belong before the previous cut: that part of history is done again. */
  readonly late: number;
  /** More has landed than one cycle takes: the next one should follow at once. */
  readonly behind: boolean;
}

/** The other end's hook may run so long after the fact; on other nodes, batches arrive that much apart. */
const MARGIN_NS = { one_node: 20_000_000n, several: 300_000_000n } as const;
/** Older events of a socket than this before the cut are known by now. */
const CLOSES_BACK_NS = 2_000_000_000n;
const FORGET_EVERY_CYCLES = 16;
/** What was learned of programs' habits counts so much in the next cycle: a program may be replaced by a newer one. */
const HABIT_DECAY = 0.98;
/** Rows of batches that one cycle takes: what it costs stays short and small, however far it is behind. */
const MOST_ROWS = 120_000;
/** Of a cycle: timing may not make everything else late. */
const TIMING_BUDGET_MS = 2000;
const NEVER = 9_000_000_000_000_000_000n;

const NOTHING_AHEAD = { from: 0n, horizon_ns: NEVER, first_ns: NEVER };

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const someIn = async (connection: DuckDBConnection, relation: string): Promise<boolean> => (await connection.runAndReadAll(`SELECT 1 FROM ${relation} LIMIT 1`)).currentRowCount > 0;
const key = (run: { node: string; run_id: bigint }): string => `${run.run_id} ${run.node}`;

export class Correlator {
  readonly #warehouse: Warehouse;
  readonly #log: (line: string) => void;
  readonly #now: () => number;
  readonly #limits: Limits;
  readonly #silent_ms: number;
  readonly #observe: CorrelatorOptions['observe'];
  readonly #evidence_off: readonly string[];
  #memory = new StepMemory();
  readonly #hopeless: HopelessServices = new Map();
  readonly #between_steps: CorrelatorOptions['between_steps'];
  readonly #steps = loadSteps();
  readonly #late: LateRanges;
  /** False: the working set has to be read again. */
  #loaded = false;
  #started = false;
  #read_to = 0n;
  /**
   * What landed after batch `from` and begins later than `horizon_ns` has not been looked at yet, and is read again where it is
   * stored; `first_ns`: when the first of it began.
   */
  #ahead = NOTHING_AHEAD;
  #cut = 0n;
  #cycles = 0;
  #finishing = false;
  /** Runs that were taken as ended, and when. */
  #ended = new Map<string, bigint>();
  /** What is waited for: the next known end, the oldest open request, the answer that has been quiet for longest. */
  #waiting = { count: 0, next_end_ns: NEVER, oldest_ns: NEVER, quiet_ns: NEVER };

  constructor(warehouse: Warehouse, options: CorrelatorOptions = {}) {
    this.#warehouse = warehouse;
    this.#log = options.log ?? ((): void => undefined);
    this.#now = options.now_ms ?? Date.now;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#silent_ms = options.silent_ms ?? 10_000;
    this.#observe = options.observe;
    this.#evidence_off = options.evidence_off ?? [];
    this.#between_steps = options.between_steps;
    this.#late = new LateRanges({ now_ms: this.#now, pause_ms: options.late_pause_ms ?? 5000 });
  }

  /** Every span that ended before is readable; ns since 1970. */
  get cut_ns(): bigint {
    return this.#cut;
  }

  /** One cycle; running it again without new batches changes nothing. */
  async cycle(): Promise<CycleReport> {
    const report = await this.#run();
    if (!report.behind) await this.#redoLate(false);
    return report;
  }

  /** For the end of a process that has applied its last batch: everything is decided, what is still open is stored as incomplete. */
  async finish(): Promise<void> {
    while ((await this.cycle()).behind);
    this.#finishing = true;
    try {
      await this.#run();
      await this.#redoLate(true);
    } finally {
      this.#finishing = false;
    }
  }

  #isAlive(run: RunState): boolean {
    return !this.#finishing && !run.final && this.#now() - run.heard_ms < this.#silent_ms;
  }

  #nextCut(): bigint {
    const runs = this.#warehouse.runs();
    const alive = runs.filter((run) => this.#isAlive(run));
    if (alive.length === 0) return runs.reduce((most, run) => max(most, run.watermark_ns), this.#cut);
    return this.#cutBelow(alive);
  }

  #cutBelow(runs: readonly { node: string; watermark_ns: bigint }[]): bigint {
    const margin = new Set(runs.map((run) => run.node)).size > 1 ? MARGIN_NS.several : MARGIN_NS.one_node;
    return max(runs.reduce((least, run) => (run.watermark_ns < least ? run.watermark_ns : least), NEVER) - margin, this.#cut);
  }

  /** What this cycle reads, and up to when all is known then: everything that has landed, or a part when that is much. */
  async #reach(connection: DuckDBConnection): Promise<{ to: bigint; cut: bigint }> {
    const [from, last] = [this.#read_to, this.#warehouse.last_apply_no];
    const all = { to: last, cut: this.#nextCut() };
    if (last - from < 2n || this.#finishing) return all;
    const since = this.#warehouse.storedSince('batches', from);
    const waiting = await connection.runAndReadAll(`SELECT apply_no, sum(rows) OVER (ORDER BY apply_no) FROM ${since} b WHERE b.apply_no > ${from} ORDER BY apply_no`);
    const batches = (waiting.getRows() as [bigint, bigint][]).filter(([, rows]) => Number(rows) <= MOST_ROWS);
    const to = batches.at(-1)?.[0] ?? from + 1n;
    if (batches.length === waiting.currentRowCount || to >= last) return all;
    // A run that has not been heard of by then began after it.
    const heard = await connection.runAndReadAll(`
      SELECT node, run_id, max(watermark_ns) FILTER (apply_no <= ${to}), max(apply_no) > ${from} FROM memory.stored.batches GROUP BY node, run_id`);
    const alive = new Set(this.#warehouse.runs().filter((run) => this.#isAlive(run)).map(key));
    const held_by = (heard.getRows() as [string, bigint, bigint | null, boolean][])
      .filter(([node, run_id, , unread]) => unread || alive.has(key({ node, run_id })))
      .map(([node, run_id, watermark_ns]) => ({ node, watermark_ns: watermark_ns ?? run_id }));
    return { to, cut: this.#cutBelow(held_by) };
  }

  async #run(): Promise<CycleReport> {
    try {
      const report = await this.#warehouse.withDerived((alias, connection) => this.#step(alias, connection));
      if (report.cut_ns > 0n) this.#warehouse.noteCut(report.cut_ns);
      return report;
    } catch (error) {
      this.#loaded = false; // whatever the working set holds now, the stored rows are whole
      throw error;
    }
  }

  async #step(alias: string, connection: DuckDBConnection): Promise<CycleReport> {
    if (!this.#loaded) await this.#load(connection);
    const from = this.#read_to;
    const { to, cut } = await this.#reach(connection);
    const previous_cut = this.#cut;
    const behind = to < this.#warehouse.last_apply_no;
    const nothing = { messages: 0, spans: 0, cut_ns: cut, late: 0, behind };
    const ends_changed = await this.#noteRunEnds(connection);
    if (to === from && cut === previous_cut && !ends_changed) return nothing;
    const horizon_ns = this.#finishing ? NEVER : cut + SETTLE_NS;
    const news = await this.#takeNew(connection, from, to, horizon_ns);
    const { count, next_end_ns, oldest_ns, quiet_ns } = this.#waiting;
    const due = this.#ahead.first_ns <= (this.#finishing ? NEVER : cut) || (count > 0 && (news.closes > 0 || ends_changed || next_end_ns <= cut || oldest_ns + this.#limits.open_limit_ns <= cut || quiet_ns + this.#limits.quiet_limit_ns <= cut));
    if (news.messages === 0 && !due) {
      this.#read_to = to;
      this.#cut = cut;
      return nothing;
    }
    // At the end nothing more will come that could be waited for.
    await setLimits(connection, this.#finishing ? { ...this.#limits, decide_limit_ns: 0n } : this.#limits, cut);
    await readThreadMoves(this.#warehouse, connection, previous_cut, cut);
    await runSteps(connection, this.#steps, { observe: this.#observe, between: this.#between_steps, memory: this.#memory, computed: computedSteps(connection, this.#between_steps, this.#hopeless, this.#finishing ? undefined : TIMING_BUDGET_MS) });
    const late = await findLate(connection, from, previous_cut);
    this.#late.add(late.ranges);
    const begun = performance.now();
    const spans = await chooseFinished(connection, cut);
    if (spans > 0) await describeFinished(connection);
    await connection.run('BEGIN TRANSACTION');
    if (spans > 0) await storeFinished(connection, alias);
    await connection.run(`INSERT INTO ${alias}.progress VALUES (${to}, ${cut}, ${RULE_VERSION})`);
    await connection.run('COMMIT');
    if (spans > 0) await connection.run('DELETE FROM timing_models');
    const stored = performance.now();
    this.#observe?.({ file: '', name: 'store', sql: '', repeat: false, view: false, needs: undefined }, stored - begun);
    const ahead = await this.#lookAhead(connection, to, horizon_ns);
    await this.#forget(connection, cut, horizon_ns);
    this.#ahead = ahead;
    this.#observe?.({ file: '', name: 'forget', sql: '', repeat: false, view: false, needs: undefined }, performance.now() - stored);
    this.#read_to = to;
    this.#cut = cut;
    return { messages: news.messages, spans, cut_ns: cut, late: late.count, behind };
  }

  async #load(connection: DuckDBConnection): Promise<void> {
    const progress = await connection.runAndReadAll('SELECT coalesce(max(apply_no), 0), coalesce(max(cut_ns), 0) FROM memory.stored.progress');
    const [apply_no, cut_ns] = (progress.getRows()[0] ?? [0n, 0n]) as [bigint, bigint];
    this.#read_to = max(this.#read_to, apply_no);
    this.#cut = max(this.#cut, cut_ns);
    await createWorkingSet(connection);
    this.#memory = new StepMemory();
    for (const evidence of this.#evidence_off) await connection.run('INSERT INTO evidence_off VALUES ($1)', [evidence]);
    this.#ahead = { ...NOTHING_AHEAD, from: this.#read_to };
    if (this.#read_to > 0n) await loadHistory(this.#warehouse, connection, { from_ns: this.#cut, to_ns: NEVER, apply_no: this.#read_to }, this.#limits);
    // Whoever stopped before may have stored what these runs left open.
    if (!this.#started) for (const run of this.#warehouse.runs()) if (run.watermark_ns <= this.#cut) this.#ended.set(key(run), run.watermark_ns);
    this.#started = true;
    this.#waiting = { count: 1, next_end_ns: 0n, oldest_ns: 0n, quiet_ns: 0n };
    this.#loaded = true;
  }

  /** True when a run has ended since, or one taken as ended speaks again. */
  async #noteRunEnds(connection: DuckDBConnection): Promise<boolean> {
    const ends: RunEnd[] = [];
    const ended = new Map<string, bigint>();
    for (const run of this.#warehouse.runs()) {
      const before = this.#ended.get(key(run));
      if (!this.#isAlive(run)) {
        ends.push({ run_id: run.run_id, node: run.node, run_end_ns: run.watermark_ns });
        ended.set(key(run), run.watermark_ns);
      } else if (before !== undefined && run.watermark_ns > before) {
        this.#late.add([{ from_ns: before, to_ns: this.#cut }]);
      } else if (before !== undefined) {
        ended.set(key(run), before);
      }
    }
    const changed = [...ended].some(([name, at]) => this.#ended.get(name) !== at) || [...this.#ended.keys()].some((name) => !ended.has(name));
    this.#ended = ended;
    await setRunEnds(connection, ends);
    return changed;
  }

  /** Adds what landed in (from, to] to the working set, and what landed before and was ahead of its cycle. */
  async #takeNew(connection: DuckDBConnection, from: bigint, to: bigint, horizon_ns: bigint): Promise<{ messages: number; closes: number }> {
    const since = (table: 'messages' | 'socket_events' | 'processes' | 'losses'): string => this.#warehouse.storedSince(table, from);
    const ahead = this.#ahead;
    const news = `SELECT ${MESSAGE_COLUMNS} FROM ${this.#warehouse.storedSince('messages', ahead.from)} m WHERE m.apply_no > ${ahead.from} AND m.apply_no <= ${to} AND (m.apply_no > ${from} OR m.ts_ns > ${ahead.horizon_ns})`;
    await readMessages(connection, { news, horizon_ns });
    if (to === from) return { messages: 0, closes: 0 };
    const messages = await connection.runAndReadAll(`SELECT count(*) FROM ${since('messages')} m WHERE m.apply_no > ${from} AND m.apply_no <= ${to}`);
    const closes = await connection.run(`INSERT INTO closes
      SELECT e.run_id, e.socket_id, min(e.ts_ns) FROM ${since('socket_events')} e LEFT JOIN closes c ON c.socket_id = e.socket_id AND c.run_id = e.run_id
      WHERE e.ts_ns >= ${this.#cut - CLOSES_BACK_NS} AND ${CLOSING} AND c.socket_id IS NULL GROUP BY e.run_id, e.socket_id`);
    if (await someIn(connection, since('processes'))) await loadProcesses(connection, since('processes'));
    if (await someIn(connection, since('losses'))) await connection.run(`INSERT INTO losses SELECT l.node, l.from_ns, l.to_ns, l.cause FROM ${since('losses')} l WHERE l.cause IN ${HIDING_CAUSES} AND l.to_ns >= ${this.#cut - KEEP_NS} EXCEPT SELECT node, from_ns, to_ns, cause FROM losses`);
    return { messages: Number(messages.getRows()[0]?.[0] ?? 0), closes: closes.rowsChanged };
  }

  /** What the next cycle reads again. */
  async #lookAhead(connection: DuckDBConnection, to: bigint, horizon_ns: bigint): Promise<typeof NOTHING_AHEAD> {
    const found = await connection.runAndReadAll(`SELECT min(m.apply_no) FILTER (m.apply_no > ${this.#ahead.from}) - 1, min(m.ts_ns) FROM landed m WHERE m.ts_ns > ${horizon_ns}`);
    const [before, first_ns] = found.getRows()[0] as [bigint | null, bigint | null];
    return { from: before ?? to, horizon_ns, first_ns: first_ns ?? NEVER };
  }

  /** Keeps what is open or not decided yet, and for a while what was stored last. */
  async #forget(connection: DuckDBConnection, cut: bigint, horizon_ns: bigint): Promise<void> {
    await connection.run(`CREATE OR REPLACE TEMP TABLE waiting AS
      SELECT e.run_id, e.socket_id, e.exchange_no, e.ts_ns, e.end_ns, CASE WHEN e.end_ns IS NULL AND e.protocol IS NULL THEN e.answer_ns END AS quiet_ns FROM exchanges e LEFT JOIN over_now o ON o.span_id = e.span_id LEFT JOIN decided_stored d ON d.span_id = e.span_id
      WHERE o.span_id IS NULL AND d.span_id IS NULL`);
    await connection.run('INSERT INTO known_call_ends SELECT c.* FROM new_call_ends c SEMI JOIN over_now o ON o.span_id = c.span_id');
    if (await someIn(connection, 'work')) {
      await connection.run('INSERT INTO known_work SELECT w.* FROM new_work w SEMI JOIN over_now o ON o.span_id = w.span_id');
      // Habits fade with what is seen of a program, not with time.
      await connection.run(`CREATE OR REPLACE TEMP TABLE seen_now AS SELECT DISTINCT service FROM call_groups;
        CREATE OR REPLACE TEMP TABLE known_lags AS SELECT s.service, callee_ip, callee_port, fresh, source_ip, source_port, lag, explained * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS explained FROM lag_sums s LEFT JOIN seen_now n ON n.service = s.service;
        CREATE OR REPLACE TEMP TABLE known_lag_calls AS SELECT s.service, callee_ip, callee_port, fresh, calls * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS calls FROM lag_calls s LEFT JOIN seen_now n ON n.service = s.service;
        CREATE OR REPLACE TEMP TABLE known_lag_orders AS SELECT s.service, callee_ip, callee_port, fresh, calls * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS calls, at_once * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS at_once FROM lag_orders s LEFT JOIN seen_now n ON n.service = s.service;
        CREATE OR REPLACE TEMP TABLE known_flushes AS SELECT s.service, before_ns * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS before_ns, between_ns * CASE WHEN n.service IS NULL THEN 1 ELSE ${HABIT_DECAY} END AS between_ns FROM flushes s LEFT JOIN seen_now n ON n.service = s.service`);
    }
    await connection.run(`INSERT INTO known_holds SELECT h.span_id, h.thread_id, h.from_ns, h.to_ns FROM new_holds h JOIN over_now o ON o.span_id = h.span_id WHERE h.from_ns < h.to_ns`);
    await connection.run(`INSERT INTO decided_stored SELECT f.span_id, f.parent_span_id, f.start_ns, f.trace_hi, f.trace_lo, f.end_ns, TRUE FROM over_now f`);
    await connection.run(`CREATE OR REPLACE TEMP TABLE decided_next AS
      SELECT d.* FROM decided_open d ANTI JOIN over_now o ON o.span_id = d.span_id
      UNION ALL
      SELECT n.span_id, n.parent_span_id, n.start_ns, n.trace_hi, n.trace_lo, CAST(NULL AS BIGINT), FALSE
      FROM decisions n JOIN exchanges e ON e.span_id = n.span_id ANTI JOIN over_now o ON o.span_id = n.span_id
      WHERE e.ts_ns <= ${cut}`);
    // Of requests that are open: how many calls they have caused so far.
    await connection.run(`CREATE OR REPLACE TEMP TABLE call_counts_next AS
      SELECT c.span_id, sum(c.calls)::BIGINT AS calls FROM (
        SELECT span_id, calls FROM known_call_counts
        UNION ALL
        SELECT n.parent_span_id, 1 FROM decisions n JOIN exchanges e ON e.span_id = n.span_id WHERE NOT e.is_server AND n.parent_span_id IS NOT NULL AND e.ts_ns <= ${cut}
      ) c JOIN exchanges r ON r.span_id = c.span_id JOIN waiting w ON w.socket_id = r.socket_id AND w.exchange_no = r.exchange_no AND w.run_id = r.run_id
      GROUP BY c.span_id`);
    await connection.run(`CREATE OR REPLACE TEMP TABLE links_next AS
      SELECT k.span_id, k.candidate_span_id, k.evidence, k.score, k.chosen, k.doubt
      FROM (SELECT * FROM known_links UNION ALL SELECT span_id, candidate_span_id, evidence, score, chosen, doubt FROM links) k SEMI JOIN decided_next d ON d.span_id = k.span_id`);
    await connection.run(`CREATE OR REPLACE TEMP TABLE known_next AS
      SELECT m.* FROM messages m SEMI JOIN waiting w ON w.socket_id = m.socket_id AND w.exchange_no = m.exchange_no AND w.run_id = m.run_id WHERE m.ts_ns <= ${horizon_ns}
      UNION ALL
      SELECT k.* FROM known_messages k WHERE k.ts_ns > ${horizon_ns}`);
    // An answer may land before its request, when that was never finished.
    const early = `m.kind = 'response' AND m.exchange_no >= 0 AND m.end_ts_ns > ${cut - CLOSES_BACK_NS} AND m.ts_ns <= ${horizon_ns}`;
    await connection.run(`CREATE OR REPLACE TEMP TABLE early_answers AS
      SELECT DISTINCT m.run_id, m.socket_id, m.exchange_no FROM messages m ANTI JOIN exchanges e ON e.socket_id = m.socket_id AND e.exchange_no = m.exchange_no AND e.run_id = m.run_id WHERE ${early}`);
    if (await someIn(connection, 'early_answers')) {
      await connection.run(`INSERT INTO known_next SELECT m.* FROM messages m SEMI JOIN early_answers a ON a.socket_id = m.socket_id AND a.exchange_no = m.exchange_no AND a.run_id = m.run_id WHERE ${early}`);
    }
    await connection.run(`DROP TABLE known_call_counts; ALTER TABLE call_counts_next RENAME TO known_call_counts;
      DROP TABLE decided_open; ALTER TABLE decided_next RENAME TO decided_open;
      DROP TABLE known_links; ALTER TABLE links_next RENAME TO known_links;
      DROP TABLE known_messages; ALTER TABLE known_next RENAME TO known_messages`);
    await readMessages(connection);
    this.#cycles += 1;
    if (this.#cycles % FORGET_EVERY_CYCLES === 0) {
      const old = cut - KEEP_NS;
      await connection.run(`CREATE OR REPLACE TEMP TABLE decided_stored AS SELECT * FROM decided_stored WHERE end_ns >= ${old};
        CREATE OR REPLACE TEMP TABLE known_holds AS SELECT * FROM known_holds WHERE to_ns >= ${old};
        CREATE OR REPLACE TEMP TABLE known_work AS SELECT * FROM known_work WHERE coalesce(free_ns, answer_ns, ts_ns) >= ${old};
        CREATE OR REPLACE TEMP TABLE known_call_ends AS SELECT * FROM known_call_ends WHERE end_ns >= ${old};
        CREATE OR REPLACE TEMP TABLE timing_versions AS SELECT v.* FROM timing_versions v SEMI JOIN decided_open d ON d.span_id = v.span_id;
        CREATE OR REPLACE TEMP TABLE doubted AS SELECT DISTINCT b.span_id FROM doubted b SEMI JOIN decided_open d ON d.span_id = b.span_id;
        CREATE OR REPLACE TEMP TABLE closes AS SELECT * FROM closes WHERE close_ns >= ${old};
        CREATE OR REPLACE TEMP TABLE losses AS SELECT * FROM losses WHERE to_ns >= ${cut - this.#limits.open_limit_ns}`);
    }
    const rows = await connection.runAndReadAll(`SELECT count(*), coalesce(min(end_ns), ${NEVER}), coalesce(min(ts_ns), ${NEVER}), coalesce(min(quiet_ns), ${NEVER}) FROM waiting`);
    const [count, next_end_ns, oldest_ns, quiet_ns] = rows.getRows()[0] as [bigint, bigint, bigint, bigint];
    this.#waiting = { count: Number(count), next_end_ns, oldest_ns, quiet_ns };
  }

  async #redoLate(now: boolean): Promise<void> {
    const range = this.#late.take(now);
    if (range === undefined) return;
    const begun = this.#now();
    const changes = await recorrelate(this.#warehouse, { ...range, limits: this.#limits, run_ends: this.#runEnds() });
    this.#late.took(this.#now() - begun);
    this.#loaded = false;
    this.#log(`late events: ${changes.spans} spans from ${new Date(Number(range.from_ns / 1_000_000n)).toISOString()} on were correlated again, ${changes.links_gained + changes.links_lost + changes.links_moved} links changed`);
  }

  #runEnds(): RunEnd[] {
    return this.#warehouse.runs().filter((run) => this.#ended.has(key(run))).map((run) => ({ run_id: run.run_id, node: run.node, run_end_ns: this.#ended.get(key(run)) ?? run.watermark_ns }));
  }
}
