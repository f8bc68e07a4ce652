// What came too late for its cycle: which part of history has to be done again, and when it is time for that.
import type { DuckDBConnection } from '@duckdb/node-api';
import { readRows } from '../ingest/duckdb-query.ts';
import { someIn } from './carry-over.ts';

export interface TimeRange {
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

/** A rewrite may take this share of the time at most. */
const MOST_SHARE = 0.1;

export class LateRanges {
  readonly #now: () => number;
  readonly #pause_ms: number;
  #range: TimeRange | undefined;
  #due_ms = 0;

  constructor(options: { now_ms: () => number; pause_ms: number }) {
    this.#now = options.now_ms;
    this.#pause_ms = options.pause_ms;
  }

  get range(): TimeRange | undefined {
    return this.#range;
  }

  /** True when more is to be done now. */
  add(ranges: readonly TimeRange[]): boolean {
    let more = false;
    for (const range of ranges) {
      const known = this.#range;
      this.#range = known === undefined ? range : { from_ns: range.from_ns < known.from_ns ? range.from_ns : known.from_ns, to_ns: range.to_ns > known.to_ns ? range.to_ns : known.to_ns };
      more ||= known === undefined || this.#range.from_ns < known.from_ns || this.#range.to_ns > known.to_ns;
    }
    return more;
  }

  /** The range that is due; all there is when `now`. */
  take(now: boolean): TimeRange | undefined {
    const range = this.#range;
    if (range === undefined || (!now && this.#now() < this.#due_ms)) return undefined;
    this.#range = undefined;
    return range;
  }

  took(elapsed_ms: number): void {
    this.#due_ms = this.#now() + Math.max(this.#pause_ms, elapsed_ms / MOST_SHARE);
  }
}

export interface Before {
  /** What landed by then was looked at in an earlier cycle. */
  readonly apply_no: bigint;
  readonly cut_ns: bigint;
  /** Nothing older is done again: its segments have gone, and what comes of that time is stored as it is. */
  readonly oldest_ns: bigint;
  /** The working set was read anew, or history `within` is being done again and may hold what was not read yet: what landed before and was over by left_ns had been left to a rewrite, which is still to come, unless it is among the stored spans. */
  readonly anew: { readonly left_ns: bigint; readonly within: TimeRange; readonly stored: string } | null;
}

/**
 * Temp table late_exchanges: whose request landed only now although they were over before the previous cut. Ranges: theirs,
 * and where a call has landed after the request that it arrived as had been taken for a root.
 */
export async function findLate(connection: DuckDBConnection, { apply_no, cut_ns, oldest_ns, anew }: Before): Promise<{ count: number; ranges: TimeRange[] }> {
  const left = anew === null ? 'false' : `e.end_ns <= ${anew.left_ns} AND e.end_ns > ${anew.within.from_ns} AND e.end_ns <= ${anew.within.to_ns} AND (e.answered OR e.protocol IS NOT NULL OR e.kind = 'connect')`; // others are never stored
  const made = `CREATE OR REPLACE TEMP TABLE late_exchanges AS
    SELECT e.span_id, e.end_ns FROM exchanges e ANTI JOIN (FROM decided_ends WHERE stored) d ON d.span_id = e.span_id WHERE e.end_ns > ${oldest_ns} AND e.end_ns <= ${cut_ns} AND (e.apply_no > ${apply_no} OR (${left})) AND ${cut_ns} > 0`;
  if (anew !== null) await connection.run(made);
  // Looking among the stored ones takes its time, and mostly there is none to look for.
  const unstored = anew !== null && (await someIn(connection, 'late_exchanges')) ? ` WHERE NOT EXISTS (FROM ${anew.stored} s WHERE s.span_id = l.span_id)` : '';
  const rows = await readRows(connection, `${anew === null ? `${made};` : ''}
    SELECT count(*), min(end_ns) - 1, max(end_ns) FROM late_exchanges l${unstored}
    UNION ALL
    SELECT count(*), min(d.start_ns), CAST(${cut_ns} AS BIGINT) FROM exchanges e JOIN decided_ends d ON d.span_id = e.peer_span_id WHERE NOT e.is_server AND d.parent_span_id IS NULL`);
  const found = (rows as [bigint, bigint | null, bigint | null][]).filter(([count]) => count > 0n);
  return {
    count: Number(found.reduce((sum, [count]) => sum + count, 0n)),
    ranges: found.map(([, from_ns, to_ns]) => ({ from_ns: from_ns as bigint, to_ns: (to_ns as bigint) > (from_ns as bigint) ? (to_ns as bigint) : (from_ns as bigint) })),
  };
}
