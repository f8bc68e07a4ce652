import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Simulation } from './simulated-services.ts';

export interface Score {
  readonly exact: number;
  /** Something is missing, nothing is wrong. */
  readonly orphaned: number;
  readonly wrong: number;
}

/** Per request: all of its spans are there, each with its true parent, in one trace of their own. */
export async function score(warehouse: Warehouse, { truth, requests }: Simulation): Promise<Score> {
  const { rows } = await warehouse.query('SELECT trace_id, span_id, parent_span_id FROM stored.spans');
  const found = new Map((rows as [string, bigint, bigint | null][]).map(([trace_id, span_id, parent]) => [span_id, { trace_id, parent }]));
  const owners = new Map<string, Set<number>>();
  for (const [span_id, { trace_id }] of found) owners.set(trace_id, (owners.get(trace_id) ?? new Set()).add(requests.get(span_id) ?? -1));
  const states = new Map<number, 'exact' | 'orphaned' | 'wrong'>();
  for (const [span_id, parent] of truth) {
    const number = requests.get(span_id) as number;
    const span = found.get(span_id);
    const state = span === undefined ? 'orphaned' : (owners.get(span.trace_id)?.size ?? 0) > 1 ? 'wrong' : span.parent === parent ? 'exact' : span.parent === null ? 'orphaned' : 'wrong';
    const known = states.get(number) ?? 'exact';
    states.set(number, state === 'wrong' || known === 'wrong' ? 'wrong' : state === 'orphaned' ? 'orphaned' : known);
  }
  const count = (state: string): number => [...states.values()].filter((one) => one === state).length;
  return { exact: count('exact'), orphaned: count('orphaned'), wrong: count('wrong') };
}
