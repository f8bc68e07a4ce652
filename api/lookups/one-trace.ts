// One trace by any id that it has or had, with its spans.
import type { Kysely } from 'kysely';
import { TracehouseError } from '../../schema/errors.ts';
import type { Database } from '../database.ts';
import type { TraceRow } from './trace-search.ts';
import { findTrace, resolveTraceId, spansOfTrace } from './trace-spans.ts';
import type { SpanRow } from './trace-spans.ts';

export interface WholeTrace {
  readonly trace: TraceRow;
  readonly spans: SpanRow[];
  /** There are more spans than were asked for. */
  readonly partial: boolean;
}

/** A root may have been found anew more than once, each time leaving an older id behind. */
const MOST_NAMES = 8;

async function readTrace(db: Kysely<Database>, trace_id: string, max_spans: number): Promise<WholeTrace | undefined> {
  const [trace, spans] = await Promise.all([findTrace(db, trace_id), spansOfTrace(db, trace_id, max_spans + 1)]);
  return trace === undefined ? undefined : { trace, spans: spans.slice(0, max_spans), partial: spans.length > max_spans };
}

/** Error: trace-not-found. */
export async function requireTrace(db: Kysely<Database>, asked_id: string, max_spans: number): Promise<WholeTrace> {
  let trace_id: string | undefined = asked_id.toLowerCase();
  for (let names = 0; trace_id !== undefined && names < MOST_NAMES; names++) {
    const found = await readTrace(db, trace_id, max_spans);
    if (found !== undefined) return found;
    trace_id = await resolveTraceId(db, trace_id);
  }
  throw new TracehouseError('trace-not-found', `there is no trace ${asked_id.toLowerCase()}`, { mend: 'a trace is readable about 2 s after it ends; GET /api/v1/traces lists what is there' });
}
