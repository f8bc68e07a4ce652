// Finished traces to an OTLP collector, beside everything else: window after window, each batch until it is taken.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { openDatabase } from '../database.ts';
import type { Database } from '../database.ts';
import { finishedSpans, windowEnd } from './finished-spans.ts';
import { PositionFile } from './position-file.ts';
import type { Position } from './position-file.ts';
import { sendBatch } from './send-batch.ts';
import type { OtlpTarget } from './target.ts';

export interface OtlpExporterOptions {
  readonly target: OtlpTarget;
  /** Every span that ended before is readable; ns since 1970. */
  readonly cut_ns: () => bigint;
  readonly log?: (line: string) => void;
  /** A trace is finished when it has been quiet for so long. */
  readonly quiet_ns?: bigint;
  /** Where a collector begins that has been told nothing; unless said, with what is correlated from now on. */
  readonly since_ns?: bigint;
  readonly batch_spans?: number;
  readonly timeout_ms?: number;
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface OtlpCounts {
  sent: number;
  /** Of those sent: what the collector took note of and then threw away, by its own account. */
  rejected: number;
  /** Refused by the collector for good. */
  dropped: number;
  requests: number;
  retries: number;
}

const QUIET_NS = 5_000_000_000n;
const BATCH_SPANS = 1000;
const WINDOW_SPANS = 5000;
const TIMEOUT_MS = 10_000;
const PAUSE_MS = 1000;
/** At the end: for the answer to what has been sent. */
const GRACE_MS = 3000;

export class OtlpExporter {
  readonly counts: OtlpCounts = { sent: 0, rejected: 0, dropped: 0, requests: 0, retries: 0 };
  readonly #warehouse: Warehouse;
  readonly #db: Kysely<Database>;
  readonly #options: OtlpExporterOptions;
  readonly #file: PositionFile;
  readonly #log: (line: string) => void;
  /** Nothing more begins. */
  readonly #stop = new AbortController();
  /** What is under way is given up. */
  readonly #give_up = new AbortController();
  #position: Position | undefined;
  #failing = false;
  #running: Promise<void> | undefined;

  constructor(warehouse: Warehouse, options: OtlpExporterOptions) {
    this.#warehouse = warehouse;
    this.#db = openDatabase(warehouse);
    this.#options = options;
    this.#file = new PositionFile(warehouse.folder, options.target.url);
    this.#log = options.log ?? ((): void => undefined);
  }

  /** How far the collector lies behind correlation. */
  get lag_ns(): bigint {
    const cut_ns = this.#options.cut_ns();
    return this.#position === undefined || cut_ns < this.#position.done_ns ? 0n : cut_ns - this.#position.done_ns;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (!(await this.sendNext())) await this.#wait(PAUSE_MS);
      } catch (error) {
        if (signal.aborted) return;
        this.#log(`otlp: ${(error as Error).message}; trying again`);
        await this.#wait(PAUSE_MS).catch(() => undefined);
      }
    }
  }

  #wait(ms: number): Promise<void> {
    const { signal } = this.#stop;
    return this.#options.wait?.(ms, signal) ?? sleep(ms, undefined, { signal });
  }

  async #begin(): Promise<Position> {
    const known = this.#file.read();
    if (known !== undefined) return known;
    const { since_ns } = this.#options;
    const stored = since_ns === undefined ? (await this.#warehouse.query('SELECT coalesce(max(cut_ns), 0) FROM memory.stored.progress')).rows[0]?.[0] : since_ns;
    const position = { done_ns: (stored ?? 0n) as bigint, window: null };
    this.#file.write(position);
    return position;
  }

  /** One window. False: nothing was due. Rejects when closed meanwhile. */
  async sendNext(): Promise<boolean> {
    const position = (this.#position ??= await this.#begin());
    const quiet_ns = this.#options.quiet_ns ?? QUIET_NS;
    const up_to_ns = this.#options.cut_ns() - quiet_ns;
    if (position.window === null && up_to_ns <= position.done_ns) return false;
    const to_ns = position.window?.to_ns ?? (await windowEnd(this.#db, position.done_ns, up_to_ns, WINDOW_SPANS));
    await this.#sendWindow({ done_ns: position.done_ns, window: { to_ns, batches_done: position.window?.batches_done ?? 0 } }, quiet_ns);
    return true;
  }

  async #sendWindow(start: Position & { window: NonNullable<Position['window']> }, quiet_ns: bigint): Promise<void> {
    const { done_ns, window: { to_ns } } = start;
    const take = this.#options.batch_spans ?? BATCH_SPANS;
    let planned = start.window.batches_done > 0;
    for (let batch = start.window.batches_done; ; batch++) {
      const spans = await finishedSpans(this.#db, { from_ns: done_ns, to_ns }, quiet_ns, { skip: batch * take, take });
      if (spans.length > 0) {
        // Said before it is sent: should this process die now, the next one sends the same bytes again.
        if (!planned) this.#note({ done_ns, window: { to_ns, batches_done: batch } });
        planned = true;
        await this.#send(spans);
        this.#note({ done_ns, window: { to_ns, batches_done: batch + 1 } });
      }
      if (spans.length < take) break;
      this.#stop.signal.throwIfAborted();
    }
    this.#note({ done_ns: to_ns, window: null });
  }

  #note(position: Position): void {
    // An empty window moves the position without a write for each: it would be found empty again.
    if (position.window !== null || this.#position?.window !== null) this.#file.write(position);
    this.#position = position;
  }

  async #send(spans: Awaited<ReturnType<typeof finishedSpans>>): Promise<void> {
    this.counts.requests += 1;
    const result = await sendBatch(this.#options.target, spans, {
      signal: this.#give_up.signal,
      timeout_ms: this.#options.timeout_ms ?? TIMEOUT_MS,
      wait: (ms) => this.#wait(ms),
      on_retry: (reason, wait_ms) => {
        this.counts.retries += 1;
        this.counts.requests += 1;
        if (!this.#failing) this.#log(`otlp: ${this.#options.target.url}: ${reason}; again in ${Math.ceil(wait_ms / 1000)} s, and until it works`);
        this.#failing = true;
      },
    });
    if (result.status === 'refused') {
      this.counts.dropped += spans.length;
      this.#log(`otlp: ${this.#options.target.url} refused ${spans.length} spans for good: ${result.reason}`);
      return;
    }
    if (this.#failing) this.#log('otlp: the collector takes spans again');
    this.#failing = false;
    this.counts.sent += spans.length;
    this.counts.rejected += result.rejected;
    if (result.rejected > 0) this.#log(`otlp: the collector rejected ${result.rejected} of ${spans.length} spans: ${result.message}`);
  }

  /** What has no answer by then is sent again at the next start. */
  async close(): Promise<void> {
    this.#stop.abort();
    const timer = setTimeout(() => this.#give_up.abort(), GRACE_MS);
    await this.#running;
    clearTimeout(timer);
    await this.#db.destroy();
  }
}
