// What a search found: a line a trace, with some of the spans that met the conditions.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database } from '../database.ts';
import { spansBeginning } from '../lookups/indexed-views.ts';
import { findTraceIds } from '../lookups/matching-traces.ts';
import type { SpanMatch } from '../lookups/matching-traces.ts';
import { tracesWithIds } from '../lookups/trace-search.ts';

interface MatchedSpan {
  readonly trace_id: string;
  readonly span_id: string;
  readonly span_name: string | null;
  readonly service_name: string | null;
  readonly start_ns: bigint;
  readonly duration_ns: bigint;
  readonly matched: bigint;
}

async function matchedSpans(db: Kysely<Database>, warehouse: Warehouse, ids: readonly string[], { range, conditions }: SpanMatch, spans_per_set: number): Promise<MatchedSpan[]> {
  let matching = db
    .selectFrom(spansBeginning(warehouse, range).as('spans'))
    .select(['trace_id', 'span_id', 'span_name', 'service_name', 'start_ns', 'duration_ns'])
    .select([sql<bigint>`count(*) OVER (PARTITION BY trace_id)`.as('matched'), sql<bigint>`row_number() OVER (PARTITION BY trace_id ORDER BY start_ns, span_id)`.as('place')])
    .where('trace_id', 'in', ids);
  for (const condition of conditions) matching = matching.where(condition);
  return db.selectFrom(matching.as('m')).selectAll().where('place', '<=', BigInt(spans_per_set)).orderBy('trace_id').orderBy('place').execute();
}

const textAttribute = (key: string, stringValue: string) => ({ key, value: { stringValue } });

export async function searchAnswer(db: Kysely<Database>, warehouse: Warehouse, match: SpanMatch, spans_per_set: number) {
  const ids = await findTraceIds(db, warehouse, match);
  if (ids.length === 0) return { traces: [], metrics: {} };
  const [rows, spans] = await Promise.all([tracesWithIds(db, warehouse, ids), matchedSpans(db, warehouse, ids, match, spans_per_set)]);
  const sets = new Map<string, MatchedSpan[]>(ids.map((id) => [id, []]));
  for (const span of spans) sets.get(span.trace_id)?.push(span);
  const traces = new Map(rows.map((row) => [row.trace_id, row]));
  return {
    traces: ids.flatMap((id) => {
      const trace = traces.get(id);
      if (trace === undefined) return [];
      const found = sets.get(id) ?? [];
      const set = {
        spans: found.map((span) => ({
          spanID: span.span_id, name: span.span_name ?? 'unknown', startTimeUnixNano: String(span.start_ns), durationNanos: String(span.duration_ns),
          attributes: [textAttribute('service.name', span.service_name ?? 'unknown_service')],
        })),
        matched: Number(found[0]?.matched ?? 0),
      };
      return [{
        traceID: id, rootServiceName: trace.root_service ?? 'unknown_service', rootTraceName: trace.root_name ?? 'unknown', startTimeUnixNano: String(trace.start_ns),
        durationMs: Number(trace.duration_ns / 1_000_000n), spanSet: set, spanSets: [set],
      }];
    }),
    metrics: {},
  };
}
