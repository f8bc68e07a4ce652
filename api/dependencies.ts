import type { Kysely } from 'kysely';
import type { Warehouse } from '../ingest/warehouse.ts';
import type { ColdCache } from '../queries/export/cold-cache.ts';
import type { TimeRange } from '../queries/late-ranges.ts';
import type { ChangeReport } from '../queries/history-changes.ts';
import type { ExportScheduler } from '../queries/export/scheduler.ts';
import type { Access } from './access/access.ts';
import type { WholeLookup } from './cold-lookups.ts';
import type { Database } from './database.ts';
import type { OtlpExporter } from './otlp/exporter.ts';
import type { SpanMetricsOptions } from './span-metrics/span-metrics.ts';
import type { SqlJobOptions } from './sql-jobs.ts';
import type { SqlRunner } from './sql-answer.ts';

/** What the API is given; main composes it. */
export interface ApiDependencies {
  readonly warehouse: Warehouse;
  /** Where statements of strangers run; in this process, if it is not said. Whoever made it closes it. */
  readonly sql?: SqlRunner;
  /** None where nobody correlates: a folder that is open for reading. */
  readonly correlator?: CorrelatorState;
  /** None where nothing is written either. */
  readonly exporter?: ExportScheduler;
  /** None where nothing is fetched from afar. */
  readonly cold?: ColdCache;
  /** None where nothing is sent. */
  readonly otlp?: Pick<OtlpExporter, 'counts' | 'lag_ns'>;
}

export interface CorrelatorState {
  /** Every span that ended before is readable; ns since 1970. */
  readonly cut_ns: bigint;
  /** Correlates a part of history again without coming into its own way. */
  again?(range: TimeRange): Promise<ChangeReport>;
}

export interface ApiOptions {
  /** Lines for the operator: unexpected errors, with their request id. */
  readonly log?: (line: string) => void;
  readonly now_ns?: () => bigint;
  /** Limits of asynchronous statements. */
  readonly sql_jobs?: Partial<SqlJobOptions>;
  /** Of an Arrow stream, after decompression. */
  readonly ingest_limit_bytes?: number;
  /** Bytes of such streams that are held at once, and for how long others wait before they are told to come again. */
  readonly ingest_room?: { readonly bytes: number; readonly wait_ms: number };
  readonly access?: Access;
  readonly span_metrics?: SpanMetricsOptions;
}

/** What a route works with. */
export interface RouteContext {
  readonly db: Kysely<Database>;
  readonly warehouse: Warehouse;
  readonly sql: SqlRunner;
  readonly correlator: CorrelatorState | undefined;
  readonly exporter: ExportScheduler | undefined;
  readonly cold: ColdCache | undefined;
  /** Around every lookup. */
  readonly whole: WholeLookup;
  readonly sql_jobs: Partial<SqlJobOptions>;
  readonly now_ns: () => bigint;
  readonly log: (line: string) => void;
  readonly ingest_limit_bytes: number;
  readonly ingest_room: { readonly bytes: number; readonly wait_ms: number };
}
