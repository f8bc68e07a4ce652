// Live correlation: every cycle reads what has landed since the last one, decides what can be decided, stores what is over.
import type { DuckDBConnection } from '@duckdb/node-api';
import { isOutOfMemory } from '../ingest/duckdb-errors.ts';
import { readRows } from '../ingest/duckdb-query.ts';
import { Mutex } from '../ingest/mutex.ts';
import type { DerivedSegment, Warehouse } from '../ingest/warehouse.ts';
import { CLOSES_BACK_NS, READ_AFTER_STEPS, carryOver, forgetOld, leaveToRewrite, type Waiting } from './carry-over.ts';
import { chooseFinished } from './choose-finished.ts';
import { LateHistory } from './late-history.ts';
import { findLate, type TimeRange } from './late-ranges.ts';
import { bothReports, type ChangeReport } from './history-changes.ts';
import { recorrelate } from './recorrelate.ts';
import { computedSteps, type HopelessServices } from './timing/claim.ts';
import { RunWatch } from './run-watch.ts';
import { StepMemory, loadSteps, runSteps, type Step } from './step-runner.ts';
import { RULE_VERSION, describeFinished, storeFinished } from './store-spans.ts';
import { DEFAULT_LIMITS, HIDING_CAUSES, KEEP_NS, MESSAGE_COLUMNS, NEVER, addCloses, addThreadMoves, createWorkingSet, dropWorkingSet, loadHistory, loadProcesses, rememberHabits, SETTLE_NS, readMessages, setLimits, storedMessages, type Limits } from './working-set.ts';

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
  /** Awaited before each step, or before some that are said together, for work that is more urgent. */
  readonly between_steps?: () => Promise<void>;
  /** How long each step took, for measurements. */
  readonly observe?: (step: Step, elapsed_ms: number) => void;
  /** Those of loadSteps unless given. */
  readonly steps?: readonly Step[];
  /** Results of steps with so many rows are dropped once nothing reads them any more; 10,000. */
  readonly many_rows?: number;
  /** Rows of batches that one cycle takes; 240,000, which is what 512 MB of memory suffice for. An event is cheaper in a larger cycle. */
  readonly most_rows?: number;
  /** Late parts of history with more spans than these are done again beside the cycles; 20,000. */
  readonly beside_spans?: number;
  /** Spans of late parts that are done at a time, about; 200,000. */
  readonly part_spans?: number;
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

/** What nothing depends on any more goes that often. */
const FORGET_EVERY_NS = 5_000_000_000n;
/** What ended so long before the cut has been stored: nothing waits for longer to be decided. */
const SETTLED_NS = 60_000_000_000n;
/** Spans of history that are worked on at a time beside live cycles: their working set needs most of the memory. */
const BESIDE_MOST_SPANS = 100_000;
/** Of a cycle: timing may not make everything else late. */
const TIMING_BUDGET_MS = 2000;

const NOTHING_AHEAD = { from: 0n, horizon_ns: NEVER, first_ns: NEVER };

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);

export class Correlator {
  readonly #warehouse: Warehouse;
  readonly #limits: Limits;
  readonly #observe: CorrelatorOptions['observe'];
  readonly #evidence_off: readonly string[];
  #memory = new StepMemory();
  readonly #hopeless: HopelessServices = new Map();
  readonly #between_steps: CorrelatorOptions['between_steps'];
  readonly #steps: readonly Step[];
  readonly #many_rows: number | undefined;
  readonly #late: LateHistory;
  readonly #alone = new Mutex();
  readonly #runs: RunWatch;
  /** False: the working set has to be read again. */
  #loaded = false;
  /** No cycle has worked on it yet. */
  #read_anew = false;
  #started = false;
  #read_to = 0n;
  /**
   * What landed after batch `from` and begins later than `horizon_ns` has not been looked at yet, and is read again where it is
   * stored; `first_ns`: when the first of it began.
   */
  #ahead = NOTHING_AHEAD;
  #cut = 0n;
  /** Up to when thread_moves are known. */
  #moved_to = 0n;
  /** Up to which cut what is old was forgotten. */
  #forgotten = 0n;
  /** What is waited for: the next known end, the oldest open request, the answer that has been quiet for longest. */
  #waiting: Waiting = { count: 0, next_end_ns: NEVER, oldest_ns: NEVER, quiet_ns: NEVER };

  constructor(warehouse: Warehouse, options: CorrelatorOptions = {}) {
    this.#warehouse = warehouse;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#observe = options.observe;
    this.#evidence_off = options.evidence_off ?? [];
    this.#between_steps = options.between_steps;
    this.#steps = options.steps ?? loadSteps();
    this.#many_rows = options.many_rows;
    const now_ms = options.now_ms ?? Date.now;
    this.#runs = new RunWatch(warehouse, { now_ms, silent_ms: options.silent_ms ?? 10_000, most_rows: options.most_rows });
    this.#late = new LateHistory(warehouse, {
      now_ms, pause_ms: options.late_pause_ms ?? 5000, log: options.log ?? ((): void => undefined), redo: (range, stopped) => this.#redo(range, undefined, stopped),
      redoBeside: (range, stopped) => this.#redoBeside(range, stopped), cut_ns: () => this.#cut, settled_ns: () => this.#settled_ns(), beside_spans: options.beside_spans, part_spans: options.part_spans,
    });
  }

  /** Every span that ended before is readable, but for those that wait to be decided, up to decide_limit_ns longer; ns since 1970. */
  get cut_ns(): bigint {
    return this.#cut;
  }

  /** One cycle; running it again without new batches changes nothing. */
  cycle(): Promise<CycleReport> {
    return this.#alone.run(() => this.#cycle());
  }

  /**
   * History again, as recorrelate does it, beside live cycles: what these have ended is done while they go on, and the newest of it between two of them,
   * as it holds what they have not decided yet.
   */
  async again(range: TimeRange): Promise<ChangeReport> {
    if (!this.#started) await this.cycle(); // what had been decided before this process is known then
    await this.#warehouse.withDerived((_alias, connection) => rememberHabits(connection));
    const settled_ns = this.#settled_ns();
    const before = await this.#late.pausing({ from_ns: 0n, to_ns: settled_ns }, () =>
      recorrelate(this.#warehouse, { ...range, limits: this.#limits, run_ends: this.#runs.ends(), only: (segment) => segment.to_ns <= settled_ns }).finally(() => this.#readAnew()),
    );
    for (;;) {
      await this.#late.beside; // it would be waited for between the two cycles
      const newest = await this.#alone.run(() => (this.#late.beside === undefined ? this.#redo(range, (segment) => segment.to_ns > settled_ns) : undefined));
      if (newest !== undefined) return bothReports(before, newest);
    }
  }

  async #cycle(): Promise<CycleReport> {
    const report = await this.#run();
    if (!report.behind) await this.#late.redo();
    return report;
  }

  /** For a process that is to end soon: late parts of history that take their time are left to the next one. */
  leaveLate(): void {
    this.#late.stop();
  }

  /** For the end of a process that has applied its last batch: everything is decided, what is still open is stored as incomplete. */
  finish(): Promise<void> {
    return this.#alone.run(() => this.#finish());
  }

  async #finish(): Promise<void> {
    while ((await this.#run()).behind);
    this.#runs.finishing = true;
    try {
      await this.#run();
      await this.#late.finish();
    } finally {
      this.#runs.finishing = false;
    }
  }

  async #run(): Promise<CycleReport> {
    try {
      const report = await this.#warehouse.withDerived((alias, connection) => this.#step(alias, connection));
      if (report.cut_ns > 0n) this.#warehouse.noteCut(report.cut_ns);
      this.#warehouse.noteRead(this.#ahead.from); // what was ahead is read again
      if (report.messages > 0) this.#runs.readMore();
      return report;
    } catch (error) {
      if (isOutOfMemory(error)) this.#runs.readLess();
      this.#loaded = false; // whatever the working set holds now, the stored rows are whole
      throw error;
    }
  }

  async #step(alias: string, connection: DuckDBConnection): Promise<CycleReport> {
    if (!this.#loaded) await this.#load(connection);
    const from = this.#read_to;
    const previous_cut = this.#cut;
    const { to, cut } = await this.#runs.reach(connection, from, previous_cut);
    const behind = to < this.#warehouse.last_apply_no;
    const nothing = { messages: 0, spans: 0, cut_ns: cut, late: 0, behind };
    const { changed: ends_changed, late: spoke_again } = await this.#runs.noteEnds(connection);
    await this.#late.add(spoke_again);
    if (to === from && cut === previous_cut && !ends_changed) return nothing;
    const horizon_ns = this.#runs.finishing ? NEVER : cut + SETTLE_NS;
    const news = await this.#takeNew(connection, from, to, horizon_ns);
    const { count, next_end_ns, oldest_ns, quiet_ns } = this.#waiting;
    const due = this.#ahead.first_ns <= (this.#runs.finishing ? NEVER : cut) || (count > 0 && (news.closes > 0 || ends_changed || next_end_ns <= cut || oldest_ns + this.#limits.open_limit_ns <= cut || quiet_ns + this.#limits.quiet_limit_ns <= cut));
    if (news.messages === 0 && !due) {
      if (this.#ahead.first_ns === NEVER) this.#ahead = { ...this.#ahead, from: to };
      this.#read_to = to;
      this.#cut = cut;
      return nothing;
    }
    // At the end nothing more will come that could be waited for.
    await connection.run(`${setLimits(this.#runs.finishing ? { ...this.#limits, decide_limit_ns: 0n } : this.#limits, cut)}; ${addThreadMoves(this.#warehouse, max(this.#moved_to, previous_cut - KEEP_NS), cut)}`);
    this.#moved_to = cut;
    await runSteps(connection, this.#steps, { together: !this.#read_anew, observe: this.#observe, between: this.#between_steps, memory: this.#memory, kept: READ_AFTER_STEPS, many_rows: this.#many_rows, computed: computedSteps(connection, this.#between_steps, this.#hopeless, this.#runs.finishing ? undefined : TIMING_BUDGET_MS) });
    // What is being done beside the cycles may hold rows that these have not read yet, and is not to be stored by both.
    const within = this.#read_anew ? { from_ns: 0n, to_ns: NEVER } : this.#late.at;
    const anew = within !== undefined ? { left_ns: previous_cut - KEEP_NS, within, stored: this.#warehouse.storedBetween('derived', 'spans', previous_cut - this.#limits.open_limit_ns, previous_cut) } : null;
    const late = await findLate(connection, { apply_no: from, cut_ns: previous_cut, oldest_ns: this.#late.oldest_ns(), anew });
    await this.#late.add(late.ranges);
    const begun = performance.now();
    const { spans, losses } = await chooseFinished(connection, cut);
    if (spans > 0) await describeFinished(connection, losses);
    const progress = `INSERT INTO ${alias}.progress VALUES (${to}, ${cut}, ${RULE_VERSION})`;
    await this.#warehouse.storeDerived(connection, async () => void (await connection.run(spans > 0 ? `${storeFinished(alias)}; ${progress}` : progress)));
    const stored = performance.now();
    this.#observe?.({ file: '', name: 'store', sql: '', repeat: false, view: false, needs: [] }, stored - begun);
    const ahead = await this.#lookAhead(connection, spans > 0, to, horizon_ns);
    if (late.count > 0 || anew !== null) await leaveToRewrite(connection, previous_cut);
    await this.#forget(connection, cut, horizon_ns);
    this.#ahead = ahead;
    this.#observe?.({ file: '', name: 'forget', sql: '', repeat: false, view: false, needs: [] }, performance.now() - stored);
    this.#read_to = to;
    this.#cut = cut;
    this.#read_anew = false;
    return { messages: news.messages, spans, cut_ns: cut, late: late.count, behind };
  }

  async #load(connection: DuckDBConnection): Promise<void> {
    const [progress] = await readRows(connection, 'SELECT coalesce(max(apply_no), 0), coalesce(max(cut_ns), 0) FROM memory.stored.progress');
    const [apply_no, cut_ns] = (progress ?? [0n, 0n]) as [bigint, bigint];
    this.#read_to = max(this.#read_to, apply_no);
    this.#cut = max(this.#cut, cut_ns);
    this.#warehouse.noteRead(this.#read_to);
    await rememberHabits(connection); // of one that a failure has spoiled
    await createWorkingSet(connection);
    this.#moved_to = 0n;
    this.#memory = new StepMemory();
    for (const evidence of this.#evidence_off) await connection.run('INSERT INTO evidence_off VALUES ($1)', [evidence]);
    this.#ahead = { ...NOTHING_AHEAD, from: this.#read_to };
    if (this.#read_to > 0n) {
      const stored = await loadHistory(this.#warehouse, connection, { from_ns: this.#cut, to_ns: NEVER, apply_no: this.#read_to }, this.#limits);
      await connection.run(`INSERT INTO known_messages BY NAME ${storedMessages(this.#warehouse, stored)}`);
      await connection.run(readMessages());
    }
    if (!this.#started) {
      await this.#runs.takeAsEnded(connection, this.#read_to, this.#cut);
      await this.#late.takeUp();
    }
    this.#started = true;
    this.#waiting = { count: 1, next_end_ns: 0n, oldest_ns: 0n, quiet_ns: 0n };
    this.#loaded = true;
    this.#read_anew = true;
  }

  /** Adds what landed in (from, to] to the working set, and what landed before and was ahead of its cycle. */
  async #takeNew(connection: DuckDBConnection, from: bigint, to: bigint, horizon_ns: bigint): Promise<{ messages: number; closes: number }> {
    const since = (table: 'messages' | 'socket_events' | 'processes' | 'losses'): string => this.#warehouse.storedSince(table, from, to);
    const ahead = this.#ahead;
    const news = `SELECT ${MESSAGE_COLUMNS} FROM ${this.#warehouse.storedSince('messages', ahead.from, to)} m WHERE m.apply_no > ${ahead.from} AND m.apply_no <= ${to} AND (m.apply_no > ${from} OR m.ts_ns > ${ahead.horizon_ns})`;
    const landed = readMessages({ news, horizon_ns });
    if (to === from) {
      await connection.run(landed);
      return { messages: 0, closes: 0 };
    }
    const [found] = await readRows(connection, `${landed};
      SELECT count(*), EXISTS (FROM ${since('processes')}), EXISTS (FROM ${since('losses')}) FROM ${since('messages')} m WHERE m.apply_no > ${from} AND m.apply_no <= ${to}`);
    const [messages, processes, losses] = found as [bigint, boolean, boolean];
    const closes = await connection.run(addCloses(since('socket_events'), `e.ts_ns >= ${this.#cut - CLOSES_BACK_NS}`));
    if (processes) await loadProcesses(connection, since('processes'));
    if (losses) await connection.run(`INSERT INTO losses SELECT l.node, l.from_ns, l.to_ns, l.cause FROM ${since('losses')} l WHERE l.cause IN ${HIDING_CAUSES} AND l.to_ns >= ${this.#cut - KEEP_NS} EXCEPT SELECT node, from_ns, to_ns, cause FROM losses`);
    return { messages: Number(messages), closes: closes.rowsChanged };
  }

  /** What the next cycle reads again. */
  async #lookAhead(connection: DuckDBConnection, stored: boolean, to: bigint, horizon_ns: bigint): Promise<typeof NOTHING_AHEAD> {
    const [found] = await readRows(connection, `${stored ? 'DELETE FROM timing_models;' : ''} SELECT min(m.apply_no) FILTER (m.apply_no > ${this.#ahead.from}) - 1, min(m.ts_ns) FROM landed m WHERE m.ts_ns > ${horizon_ns}`);
    const [before, first_ns] = found as [bigint | null, bigint | null];
    return { from: before ?? to, horizon_ns, first_ns: first_ns ?? NEVER };
  }

  async #forget(connection: DuckDBConnection, cut: bigint, horizon_ns: bigint): Promise<void> {
    this.#waiting = await carryOver(connection, cut, horizon_ns);
    if (cut >= this.#forgotten + FORGET_EVERY_NS) {
      await forgetOld(connection, cut, this.#limits);
      this.#forgotten = cut;
    }
  }

  async #redo(range: TimeRange, only: (segment: DerivedSegment) => boolean = () => true, stopped?: AbortSignal): Promise<ChangeReport> {
    // Two working sets at once are more than the memory of a small node; this one is read again afterwards.
    this.#loaded = false;
    await this.#warehouse.withDerived(async (_alias, connection) => {
      await rememberHabits(connection);
      await dropWorkingSet(connection);
    });
    const between = async (): Promise<void> => stopped?.throwIfAborted();
    return recorrelate(this.#warehouse, { ...range, limits: this.#limits, run_ends: this.#runs.ends(), only, between });
  }

  /** Within a cycle. */
  async #redoBeside(range: TimeRange, stopped: AbortSignal): Promise<ChangeReport> {
    await this.#warehouse.withDerived((_alias, connection) => rememberHabits(connection));
    const between = async (): Promise<void> => {
      stopped.throwIfAborted();
      await this.#between_steps?.();
    };
    const only = (segment: DerivedSegment): boolean => segment.to_ns <= this.#settled_ns();
    return recorrelate(this.#warehouse, { ...range, limits: this.#limits, run_ends: this.#runs.ends(), only, most_spans: BESIDE_MOST_SPANS, between }).finally(() => this.#readAnew());
  }

  /** What was found beside the cycles to be open still is to be waited for, under the ids that traces have now. */
  async #readAnew(): Promise<void> {
    await this.#warehouse.withDerived(() => Promise.resolve((this.#loaded = false)));
  }

  #settled_ns(): bigint {
    return this.#cut - SETTLED_NS;
  }
}
