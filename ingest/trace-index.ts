// Which files may hold rows of a trace? A trace is called after the instant at which its root began, so it is enough to know, of
// each derived segment, from when to when the traces in it began: whenever their spans were, however late they were stored.
// Kept in DATA/ledger.duckdb, because the files that were exported and dropped are found by it too.
import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlName, sqlText } from './duckdb-instance.ts';
import { runQuery } from './duckdb-query.ts';
import { Mutex } from './mutex.ts';
import type { Segment } from './segment-catalog.ts';

export interface NsRange {
  readonly from_ns: bigint;
  /** Inclusive. */
  readonly to_ns: bigint;
}

/** What is indexed, and the stored table that is found by it. */
export const INDEXED = {
  /** Of the trace that a span is in. */
  trace_start: { table: 'spans', expression: 'trace_hi' },
  span_start: { table: 'spans', expression: 'start_ns' },
  /** Of the traces that go by another id now. */
  old_trace_start: { table: 'trace_aliases', expression: "TRY_CAST('0x' || left(old_trace_id, 16) AS BIGINT)" },
} as const;
export type IndexedTime = keyof typeof INDEXED;
const INDEXED_TIMES = Object.keys(INDEXED) as IndexedTime[];

const BUCKET_NS = 1_000_000_000n;
/** One span of a long stream that began hours ago must not make its segment one of all those hours. */
const MOST_RANGES = 16;

/** The same instants in fewer ranges: joined where least lies between. They come in order. */
export function joinNearest(ranges: readonly NsRange[], most: number): NsRange[] {
  if (ranges.length <= most) return [...ranges];
  const gap = (at: number): bigint => (ranges[at] as NsRange).from_ns - (ranges[at - 1] as NsRange).to_ns;
  const widest = new Set(
    Array.from({ length: ranges.length - 1 }, (_, at) => at + 1)
      .toSorted((a, b) => (gap(a) > gap(b) ? -1 : gap(a) < gap(b) ? 1 : a - b))
      .slice(0, most - 1),
  );
  const joined: NsRange[] = [];
  ranges.forEach((range, at) => {
    const before = joined.at(-1);
    if (before === undefined || widest.has(at)) joined.push(range);
    else joined[joined.length - 1] = { from_ns: before.from_ns, to_ns: range.to_ns };
  });
  return joined;
}

export class TraceIndex {
  readonly #connection: DuckDBConnection;
  readonly #read_only: boolean;
  readonly #log: (line: string) => void;
  readonly #mutex = new Mutex();
  readonly #ranges: Readonly<Record<IndexedTime, Map<string, readonly NsRange[]>>> = { trace_start: new Map(), span_start: new Map(), old_trace_start: new Map() };

  private constructor(connection: DuckDBConnection, read_only: boolean, log: (line: string) => void) {
    this.#connection = connection;
    this.#read_only = read_only;
    this.#log = log;
  }

  static async open(connection: DuckDBConnection, read_only: boolean, log: (line: string) => void): Promise<TraceIndex> {
    const index = new TraceIndex(connection, read_only, log);
    // from_ns, to_ns, from_ns, to_ns, ...
    if (!read_only) await connection.run('CREATE TABLE IF NOT EXISTS ledger.trace_ranges (uid VARCHAR, indexed VARCHAR, bounds BIGINT[])');
    const there = await runQuery(connection, "SELECT 1 FROM duckdb_tables() WHERE database_name = 'ledger' AND table_name = 'trace_ranges'");
    if (there.rows.length === 0) return index;
    const result = await connection.run('SELECT uid, indexed, bounds FROM ledger.trace_ranges');
    for (const [uid, indexed, bounds] of (await result.getRowsJS()) as [string, string, bigint[]][]) {
      if (!(indexed in INDEXED)) continue;
      const ranges: NsRange[] = [];
      for (let at = 0; at + 1 < bounds.length; at += 2) ranges.push({ from_ns: bounds[at] as bigint, to_ns: bounds[at + 1] as bigint });
      index.#ranges[indexed as IndexedTime].set(uid, ranges);
    }
    return index;
  }

  #knows(uid: string): boolean {
    return INDEXED_TIMES.every((indexed) => this.#ranges[indexed].has(uid));
  }

  /** Undefined: not known, so that it may hold anything. */
  rangesOf(indexed: IndexedTime, uid: string): readonly NsRange[] | undefined {
    return this.#ranges[indexed].get(uid);
  }

  mayHold(indexed: IndexedTime, uid: string, asked: readonly NsRange[]): boolean {
    const own = this.#ranges[indexed].get(uid);
    return own === undefined || own.some((range) => asked.some(({ from_ns, to_ns }) => range.from_ns <= to_ns && range.to_ns >= from_ns));
  }

  /** Of the sealed segments that it does not know yet; of those that are gone, only what `needed` names is kept. */
  learn(segments: () => readonly Segment[], needed: (uid: string) => boolean): Promise<void> {
    return this.#mutex.run(async () => {
      const sealed = segments().filter((segment) => segment.kind === 'derived' && segment.state === 'sealed');
      const news = new Map<string, Map<IndexedTime, NsRange[]>>();
      for (const segment of sealed.filter(({ uid }) => !this.#knows(uid))) {
        try {
          news.set(segment.uid, await this.#read(segment));
        } catch (error) {
          // Until it is known it is read every time.
          if (segments().includes(segment)) this.#log(`could not index ${segment.path}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
      const live = new Set(sealed.map(({ uid }) => uid));
      const gone = [...this.#ranges.trace_start.keys()].filter((uid) => !live.has(uid) && !needed(uid));
      if (!this.#read_only) await this.#store(news, gone);
      for (const indexed of INDEXED_TIMES) {
        for (const uid of gone) this.#ranges[indexed].delete(uid);
        for (const [uid, ranges] of news) this.#ranges[indexed].set(uid, ranges.get(indexed) ?? []);
      }
    });
  }

  async #read(segment: Segment): Promise<Map<IndexedTime, NsRange[]>> {
    const found = new Map<IndexedTime, NsRange[]>();
    for (const indexed of INDEXED_TIMES) {
      const { table, expression } = INDEXED[indexed];
      if ((segment.rows?.get(table) ?? 0) === 0) {
        found.set(indexed, []);
        continue;
      }
      const result = await this.#connection.run(`SELECT min(began), max(began) FROM (SELECT ${expression} AS began FROM ${sqlName(segment.alias)}.main.${sqlName(table)}) WHERE began IS NOT NULL GROUP BY began // ${BUCKET_NS} ORDER BY 1`);
      const ranges = ((await result.getRows()) as [bigint, bigint][]).map(([from_ns, to_ns]) => ({ from_ns, to_ns }));
      found.set(indexed, joinNearest(ranges, MOST_RANGES));
    }
    return found;
  }

  async #store(news: ReadonlyMap<string, ReadonlyMap<IndexedTime, readonly NsRange[]>>, gone: readonly string[]): Promise<void> {
    const rows = [...news].flatMap(([uid, times]) => [...times].map(([indexed, ranges]) => `(${sqlText(uid)}, ${sqlText(indexed)}, [${ranges.flatMap(({ from_ns, to_ns }) => [from_ns, to_ns]).join(', ')}]::BIGINT[])`));
    const uids = [...gone, ...news.keys()];
    if (uids.length === 0) return;
    try {
      await this.#connection.run(`BEGIN; DELETE FROM ledger.trace_ranges WHERE uid IN (${uids.map(sqlText).join(', ')}); ${rows.length === 0 ? '' : `INSERT INTO ledger.trace_ranges VALUES ${rows.join(', ')};`} COMMIT`);
    } catch (error) {
      await this.#connection.run('ROLLBACK').catch(() => undefined);
      // A full disk: it is computed again at the next start.
      this.#log(`the index of traces is not stored: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
