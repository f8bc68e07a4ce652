// Spans that were stored only after their time had been sent are sent by nobody: they are counted, a minute later.
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import { spansEnding } from '../lookups/indexed-views.ts';

interface Settled {
  readonly from_ns: bigint;
  to_ns: bigint;
  spans: number;
  readonly since_ms: number;
}

const TOGETHER_MS = 10_000;
const LATER_MS = 60_000;

export class LateSpans {
  readonly #db: Kysely<Database>;
  readonly #warehouse: Warehouse;
  /** Oldest first, without gaps. */
  readonly #settled: Settled[] = [];

  constructor(db: Kysely<Database>, warehouse: Warehouse) {
    this.#db = db;
    this.#warehouse = warehouse;
  }

  async #count(from_ns: bigint, to_ns: bigint): Promise<number> {
    const row = await this.#db.selectFrom(spansEnding(this.#warehouse, from_ns, to_ns).as('spans')).select(({ fn }) => fn.countAll<bigint>().as('count')).where('end_ns', '>', from_ns).where('end_ns', '<=', to_ns).executeTakeFirst();
    return Number(row?.count ?? 0);
  }

  /** Before what is read of it. */
  async note(from_ns: bigint, to_ns: bigint, now_ms: number): Promise<void> {
    const last = this.#settled.at(-1);
    if (last?.to_ns === to_ns) return; // tried again
    const spans = await this.#count(from_ns, to_ns);
    if (last !== undefined && last.to_ns === from_ns && now_ms - last.since_ms < TOGETHER_MS) {
      last.to_ns = to_ns;
      last.spans += spans;
    } else this.#settled.push({ from_ns, to_ns, spans, since_ms: now_ms });
  }

  /** How many have come since. */
  async check(now_ms: number): Promise<number> {
    let late = 0;
    for (let [first] = this.#settled; first !== undefined && now_ms - first.since_ms >= LATER_MS; [first] = this.#settled) {
      late += Math.max(0, (await this.#count(first.from_ns, first.to_ns)) - first.spans);
      this.#settled.shift();
    }
    return late;
  }
}
