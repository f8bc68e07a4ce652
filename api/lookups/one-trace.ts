// One trace by any id that it has or had, with as many of its spans as are wanted.
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { Database } from '../database.ts';
import { traceKey } from './indexed-views.ts';
import type { TraceKey } from './indexed-views.ts';
import { chooseSpans } from './trace-outline.ts';
import type { OutlineSpan } from './trace-outline.ts';
import type { TraceRow } from './trace-search.ts';
import { findTrace, firstSpansOfTrace, outlineOfTrace, resolveTraceId, spansOfTrace } from './trace-spans.ts';
import type { SpanRow } from './trace-spans.ts';

export interface TracePart {
  readonly max_spans: number;
  /** Span id, 16 hex digits. */
  readonly root?: string | undefined;
  readonly depth?: number | undefined;
}

export interface FoundTrace {
  readonly trace: TraceRow;
  readonly key: TraceKey;
}

export interface Children {
  readonly count: number;
  /** Of these are not among the spans. */
  readonly omitted: number;
}

export interface WholeTrace extends FoundTrace {
  /** By start time. */
  readonly spans: SpanRow[];
  readonly children: ReadonlyMap<string, Children>;
  /** There are more spans: of the trace, or below the root that was asked for. */
  readonly partial: boolean;
  readonly subtree_span_count: number;
  readonly roots_omitted: number;
}

/** A root may have been found anew more than once, each time leaving an older id behind. */
const MOST_NAMES = 8;

/** Most traces have fewer spans: these are read at once, without a look at their shape. */
const SMALL_TRACE = 1000;

const idOf = (hex: string): bigint => BigInt(`0x${hex}`);

/** Error: trace-not-found. */
export async function findTraceByAnyId(db: Kysely<Database>, warehouse: Warehouse, asked_id: string): Promise<FoundTrace> {
  return (await findWith(db, warehouse, asked_id, async () => undefined)).found;
}

/** `also` is read beside it, of each id that is tried. Error: trace-not-found. */
async function findWith<T>(db: Kysely<Database>, warehouse: Warehouse, asked_id: string, also: (key: TraceKey) => Promise<T>): Promise<{ found: FoundTrace; besides: T }> {
  let trace_id: string | undefined = asked_id.toLowerCase();
  for (let names = 0; trace_id !== undefined && names < MOST_NAMES; names++) {
    const key = traceKey(trace_id);
    if (key === null) break;
    const [trace, besides] = await Promise.all([findTrace(db, warehouse, key), also(key)]);
    if (trace !== undefined) return { found: { trace, key }, besides };
    trace_id = await resolveTraceId(db, warehouse, trace_id, key);
  }
  throw new TracehouseError('trace-not-found', `there is no trace ${asked_id.toLowerCase()}`, { mend: 'a trace is readable about 2 s after it ends; GET /api/v1/traces lists what is there' });
}

export const noSuchSpan = (trace_id: string, span_id: string): TracehouseError =>
  new TracehouseError('span-not-found', `there is no span ${span_id} in trace ${trace_id}`, { mend: 'GET /api/v1/traces/{trace_id} lists the spans of a trace' });

/** Errors: trace-not-found, span-not-found. */
export async function requireTrace(db: Kysely<Database>, warehouse: Warehouse, asked_id: string, { max_spans, root, depth }: TracePart): Promise<WholeTrace> {
  const { found, besides: first } = await findWith(db, warehouse, asked_id, (of) => firstSpansOfTrace(db, warehouse, of, SMALL_TRACE + 1));
  const { trace, key } = found;
  const small = first.length <= SMALL_TRACE;
  const outline: OutlineSpan[] = small ? first.map(({ span_id, parent_span_id }) => ({ span_id: idOf(span_id), parent_span_id: parent_span_id === null ? null : idOf(parent_span_id) })) : await outlineOfTrace(db, warehouse, key);
  const chosen = chooseSpans(outline, { max_spans, depth, root: root === undefined ? undefined : idOf(root) });
  if (chosen === null) throw noSuchSpan(trace.trace_id, root ?? '');
  const { places } = chosen;
  const ids = places.map((place) => (outline[place] as OutlineSpan).span_id);
  const spans = small ? places.map((place) => first[place] as SpanRow) : await spansOfTrace(db, warehouse, key, ids.length === outline.length ? null : ids);
  const children = new Map(places.map((place, at) => [(ids[at] as bigint).toString(16).padStart(16, '0'), chosen.childrenOf(place)]));
  const unseen = root === undefined ? Math.max(0, Number(trace.span_count) - outline.length) : 0;
  return { trace, key, spans, children, partial: places.length < chosen.within || unseen > 0, subtree_span_count: chosen.within + unseen, roots_omitted: chosen.roots_omitted };
}
