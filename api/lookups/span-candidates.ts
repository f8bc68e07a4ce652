// Which parents were considered for these spans? Read where links are stored: there ids are numbers and rows lie in the
// order of time, so that one trace's links are found among millions.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Database, StoredSpanLinksTable } from '../database.ts';
import type { SpanRow } from './trace-spans.ts';

export interface CandidateRow extends Omit<StoredSpanLinksTable, 'span_id' | 'candidate_span_id' | 'start_ns'> {
  readonly candidate_span_id: string | null;
}

/** Of a call, among its attributes; correlation counts them when it stores the span. */
export const hasCandidates = ({ attributes }: SpanRow): boolean => attributes !== null && Object.hasOwn(JSON.parse(attributes) as object, 'candidates');

const hexId = (id: bigint): string => id.toString(16).padStart(16, '0');

/** By span id; best first. */
export async function candidatesOf(db: Kysely<Database>, warehouse: Warehouse, spans: readonly SpanRow[]): Promise<Map<string, CandidateRow[]>> {
  const found = new Map<string, CandidateRow[]>();
  const [first] = spans;
  if (first === undefined) return found;
  const low = spans.reduce((least, span) => (span.start_ns < least ? span.start_ns : least), first.start_ns);
  const high = spans.reduce((most, span) => (span.start_ns > most ? span.start_ns : most), first.start_ns);
  const last_end = spans.reduce((most, span) => (span.end_ns > most ? span.end_ns : most), first.end_ns);
  const ids = spans.map((span) => BigInt(`0x${span.span_id}`));
  const { rows } = await sql<StoredSpanLinksTable>`
    SELECT span_id, candidate_span_id, evidence, score, chosen, rule_version, model_version
    FROM ${sql.raw(warehouse.keptBetween('derived', 'span_links', low, last_end))} AS link
    WHERE link.start_ns BETWEEN ${low} AND ${high} AND link.span_id IN (SELECT unnest(${sql.val(ids)}))
    ORDER BY span_id, chosen DESC, score DESC, candidate_span_id`.execute(db);
  for (const { span_id, candidate_span_id, ...row } of rows) {
    const candidate = { ...row, candidate_span_id: candidate_span_id === null ? null : hexId(candidate_span_id) };
    const list = found.get(hexId(span_id));
    if (list === undefined) found.set(hexId(span_id), [candidate]);
    else list.push(candidate);
  }
  return found;
}
