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
import { findTrace, outlineOfTrace, resolveTraceId, someSpansOfTrace, spansOfTrace } from './trace-spans.ts';
import type { SpanRow } from './trace-spans.ts';
import { traceOf } from './trace-summary.ts';

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

/** What `look` finds by one of the ids that the trace has had; undefined: nothing. Error: trace-not-found. */
async function underAnyId<T>(db: Kysely<Database>, warehouse: Warehouse, asked_id: string, look: (key: TraceKey) => Promise<T | undefined>): Promise<{ found: T; key: TraceKey }> {
  let trace_id: string | undefined = asked_id.toLowerCase();
  for (let names = 0; trace_id !== undefined && names < MOST_NAMES; names++) {
    const key = traceKey(trace_id);
    if (key === null) break;
    const found = await look(key);
    if (found !== undefined) return { found, key };
    trace_id = await resolveTraceId(db, warehouse, trace_id, key);
  }
  throw new TracehouseError('trace-not-found', `there is no trace ${asked_id.toLowerCase()}`, { mend: 'a trace is readable about 2 s after it ends; GET /api/v1/traces lists what is there' });
}

/** Error: trace-not-found. */
export async function findTraceByAnyId(db: Kysely<Database>, warehouse: Warehouse, asked_id: string): Promise<FoundTrace> {
  const { found: trace, key } = await underAnyId(db, warehouse, asked_id, (of) => findTrace(db, warehouse, of));
  return { trace, key };
}

interface FirstLook {
  readonly trace: TraceRow;
  /** Of a small trace: all of them, by start. */
  readonly spans?: SpanRow[];
}

const byStart = (a: SpanRow, b: SpanRow): number => (a.start_ns < b.start_ns ? -1 : a.start_ns > b.start_ns ? 1 : a.span_id < b.span_id ? -1 : a.span_id > b.span_id ? 1 : 0);

/** What is said of a small trace follows from its spans. */
async function lookAtTrace(db: Kysely<Database>, warehouse: Warehouse, key: TraceKey): Promise<FirstLook | undefined> {
  const spans = await someSpansOfTrace(db, warehouse, key, SMALL_TRACE + 1);
  if (spans.length === 0) return undefined;
  if (spans.length <= SMALL_TRACE) return { trace: traceOf(spans), spans: spans.toSorted(byStart) };
  const trace = await findTrace(db, warehouse, key);
  return trace && { trace };
}

export const noSuchSpan = (trace_id: string, span_id: string): TracehouseError =>
  new TracehouseError('span-not-found', `there is no span ${span_id} in trace ${trace_id}`, { mend: 'GET /api/v1/traces/{trace_id} lists the spans of a trace' });

/** Errors: trace-not-found, span-not-found. */
export async function requireTrace(db: Kysely<Database>, warehouse: Warehouse, asked_id: string, { max_spans, root, depth }: TracePart): Promise<WholeTrace> {
  const { found, key } = await underAnyId(db, warehouse, asked_id, (of) => lookAtTrace(db, warehouse, of));
  const { trace, spans: all } = found;
  const outline: OutlineSpan[] = all !== undefined ? all.map(({ span_id, parent_span_id }) => ({ span_id: idOf(span_id), parent_span_id: parent_span_id === null ? null : idOf(parent_span_id) })) : await outlineOfTrace(db, warehouse, key);
  const chosen = chooseSpans(outline, { max_spans, depth, root: root === undefined ? undefined : idOf(root) });
  if (chosen === null) throw noSuchSpan(trace.trace_id, root ?? '');
  const { places } = chosen;
  const ids = places.map((place) => (outline[place] as OutlineSpan).span_id);
  const spans = all !== undefined ? places.map((place) => all[place] as SpanRow) : await spansOfTrace(db, warehouse, key, ids.length === outline.length ? null : ids);
  const children = new Map(places.map((place, at) => [(ids[at] as bigint).toString(16).padStart(16, '0'), chosen.childrenOf(place)]));
  const unseen = root === undefined ? Math.max(0, Number(trace.span_count) - outline.length) : 0;
  return { trace, key, spans, children, partial: places.length < chosen.within || unseen > 0, subtree_span_count: chosen.within + unseen, roots_omitted: chosen.roots_omitted };
}
