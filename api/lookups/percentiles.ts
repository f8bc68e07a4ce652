// Percentiles of durations, exact. Each list of what is asked for keeps all values in memory, beyond DuckDB's limit, so there is one for all three.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';

/** In nanoseconds, between two values where the share falls between them. */
export function percentiles(of: RawBuilder<unknown>) {
  const all = sql`quantile_cont(${of}, [0.50, 0.95, 0.99])`;
  return [sql<number>`${all}[1]`.as('p50_ns'), sql<number>`${all}[2]`.as('p95_ns'), sql<number>`${all}[3]`.as('p99_ns')] as const;
}
