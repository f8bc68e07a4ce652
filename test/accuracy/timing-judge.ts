// Compares links with the truth: which edges are right, which traces are right as a whole, and whether probabilities mean what they say.
import { DuckDBInstance } from '@duckdb/node-api';
import type { TimingLink } from '../../queries/timing/resolve.ts';

export const DEFAULT_THRESHOLD = 0.7;

export interface Judgement {
  readonly traces: number;
  readonly edges: number;
  /** Share of the traces with every edge right: each call at its chosen request, and at its most probable one. */
  readonly exact: number;
  readonly exact_by_probability: number;
  /** At the threshold: shares of the edges, and traces without a wrong or missing edge. */
  readonly right: number;
  readonly wrong: number;
  readonly null: number;
  readonly exact_at_threshold: number;
  readonly deciles: readonly { readonly from: number; readonly edges: number; readonly said: number; readonly right: number }[];
}

export async function judgeTiming(links: readonly TimingLink[], truth: string, threshold = DEFAULT_THRESHOLD): Promise<Judgement> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const rows = (await connection.runAndReadAll(`SELECT child, parent, kind FROM read_parquet('${truth.replaceAll("'", "''")}')`)).getRows() as [string, string | null, string][];
  connection.closeSync();
  instance.closeSync();

  const parents = new Map(rows.map(([child, parent]) => [child, parent]));
  const roots = new Map<string, string>();
  const rootOf = (span: string): string => {
    const known = roots.get(span);
    if (known !== undefined) return known;
    const parent = parents.get(span);
    const root = parent === undefined || parent === null ? span : rootOf(parent);
    roots.set(span, root);
    return root;
  };
  const best = new Map<string, TimingLink>();
  const chosen = new Map<string, TimingLink>();
  for (const link of links) {
    if (link.chosen) chosen.set(link.call_id, link);
    const before = best.get(link.call_id);
    if (before === undefined || link.probability > before.probability) best.set(link.call_id, link);
  }
  const deciles = Array.from({ length: 12 }, (_, at) => ({ from: at < 10 ? at / 10 : at === 10 ? 0.95 : 0.99, edges: 0, said: 0, right: 0 }));
  const counts = { edges: 0, right: 0, wrong: 0, null: 0 };
  const bad = { chosen: new Set<string>(), best: new Set<string>(), threshold: new Set<string>() };
  const all = new Set<string>();
  for (const [child, parent, kind] of rows) {
    if (kind !== 'client' && !best.has(child)) {
      all.add(rootOf(child));
      continue;
    }
    const root = rootOf(child);
    counts.edges += 1;
    const link = best.get(child);
    const taken = chosen.get(child) ?? link;
    if (taken?.request_id !== parent) bad.chosen.add(root);
    if (link?.request_id !== parent) bad.best.add(root);
    if (link === undefined || link.probability < threshold) counts.null += 1;
    else if (link.request_id === parent) counts.right += 1;
    else counts.wrong += 1;
    if (link === undefined || link.probability < threshold || link.request_id !== parent) bad.threshold.add(root);
    if (link !== undefined) {
      const p = link.probability;
      const decile = deciles[p >= 0.99 ? 11 : p >= 0.95 ? 10 : Math.floor(p * 10)];
      if (decile !== undefined) {
        decile.edges += 1;
        decile.said += p;
        decile.right += link.request_id === parent ? 1 : 0;
      }
    }
  }
  const traces = Math.max(1, all.size);
  return {
    traces,
    edges: counts.edges,
    exact: 1 - bad.chosen.size / traces,
    exact_by_probability: 1 - bad.best.size / traces,
    right: counts.right / counts.edges,
    wrong: counts.wrong / counts.edges,
    null: counts.null / counts.edges,
    exact_at_threshold: 1 - bad.threshold.size / traces,
    deciles,
  };
}

const percent = (share: number): string => (100 * share).toFixed(2);

export function printJudgement(judged: Judgement, seconds: number): void {
  console.log(`${judged.traces} traces, ${judged.edges} edges, ${seconds.toFixed(2)} s (${((1000 * seconds) / judged.traces).toFixed(2)} s per 1,000 traces)`);
  console.log(`traces with every edge right: ${percent(judged.exact)} % (each edge by itself: ${percent(judged.exact_by_probability)} %)`);
  console.log(`at threshold ${DEFAULT_THRESHOLD}: edges right ${percent(judged.right)} %, wrong ${percent(judged.wrong)} %, null ${percent(judged.null)} %; traces all right ${percent(judged.exact_at_threshold)} %`);
  for (const { from, edges, said, right } of judged.deciles) if (edges > 0) console.log(`  from ${from.toFixed(2)}: ${String(edges).padStart(6)} edges, said ${percent(said / edges)} %, right ${percent(right / edges)} %`);
}
