// One trace by any id that it has or had.
import { TracehouseError } from '../../schema/errors.ts';
import type { Kysely } from 'kysely';
import type { Database } from '../database.ts';
import type { TraceRow } from './trace-search.ts';
import { findTrace, resolveTraceId } from './trace-spans.ts';

/** Error: trace-not-found. */
export async function requireTrace(db: Kysely<Database>, asked_id: string): Promise<TraceRow> {
  const trace_id = asked_id.toLowerCase();
  const found = await findTrace(db, trace_id);
  if (found !== undefined) return found;
  const now_id = await resolveTraceId(db, trace_id);
  const renamed = now_id === undefined ? undefined : await findTrace(db, now_id);
  if (renamed === undefined) throw new TracehouseError('trace-not-found', `there is no trace ${trace_id}`, { mend: 'a trace is readable about 2 s after it ends; GET /api/v1/traces lists what is there' });
  return renamed;
}
