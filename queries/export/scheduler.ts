// Exports by their schedules, and retention: after each run for what that export may drop, every minute for the warehouse.
import type { ExportPlan } from '../../ingest/export-ledger.ts';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { nextRun, schedule } from './cron.ts';
import { planExport, samePlan } from './plans.ts';
import type { ExportRequest } from './plans.ts';
import { queryHere } from './query-runner.ts';
import type { QueryRunner } from './query-runner.ts';
import { applyRetention, exportedBy, exportedByAll } from './retention.ts';
import type { Dropped } from './retention.ts';
import { runExport } from './run-export.ts';
import type { ExportReport } from './run-export.ts';

export interface KeepLimits {
  readonly max_age_ns?: bigint | undefined;
  readonly max_bytes?: bigint | undefined;
  /** Drop nothing that has not been exported. */
  readonly exported_only?: boolean | undefined;
}

export interface SchedulerOptions {
  /** Where the queries of exports run; in this process unless given. */
  readonly queries?: QueryRunner;
  readonly log?: (line: string) => void;
  readonly now_ms?: () => number;
  /** Of the warehouse as a whole. */
  readonly keep?: KeepLimits;
  /** Correlation has decided everything up to here; ns since 1970. */
  readonly cut_ns?: () => bigint;
}

export type RunReport = ExportReport & { readonly dropped: Dropped };

const RETENTION_EVERY_MS = 60_000;
/** At the end, so long may take what is on its way to a destination. */
const LAST_SENDING_MS = 10_000;
/** Correlation looks back so far at most. */
const SETTLE_NS = 120_000_000_000n;
const NOTHING: Dropped = { files: 0, bytes: 0, held: 0 };

export class ExportScheduler {
  readonly #warehouse: Warehouse;
  readonly #options: SchedulerOptions;
  readonly #log: (line: string) => void;
  readonly #queries: QueryRunner;
  readonly #jobs = new Map<string, { stop(): void }>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #giving_up = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #held = 0;
  #started = false;
  #closing = false;

  constructor(warehouse: Warehouse, options: SchedulerOptions = {}) {
    this.#warehouse = warehouse;
    this.#options = options;
    this.#log = options.log ?? ((): void => undefined);
    this.#queries = options.queries ?? queryHere(warehouse);
  }

  /** Without it exports only run when asked to. */
  start(): void {
    this.#started = true;
    for (const plan of this.#warehouse.exports.plans) this.#schedule(plan);
    this.#timer = setInterval(() => void this.keep().catch((error: unknown) => this.#log(`retention: ${(error as Error).message}`)), RETENTION_EVERY_MS);
    this.#timer.unref();
  }

  #schedule(plan: ExportPlan): void {
    if (plan.cron === null || !this.#started) return;
    this.#jobs.set(plan.export_id, schedule(plan.cron, async () => {
      await this.run(plan.export_id).catch((error: unknown) => this.#log(`export ${plan.export_id}: ${(error as Error).message}`));
    }));
  }

  #now_ns(): bigint {
    return BigInt((this.#options.now_ms ?? Date.now)()) * 1_000_000n;
  }

  get plans(): readonly ExportPlan[] {
    return this.#warehouse.exports.plans;
  }

  next(plan: ExportPlan): Date | null {
    return plan.cron === null ? null : nextRun(plan.cron);
  }

  /** Errors: export-relations, export-query, export-cron, export-destination. */
  async add(request: ExportRequest): Promise<ExportPlan> {
    const plan = await planExport(this.#warehouse, this.#queries, request, this.#now_ns());
    const before = samePlan(this.#warehouse.exports.plans, plan);
    if (before !== undefined) return before;
    await this.#warehouse.exports.add(plan);
    this.#schedule(plan);
    return plan;
  }

  /** Error: export-not-found. */
  plan(export_id: string): ExportPlan {
    const plan = this.#warehouse.exports.plans.find((one) => one.export_id === export_id);
    if (plan === undefined) throw new TracehouseError('export-not-found', `there is no export ${export_id}`, { mend: 'GET /api/v1/exports lists them' });
    return plan;
  }

  /** Error: export-not-found. */
  async remove(export_id: string): Promise<void> {
    this.plan(export_id);
    this.#jobs.get(export_id)?.stop();
    this.#jobs.delete(export_id);
    await this.#warehouse.exports.remove(export_id, this.#now_ns());
  }

  /** Errors: export-not-found, export-busy, export-destination, export-failed, disk-full. */
  async run(export_id: string, since_ns?: bigint): Promise<RunReport> {
    const work = this.#run(this.plan(export_id), since_ns);
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  async #run(plan: ExportPlan, since_ns?: bigint): Promise<RunReport> {
    const report = await runExport(this.#warehouse, plan, { queries: this.#queries, stopping: () => this.#closing, give_up: this.#giving_up.signal, ...(this.#options.now_ms === undefined ? {} : { now_ms: this.#options.now_ms }), ...(since_ns === undefined ? {} : { since_ns }) });
    const limits = { max_age_ns: plan.max_age_ns, max_bytes: plan.max_bytes };
    if (limits.max_age_ns === null && limits.max_bytes === null) return { ...report, dropped: NOTHING };
    return { ...report, dropped: await applyRetention(this.#warehouse, { ...limits, may_go: exportedBy(this.#warehouse.exports, plan), ...this.#instants() }) };
  }

  #instants(): { now_ns: bigint; settled_ns: bigint } {
    const now_ns = this.#now_ns();
    const cut_ns = this.#options.cut_ns?.() ?? now_ns;
    return { now_ns, settled_ns: cut_ns - SETTLE_NS };
  }

  /** What the warehouse as a whole may not hold any longer goes. */
  async keep(): Promise<Dropped> {
    const { max_age_ns = null, max_bytes = null, exported_only = false } = this.#options.keep ?? {};
    if (max_age_ns === null && max_bytes === null) return NOTHING;
    const dropped = await applyRetention(this.#warehouse, { max_age_ns, max_bytes, ...this.#instants(), ...(exported_only ? { may_go: exportedByAll(this.#warehouse.exports) } : {}) });
    if (dropped.files > 0) this.#log(`retention dropped ${dropped.files} files, ${Math.round(dropped.bytes / 1048576)} MiB; see dropped_segments`);
    if (dropped.held > 0 && this.#held === 0) this.#log(`retention: ${dropped.held} files are due but not exported yet, they stay`);
    this.#held = dropped.held;
    return dropped;
  }

  /** Runs under way end after the segment that they are at, or without their query's answer; no other begins. */
  stop(): void {
    this.#closing = true;
    this.#started = false;
    clearInterval(this.#timer);
    for (const job of this.#jobs.values()) job.stop();
    this.#queries.close?.();
  }

  /** Stops, and settles when nothing runs any more. */
  async close(): Promise<void> {
    this.stop();
    const late = setTimeout(() => this.#giving_up.abort(), LAST_SENDING_MS);
    await Promise.allSettled(this.#running);
    clearTimeout(late);
  }
}
