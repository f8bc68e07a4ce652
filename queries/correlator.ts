// Live correlation: every cycle reads what has landed since the last one, decides what can be decided, stores what has ended.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Warehouse } from '../ingest/warehouse.ts';
import { RULE_VERSION, URL_TEMPLATE_MACRO, correlateOnce, storeFinished } from './correlate-run.ts';
import { recorrelate } from './recorrelate.ts';

export interface CorrelatorOptions {
  readonly log?: (line: string) => void;
  readonly now_ms?: () => number;
}

export interface CycleReport {
  readonly messages: number;
  readonly spans: number;
  readonly cut_ns: bigint;
  /** Spans that had ended before the previous cut: their part of history is done again. */
  readonly late: number;
}

/** A run that has said nothing for so long no longer holds the others back. */
const SILENT_MS = 10_000;
/** The other end's hook may run this much after the fact: nothing so young is decided. */
const MARGIN_NS = 20_000_000n;
/** How long decisions are kept for children that come after their parent has ended. */
const KEEP_NS = 15_000_000_000n;
/** A request that is open for longer is given up: stored as incomplete. */
const MOST_OPEN_NS = 600_000_000_000n;
/** After a restart, messages of so long before the cut are read again for what was open then. */
const RESTART_NS = 60_000_000_000n;
const LATE_EVERY_MS = 5000;
const NEVER = 9_000_000_000_000_000_000n;

/** What correlation needs of a message. */
export const MESSAGE_COLUMNS =
  'node, run_id, apply_no, ts_ns, end_ts_ns, socket_id, conn_id, process_id, pid, role, kind, protocol, exchange_no, stream_offset, end_offset, first_thread_id, first_tid, comm, fd, local_ip, local_port, remote_ip, remote_port, connect_ts_ns, connect_thread_id, method, path, status, host, http_version, errno, end_reason, complete, partial';

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);

export class Correlator {
  readonly #warehouse: Warehouse;
  readonly #log: (line: string) => void;
  readonly #now: () => number;
  #ready = false;
  #read_to = 0n;
  #cut = 0n;
  #late: { from_ns: bigint; to_ns: bigint } | undefined;
  #late_done_ms = 0;

  constructor(warehouse: Warehouse, options: CorrelatorOptions = {}) {
    this.#warehouse = warehouse;
    this.#log = options.log ?? ((): void => undefined);
    this.#now = options.now_ms ?? Date.now;
  }

  /** Every span that ended before is readable; ns since 1970. */
  get cut_ns(): bigint {
    return this.#cut;
  }

  /** One cycle; running it again without new batches changes nothing. */
  async cycle(): Promise<CycleReport> {
    const report = await this.#run(this.#nextCut());
    await this.#redoLate(false);
    return report;
  }

  /** Everything that can still be decided: for the end of a process that has applied its last batch. */
  async finish(): Promise<void> {
    const newest = this.#warehouse.runs().reduce((most, run) => max(most, run.watermark_ns), 0n);
    await this.#run(max(newest, this.#cut));
    await this.#redoLate(true);
  }

  #nextCut(): bigint {
    const runs = this.#warehouse.runs();
    const heard = runs.filter((run) => !run.final && this.#now() - run.heard_ms < SILENT_MS);
    const cut = heard.length > 0 ? heard.reduce((least, run) => (run.watermark_ns < least ? run.watermark_ns : least), NEVER) - MARGIN_NS : runs.reduce((most, run) => max(most, run.watermark_ns), 0n);
    return max(cut, this.#cut);
  }

  async #prepare(connection: DuckDBConnection): Promise<void> {
    await connection.run('SET asof_loop_join_threshold = 0');
    await connection.run(URL_TEMPLATE_MACRO);
    const progress = await connection.runAndReadAll('SELECT coalesce(max(apply_no), 0), coalesce(max(cut_ns), 0) FROM memory.stored.progress');
    const [apply_no, cut_ns] = (progress.getRows()[0] ?? [0n, 0n]) as [bigint, bigint];
    this.#cut = cut_ns;
    this.#read_to = apply_no;
    const from = cut_ns - RESTART_NS;
    await connection.run(`CREATE OR REPLACE TEMP TABLE messages AS SELECT ${MESSAGE_COLUMNS} FROM memory.stored.messages WHERE ts_ns >= ${from} AND apply_no <= ${apply_no}`);
    await connection.run(`CREATE OR REPLACE TEMP TABLE closes AS SELECT run_id, socket_id, min(ts_ns) AS close_ns FROM memory.stored.socket_events
      WHERE ts_ns >= ${from} AND (op = 'close' OR new_state = 7) AND ${apply_no} > 0 GROUP BY ALL`);
    await connection.run('CREATE OR REPLACE TEMP TABLE processes AS SELECT process_id, max_by(service_name, ts_ns) AS service_name FROM memory.stored.processes GROUP BY process_id');
    await connection.run(`CREATE OR REPLACE TEMP TABLE losses AS SELECT node, from_ns, to_ns FROM memory.stored.losses WHERE cause IN ('ring_full', 'connection_shed', 'spool_full') AND to_ns >= ${from}`);
    await connection.run('CREATE OR REPLACE TEMP TABLE decided (span_id BIGINT, parent_span_id BIGINT, trace_hi BIGINT, trace_lo BIGINT, end_ns BIGINT)');
    this.#ready = true;
  }

  async #run(cut_ns: bigint): Promise<CycleReport> {
    const warehouse = this.#warehouse;
    const report = await warehouse.withDerived(async (alias, connection) => {
      if (!this.#ready) await this.#prepare(connection);
      const [from, to] = [this.#read_to, warehouse.last_apply_no];
      const cut = max(cut_ns, this.#cut);
      if (to === from && cut === this.#cut) return { messages: 0, spans: 0, cut_ns: cut, late: 0 };
      const changed = to > from ? await this.#takeNew(connection, from, to) : 0;
      const runs = warehouse.runs();
      await connection.run('CREATE OR REPLACE TEMP TABLE runs (run_id BIGINT, run_end_ns BIGINT)');
      const gone = runs.filter((run) => run.final || this.#now() - run.heard_ms >= SILENT_MS);
      if (gone.length > 0) await connection.run(`INSERT INTO runs VALUES ${gone.map((run) => `(${run.run_id}, ${run.watermark_ns})`).join(', ')}`);
      await correlateOnce(connection, { after_ns: this.#cut, cut_ns: cut });
      const late = await this.#noteLate(connection, from);
      const [spans] = (await connection.runAndReadAll('SELECT count(*) FROM finished')).getRows()[0] as [bigint];
      await connection.run('BEGIN TRANSACTION');
      await storeFinished(connection, alias);
      if (spans > 0n || changed > 0) await connection.run(`INSERT INTO ${alias}.progress VALUES (${to}, ${cut}, ${RULE_VERSION})`);
      await connection.run('COMMIT');
      await this.#forget(connection, cut);
      this.#read_to = to;
      this.#cut = cut;
      return { messages: changed, spans: Number(spans), cut_ns: cut, late };
    });
    if (this.#cut > 0n) warehouse.noteCut(this.#cut);
    return report;
  }

  /** Adds what landed in (from, to] to the working set; the number of messages. */
  async #takeNew(connection: DuckDBConnection, from: bigint, to: bigint): Promise<number> {
    const warehouse = this.#warehouse;
    await connection.run(`INSERT INTO messages BY NAME SELECT ${MESSAGE_COLUMNS} FROM ${warehouse.storedSince('messages', from)} m WHERE m.apply_no > ${from} AND m.apply_no <= ${to}`);
    const [count] = (await connection.runAndReadAll(`SELECT count(*) FROM messages WHERE apply_no > ${from}`)).getRows()[0] as [bigint];
    const since = this.#cut - KEEP_NS;
    await connection.run(`CREATE OR REPLACE TEMP TABLE closes AS SELECT run_id, socket_id, min(close_ns) AS close_ns FROM (
        SELECT run_id, socket_id, close_ns FROM closes WHERE close_ns >= ${since}
        UNION ALL SELECT run_id, socket_id, ts_ns FROM ${warehouse.storedSince('socket_events', from)} e WHERE e.ts_ns >= ${since} AND (e.op = 'close' OR e.new_state = 7)
      ) GROUP BY run_id, socket_id`);
    await connection.run(`CREATE OR REPLACE TEMP TABLE processes AS SELECT process_id, service_name FROM (
        SELECT process_id, service_name, 0 AS ts_ns FROM processes UNION ALL SELECT process_id, service_name, ts_ns FROM ${warehouse.storedSince('processes', from)} p WHERE p.service_name IS NOT NULL
      ) QUALIFY row_number() OVER (PARTITION BY process_id ORDER BY ts_ns DESC) = 1`);
    await connection.run(`CREATE OR REPLACE TEMP TABLE losses AS SELECT DISTINCT node, from_ns, to_ns FROM (
        SELECT node, from_ns, to_ns FROM losses WHERE to_ns >= ${since}
        UNION ALL SELECT node, from_ns, to_ns FROM ${warehouse.storedSince('losses', from)} l WHERE l.cause IN ('ring_full', 'connection_shed', 'spool_full') AND l.to_ns >= ${since})`);
    return Number(count);
  }

  /** Exchanges that landed just now and had ended before the last cut: history has to be done again there. */
  async #noteLate(connection: DuckDBConnection, from: bigint): Promise<number> {
    if (this.#cut === 0n) return 0;
    const rows = await connection.runAndReadAll(`SELECT count(*), min(end_ns), max(end_ns) FROM exchanges WHERE end_ns <= ${this.#cut} AND apply_no > ${from} AND span_id NOT IN (SELECT span_id FROM decided WHERE end_ns IS NOT NULL)`);
    const [count, from_ns, to_ns] = rows.getRows()[0] as [bigint, bigint | null, bigint | null];
    if (count === 0n || from_ns === null || to_ns === null) return 0;
    this.#late = this.#late === undefined ? { from_ns, to_ns } : { from_ns: from_ns < this.#late.from_ns ? from_ns : this.#late.from_ns, to_ns: max(to_ns, this.#late.to_ns) };
    return Number(count);
  }

  async #redoLate(now: boolean): Promise<void> {
    const late = this.#late;
    if (late === undefined || (!now && this.#now() - this.#late_done_ms < LATE_EVERY_MS)) return;
    this.#late = undefined;
    this.#late_done_ms = this.#now();
    const changes = await recorrelate(this.#warehouse, late);
    this.#log(`late events: ${changes.spans} spans of ${new Date(Number(late.from_ns / 1_000_000n)).toISOString()} and after were correlated again`);
  }

  /** Keeps what is open or undecided, and for a while the decisions that children may still ask for. */
  async #forget(connection: DuckDBConnection, cut: bigint): Promise<void> {
    await connection.run(`CREATE OR REPLACE TEMP TABLE decided AS
      SELECT span_id, parent_span_id, trace_hi, trace_lo, end_ns FROM decided d WHERE (end_ns IS NULL OR end_ns >= ${cut - KEEP_NS}) AND span_id NOT IN (SELECT span_id FROM exchanges)
      UNION ALL
      SELECT e.span_id, g.parent_span_id, t.trace_hi, t.trace_lo, CASE WHEN e.end_ns <= ${cut} THEN e.end_ns END
      FROM exchanges e JOIN trace_ids t ON t.span_id = e.span_id JOIN edges g ON g.span_id = e.span_id
      WHERE e.call_ns <= ${cut} AND (e.end_ns IS NULL OR e.end_ns >= ${cut - KEEP_NS})`);
    await connection.run(`CREATE OR REPLACE TEMP TABLE messages AS SELECT m.* FROM messages m SEMI JOIN (
        SELECT run_id, socket_id, exchange_no FROM exchanges WHERE (end_ns IS NULL OR end_ns > ${cut}) AND ts_ns > ${cut - MOST_OPEN_NS}
      ) x ON x.run_id = m.run_id AND x.socket_id = m.socket_id AND x.exchange_no = m.exchange_no`);
  }
}
