// The judge of the live accuracy tests over a generated fleet: exact, orphaned, wrong, for each kind of application.
import type { Warehouse } from '../../ingest/warehouse.ts';
import { judge } from '../../test/accuracy/judge.ts';
import type { FoundSpan, Verdict } from '../../test/accuracy/judge.ts';
import type { TrueTrace } from './truth.ts';

export async function foundSpans(warehouse: Warehouse, where = 'true'): Promise<FoundSpan[]> {
  const { rows } = await warehouse.query(`SELECT trace_id, span_id, parent_span_id, kind, url_path, network_protocol_name FROM spans WHERE ${where}`);
  return rows.map(([trace_id, span_id, parent_span_id, kind, url_path, network_protocol_name]) => ({ trace_id, span_id, parent_span_id, kind, url_path, network_protocol_name }) as FoundSpan);
}

/** By shape. */
export function score(truth: readonly TrueTrace[], found: readonly FoundSpan[]): Map<string, Verdict> {
  const shapes = [...new Set(truth.map(({ shape }) => shape))];
  return new Map(shapes.map((shape) => [shape, judge(truth.filter((one) => one.shape === shape), found)]));
}
