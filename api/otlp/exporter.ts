// Finished traces to an OTLP collector, beside everything else: window after window, each batch until it is taken.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { STORED_AFTER_NS } from '../../queries/working-set.ts';
import { openDatabase } from '../database.ts';
import type { Database } from '../database.ts';
import { finishedSpans, windowEnd } from './finished-spans.ts';
import { otlpTraces } from '../formats/otlp-json.ts';
import { LateSpans } from './late-spans.ts';
import { PositionFile } from './position-file.ts';
import type { Position, WindowState } from './position-file.ts';
import { ProcessAttributes } from './process-attributes.ts';
import { sendBatch } from './send-batch.ts';
import type { OtlpTarget } from './target.ts';

export interface OtlpExporterOptions {
  readonly target: OtlpTarget;
  /** How far correlation has come; ns since 1970. */
  readonly cut_ns: () => bigint;
  readonly log?: (line: string) => void;
  /** A trace is finished when it has been quiet for so long. */
  readonly quiet_ns?: bigint;
  /** Where a collector begins that has been told nothing; unless said, with what is correlated from now on. */
  readonly since_ns?: bigint;
  readonly batch_spans?: number;
  readonly timeout_ms?: number;
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly now_ms?: () => number;
}

export interface OtlpCounts {
  sent: number;
  /** Of those sent: what the collector took note of and then threw away, by its own account. */
  rejected: number;
  /** Refused by the collector for good. */
  dropped: number;
  /** Stored only after their time had been sent: they are not sent. */
  late: number;
  requests: number;
  retries: number;
}

const QUIET_NS = 5_000_000_000n;
const BATCH_SPANS = 500;
const WINDOW_SPANS = 5000;
/** Read at once: mostly a whole window. */
const PAGE_BATCHES = 10;
const TIMEOUT_MS = 10_000;
const PAUSE_MS = 1000;
/** At the end: for the answer to what has been sent. */
const GRACE_MS = 3000;

export class OtlpExporter {
  readonly counts: OtlpCounts = { sent: 0, rejected: 0, dropped: 0, late: 0, requests: 0, retries: 0 };
  readonly #warehouse: Warehouse;
  readonly #db: Kysely<Database>;
  readonly #options: OtlpExporterOptions;
  readonly #file: PositionFile;
  readonly #late: LateSpans;
  readonly #processes: ProcessAttributes;
  readonly #log: (line: string) => void;
  /** Nothing more begins. */
  readonly #stop = new AbortController();
  /** What is under way is given up. */
  readonly #give_up = new AbortController();
  #position: Position | undefined;
  /** Since when correlation has stood there. */
  #cut = { ns: -1n, since_ms: 0 };
  /** Nothing more will be correlated. */
  #final = false;
  #failing = false;
  #running: Promise<void> | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor(warehouse: Warehouse, options: OtlpExporterOptions) {
    this.#warehouse = warehouse;
    this.#db = openDatabase(warehouse);
    this.#options = options;
    this.#processes = new ProcessAttributes(warehouse);
    this.#late = new LateSpans(this.#db, warehouse);
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
        if (await this.sendNext()) continue;
        if (this.#final) return;
        await this.#wait(PAUSE_MS);
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

  #now(): number {
    return (this.#options.now_ms ?? Date.now)();
  }

  async #countLate(): Promise<void> {
    const late = await this.#late.check(this.#now());
    this.counts.late += late;
    if (late > 0) this.#log(`otlp: ${late} spans came too late to be sent`);
  }

  async #begin(): Promise<Position> {
    const known = this.#file.read();
    if (known !== undefined) return known;
    const { since_ns } = this.#options;
    const stored = since_ns === undefined ? (await this.#warehouse.query('SELECT coalesce(max(cut_ns), 0) FROM memory.stored.progress')).rows[0]?.[0] : since_ns;
    const position = { done_ns: (stored ?? 0n) as bigint, flushed_ns: 0n, window: null };
    this.#file.write(position);
    return position;
  }

  /** No collector runs, or none will any more: traces that are stored are all there is. */
  #standsStill(cut_ns: bigint, quiet_ns: bigint): boolean {
    const now_ms = this.#now();
    if (cut_ns !== this.#cut.ns) this.#cut = { ns: cut_ns, since_ms: now_ms };
    return this.#final || now_ms - this.#cut.since_ms > Number(quiet_ns / 1_000_000n);
  }

  /** One window. False: nothing was due. Rejects when closed meanwhile. */
  async sendNext(): Promise<boolean> {
    const position = (this.#position ??= await this.#begin());
    await this.#countLate();
    const quiet_ns = this.#options.quiet_ns ?? QUIET_NS;
    const cut_ns = this.#options.cut_ns();
    // Calls that still wait to be decided may hold traces together; at the end nothing waits.
    const stored_ns = this.#final ? cut_ns : cut_ns - STORED_AFTER_NS;
    const up_to_ns = this.#standsStill(cut_ns, quiet_ns) ? stored_ns : stored_ns - quiet_ns;
    if (position.window === null && up_to_ns <= position.done_ns) return false;
    await this.#sendWindow(position, position.window ?? (await this.#plan(position, up_to_ns, stored_ns, quiet_ns)), quiet_ns);
    return true;
  }

  async #plan({ done_ns }: Position, up_to_ns: bigint, stored_ns: bigint, quiet_ns: bigint): Promise<WindowState> {
    const to_ns = await windowEnd(this.#db, this.#warehouse, done_ns, up_to_ns, WINDOW_SPANS);
    return { to_ns, batches_done: 0, flush: to_ns + quiet_ns > stored_ns };
  }

  async #sendWindow({ done_ns, flushed_ns }: Position, { to_ns, batches_done, flush }: WindowState, quiet_ns: bigint): Promise<void> {
    const take = this.#options.batch_spans ?? BATCH_SPANS;
    const at = (done: number): Position => ({ done_ns, flushed_ns, window: { to_ns, batches_done: done, flush } });
    let planned = false;
    await this.#late.note(done_ns, to_ns, this.#now());
    let batch = batches_done;
    for (;;) {
      const page = await finishedSpans(this.#db, this.#warehouse, { from_ns: done_ns, to_ns }, { quiet_ns, cuts_ns: flush ? [flushed_ns, to_ns] : [flushed_ns] }, { skip: batch * take, take: take * PAGE_BATCHES });
      for (let first = 0; first < page.length; first += take, batch++) {
        this.#stop.signal.throwIfAborted();
        // Said before it is sent: should this process die now, the next one sends the same bytes again.
        if (!planned) this.#note(at(batch));
        planned = true;
        await this.#send(page.slice(first, first + take));
        this.#note(at(batch + 1));
      }
      if (page.length < take * PAGE_BATCHES) break;
    }
    this.#note({ done_ns: to_ns, flushed_ns: flush ? to_ns : flushed_ns, window: null });
  }

  #note(position: Position): void {
    // Where it cannot be written, nothing more is sent, but what has been answered is not sent again either.
    if (position.window !== null) this.#position = position;
    // An empty window moves the position without a write for each: it would be found empty again.
    if (position.window !== null || this.#position?.window !== null || position.flushed_ns !== this.#position.flushed_ns) this.#file.write(position);
    this.#position = position;
  }

  async #send(spans: Awaited<ReturnType<typeof finishedSpans>>): Promise<void> {
    const traces = otlpTraces(spans, await this.#processes.of(spans));
    this.counts.requests += 1;
    const result = await sendBatch(this.#options.target, traces, {
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

  #end(): void {
    this.#stop.abort();
    this.#grace ??= setTimeout(() => this.#give_up.abort(), GRACE_MS);
  }

  /** After the last correlation: sends what is left, as far as it gets in that time, and closes. */
  async finish(most_ms: number): Promise<void> {
    this.#final = true;
    const timer = setTimeout(() => this.#end(), most_ms);
    await this.#running;
    clearTimeout(timer);
    await this.close();
  }

  /** What has no answer by then is sent again at the next start. */
  async close(): Promise<void> {
    this.#end();
    await this.#running;
    clearTimeout(this.#grace);
    await this.#db.destroy();
  }
}
