import { Collector, type CaptureOptions } from './collector.ts';
import { readAccess, type AccessSettings } from './access.ts';
import { DemoProcess } from './demo-process.ts';
import { dropToOwner, ensureDataFolder } from './privileges.ts';
import { Server } from './server.ts';
import { stopSignal } from './signals.ts';
import { otlpTarget, type OtlpSettings } from '../api/otlp/target.ts';
import type { SqlJobOptions } from '../api/sql-jobs.ts';
import type { SqlPoolOptions } from '../api/sql-worker/pool.ts';
import { SQL_LIMITS } from '../queries/sql-limits.ts';
import type { KeepLimits } from '../queries/export/scheduler.ts';
import type { Batch } from '../ingest/batch.ts';

export interface ServeOptions extends AccessSettings, OtlpSettings {
  readonly data: string;
  readonly listen: string;
  readonly memoryLimit: string;
  readonly keepFor?: bigint;
  readonly keepBytes?: number;
  readonly keepUnexported?: boolean;
  readonly coldCache?: number;
  readonly sqlMemory?: number;
  readonly sqlTemp?: number;
  readonly sqlAtOnce?: number;
  readonly sqlTimeout?: number;
  readonly sqlMaxRows?: number;
  readonly sqlAsyncTimeout?: number;
  readonly sqlAnswer?: number;
  readonly sqlKeepAnswers?: bigint;
}

const keepOf = ({ keepFor, keepBytes, keepUnexported }: ServeOptions): KeepLimits => ({
  max_age_ns: keepFor, max_bytes: keepBytes === undefined ? undefined : BigInt(keepBytes), exported_only: keepUnexported,
});

const sqlOf = ({ sqlMemory, sqlTemp, sqlAtOnce, sqlTimeout, sqlMaxRows }: ServeOptions): Omit<SqlPoolOptions, 'log'> => ({
  ...(sqlMemory === undefined ? {} : { memory_bytes: sqlMemory }),
  ...(sqlTemp === undefined ? {} : { temp_bytes: sqlTemp }),
  limits: {
    at_once: sqlAtOnce ?? SQL_LIMITS.at_once,
    timeout_ms: sqlTimeout === undefined ? SQL_LIMITS.timeout_ms : Math.round(sqlTimeout * 1000),
    max_rows: sqlMaxRows ?? SQL_LIMITS.max_rows,
  },
});

const sqlJobsOf = ({ sqlAsyncTimeout, sqlAnswer, sqlKeepAnswers }: ServeOptions): Partial<SqlJobOptions> => ({
  ...(sqlAsyncTimeout === undefined ? {} : { timeout_ms: Math.round(sqlAsyncTimeout * 1000) }),
  ...(sqlAnswer === undefined ? {} : { most_bytes: sqlAnswer }),
  ...(sqlKeepAnswers === undefined ? {} : { keep_ms: Number(sqlKeepAnswers / 1_000_000n) }),
});

export interface UpOptions extends ServeOptions, CaptureOptions {
  readonly demo?: boolean;
}

const log = (line: string): void => console.error(`tracehouse: ${line}`);

/** `serve`: warehouse and API; batches come over POST /api/v1/ingest. */
export async function serve(options: ServeOptions): Promise<void> {
  // Their files may be readable to root alone.
  const access = readAccess(options);
  const otlp = otlpTarget(options);
  ensureDataFolder(options.data);
  dropToOwner(options.data);
  const server = await Server.open({ folder: options.data, listen: options.listen, memory_limit: options.memoryLimit, access, keep: keepOf(options), cold_cache_bytes: options.coldCache, sql: sqlOf(options), sql_jobs: sqlJobsOf(options), otlp, log });
  const stopped = stopSignal();
  console.log(`ready ${server.url}`);
  const broken = await Promise.race([stopped.then(() => undefined), server.broken]);
  await server.close();
  if (broken !== undefined) throw broken;
}

export interface Running {
  readonly server: Server;
  /** Resolves with an error when collecting or storing has ended on its own. */
  readonly ended: Promise<Error | undefined>;
  stop(): Promise<void>;
}

/** While the warehouse opens so many batches wait, as in the queue later; beyond that the loader keeps what it has. */
const MOST_EARLY = 8;

/** Starts everything that `up` is, in the order that root allows: what needs it first, then it is given up. */
export async function startUp(options: UpOptions): Promise<Running> {
  const access = readAccess(options);
  const otlp = otlpTarget(options);
  ensureDataFolder(options.data);
  const demo = options.demo === true ? await DemoProcess.start(log) : undefined;
  let server: Server | undefined;
  const early: Batch[] = [];
  let collector: Collector | undefined;
  try {
    collector = await Collector.start(
      { ...options, burst_folder: options.data, ...(demo === undefined ? {} : { scope: [`netns:${demo.netns}`] }) },
      {
        on_batch: (batch) => {
          if (server !== undefined) return server.submit(batch);
          early.push(batch);
          if (early.length >= MOST_EARLY) collector?.pause();
        },
        log: (line) => log(`loader: ${line}`),
        busy: () => server?.busy ?? early.length > 1,
      },
    );
    const started = collector;
    dropToOwner(options.data);
    server = await Server.open({
      folder: options.data,
      listen: options.listen,
      memory_limit: options.memoryLimit,
      access,
      keep: keepOf(options), cold_cache_bytes: options.coldCache, sql: sqlOf(options), sql_jobs: sqlJobsOf(options),
      otlp,
      log,
      on_stored: (batch) => started.assembler.giveBack(batch),
      on_pressure: (full) => (full ? started.pause() : started.resume()),
    });
    started.resume(); // the queue pauses it again if these are too many
    for (const batch of early.splice(0)) server.submit(batch);
    await collector.ready;
  } catch (error) {
    await collector?.stop();
    await server?.close();
    await demo?.stop();
    throw error;
  }
  const running = { collector, server };
  return {
    server,
    ended: Promise.race([collector.ended, server.broken]),
    stop: async () => {
      await demo?.stop();
      await running.collector.stop();
      await running.server.close();
    },
  };
}

/** `up`: collector, warehouse and API in one; ends in order at SIGINT or SIGTERM. */
export async function up(options: UpOptions): Promise<void> {
  const signal = stopSignal();
  const running = await startUp(options);
  console.log(`ready ${running.server.url}`);
  const early = await Promise.race([signal.then(() => undefined), running.ended]);
  await running.stop();
  if (early !== undefined) throw early;
}
