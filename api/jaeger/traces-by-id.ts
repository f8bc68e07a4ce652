import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { Database } from '../database.ts';
import { requireTrace } from '../lookups/one-trace.ts';
import type { WholeTrace } from '../lookups/one-trace.ts';

const MOST_SPANS = 10_000;

/** Older ids of a trace find it too, and two ids of one find it once. */
export async function tracesById(db: Kysely<Database>, warehouse: Warehouse, ids: readonly string[]): Promise<{ found: WholeTrace[]; missing: string[] }> {
  const found = new Map<string, WholeTrace>();
  const missing: string[] = [];
  for (const id of new Set(ids)) {
    try {
      const whole = await requireTrace(db, warehouse, id, { max_spans: MOST_SPANS });
      found.set(whole.trace.trace_id, whole);
    } catch (error) {
      if (!(error instanceof TracehouseError && error.code === 'trace-not-found')) throw error;
      missing.push(id);
    }
  }
  return { found: [...found.values()], missing };
}
