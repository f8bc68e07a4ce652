// Which runs of collectors still speak, and so up to when everything is known: the cut. A run that is silent, has said that it ends, or
// is far behind the others does not hold them back.
import type { DuckDBConnection } from '@duckdb/node-api';
import { readRows } from '../ingest/duckdb-query.ts';
import type { RunState, Warehouse } from '../ingest/warehouse.ts';
import type { TimeRange } from './late-ranges.ts';
import { NEVER, setRunEnds, type RunEnd } from './working-set.ts';

/** The other end's hook may run so long after the fact; on other nodes, batches arrive that much apart. */
const MARGIN_NS = { one_node: 20_000_000n, several: 300_000_000n } as const;
/**
 * Rows of batches that one cycle takes: what it costs stays short and small, however far it is behind. A cycle of half as many is hardly
 * shorter, for what waits in it is the same.
 */
const MOST_ROWS = 240_000;
/** Of them, where memory does not suffice for more. */
const FEWEST_ROWS = 15_000;
const MORE_ROWS = 500;
/** A run this far behind the newest one sends what it has kept for long: the others do not wait for it, and what it tells is late. */
const LAGS_NS = 300_000_000_000n;

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const key = (run: { node: string; run_id: bigint }): string => `${run.run_id} ${run.node}`;

export interface Reach {
  /** Last batch that is read: its apply_no. */
  readonly to: bigint;
  /** Everything that ended by then is known when it has been read; ns since 1970. */
  readonly cut: bigint;
}

export class RunWatch {
  readonly #warehouse: Warehouse;
  readonly #now: () => number;
  readonly #silent_ms: number;
  /** Runs that were taken as ended, and when. */
  #ended = new Map<string, bigint>();
  readonly #limit_rows: number;
  #most_rows: number;
  /** No run says anything more: the end of a process that has applied its last batch. */
  finishing = false;

  constructor(warehouse: Warehouse, options: { now_ms: () => number; silent_ms: number; most_rows?: number | undefined }) {
    this.#warehouse = warehouse;
    this.#now = options.now_ms;
    this.#silent_ms = options.silent_ms;
    this.#limit_rows = options.most_rows ?? MOST_ROWS;
    this.#most_rows = this.#limit_rows;
  }

  /** What a cycle after batch `from` and the previous cut reads: everything that has landed, or a part when that is much. */
  async reach(connection: DuckDBConnection, from: bigint, previous_cut: bigint): Promise<Reach> {
    const last = this.#warehouse.last_apply_no;
    const all = { to: last, cut: this.#nextCut(previous_cut) };
    if (last - from < 2n || this.finishing || (this.#warehouse.rowsSince(from) ?? Infinity) <= this.#most_rows) return all;
    const since = this.#warehouse.storedSince('batches', from);
    const waiting = await readRows(connection, `SELECT apply_no, sum(rows) OVER (ORDER BY apply_no) FROM ${since} b WHERE b.apply_no > ${from} ORDER BY apply_no`);
    const batches = (waiting as [bigint, bigint][]).filter(([, rows]) => Number(rows) <= this.#most_rows);
    const to = batches.at(-1)?.[0] ?? from + 1n;
    if (batches.length === waiting.length || to >= last) return all;
    // A run that has not been heard of by then began after it.
    const heard = await readRows(connection, `
      SELECT node, run_id, max(watermark_ns) FILTER (apply_no <= ${to}), max(apply_no) > ${from} FROM memory.stored.batches GROUP BY node, run_id`);
    const lags = this.#lags();
    const runs = this.#warehouse.runs();
    const [alive, behind] = [new Set(runs.filter((run) => this.#isAlive(run)).map(key)), new Set(runs.filter(lags).map(key))];
    const held_by = (heard as [string, bigint, bigint | null, boolean][])
      .filter(([node, run_id, , unread]) => (unread || alive.has(key({ node, run_id }))) && !behind.has(key({ node, run_id })))
      .map(([node, run_id, watermark_ns]) => ({ node, watermark_ns: watermark_ns ?? run_id }));
    return { to, cut: held_by.length === 0 ? all.cut : cutBelow(held_by, previous_cut) };
  }

  /** Stores the ends of runs in the working set. Changed: one has ended since, or one taken as ended speaks again, whose part of history is late. */
  async noteEnds(connection: DuckDBConnection): Promise<{ changed: boolean; late: TimeRange[] }> {
    const ends: RunEnd[] = [];
    const late: TimeRange[] = [];
    const ended = new Map<string, bigint>();
    const lags = this.#lags();
    for (const run of this.#warehouse.runs()) {
      const before = this.#ended.get(key(run));
      if (!this.#isAlive(run) || lags(run)) {
        if (before !== undefined && run.watermark_ns > before) late.push({ from_ns: before, to_ns: run.watermark_ns });
        ends.push({ run_id: run.run_id, node: run.node, run_end_ns: run.watermark_ns });
        ended.set(key(run), run.watermark_ns);
      } else if (before !== undefined && run.watermark_ns > before) {
        // What was stored as ended may be told by rows that are still to land when that part is done again.
        late.push({ from_ns: before, to_ns: NEVER });
      } else if (before !== undefined) {
        ended.set(key(run), before);
      }
    }
    const changed = [...ended].some(([name, at]) => this.#ended.get(name) !== at) || [...this.#ended.keys()].some((name) => !ended.has(name));
    if (ends.length > 0 || this.#ended.size > 0) await setRunEnds(connection, ends);
    this.#ended = ended;
    return { changed, late };
  }

  /** Whoever correlated before this process may have stored what the runs that ended by the cut left open, as far as batches were read: more may have landed since. */
  async takeAsEnded(connection: DuckDBConnection, read_to: bigint, cut: bigint): Promise<void> {
    const heard = await readRows(connection, `SELECT node, run_id, max(watermark_ns) AS end_ns FROM memory.stored.batches WHERE apply_no <= ${read_to} GROUP BY node, run_id HAVING end_ns <= ${cut}`);
    for (const [node, run_id, end_ns] of heard as [string, bigint, bigint][]) this.#ended.set(key({ node, run_id }), end_ns);
  }

  /** After a cycle that memory did not suffice for: the next ones read less, or would fail as it did. */
  readLess(): void {
    this.#most_rows = Math.max(FEWEST_ROWS, this.#most_rows / 2);
  }

  /** After one that it sufficed for: slowly, or every other one would fail. */
  readMore(): void {
    this.#most_rows = Math.min(this.#limit_rows, this.#most_rows + MORE_ROWS);
  }

  /** Of those that were taken as ended, by what has landed of them since. */
  ends(): RunEnd[] {
    return this.#warehouse.runs().filter((run) => this.#ended.has(key(run))).map((run) => ({ run_id: run.run_id, node: run.node, run_end_ns: run.watermark_ns }));
  }

  #lags(): (run: RunState) => boolean {
    const newest = this.#warehouse.runs().reduce((latest, run) => max(latest, run.watermark_ns), 0n);
    // A clock that is ahead makes nobody late.
    const now_ns = BigInt(Math.floor(this.#now())) * 1_000_000n;
    const limit_ns = (newest < now_ns ? newest : now_ns) - LAGS_NS;
    return (run) => !run.final && run.watermark_ns < limit_ns;
  }

  #isAlive(run: RunState): boolean {
    return !this.finishing && !run.final && this.#now() - run.heard_ms < this.#silent_ms;
  }

  #nextCut(previous_cut: bigint): bigint {
    const runs = this.#warehouse.runs();
    const lags = this.#lags();
    const alive = runs.filter((run) => this.#isAlive(run) && !lags(run));
    if (alive.length === 0) return runs.reduce((most, run) => max(most, run.watermark_ns), previous_cut);
    return cutBelow(alive, previous_cut);
  }
}

function cutBelow(runs: readonly { node: string; watermark_ns: bigint }[], previous_cut: bigint): bigint {
  const margin = new Set(runs.map((run) => run.node)).size > 1 ? MARGIN_NS.several : MARGIN_NS.one_node;
  return max(runs.reduce((least, run) => (run.watermark_ns < least ? run.watermark_ns : least), NEVER) - margin, previous_cut);
}
