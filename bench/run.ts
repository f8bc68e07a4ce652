// npm run bench [-- --quick]: figures as JSON lines, one a figure, on standard output.
import { mkdirSync, appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../schema/package-root.ts';
import { measureHookCost } from './hook-cost.ts';
import { measureLive } from './live-load.ts';
import { measureSqlIsolation } from './sql-isolation.ts';
import { measureSaturation } from './saturation.ts';
import { measureLookups } from './trace-lookup.ts';

const quick = process.argv.includes('--quick');
const results = join(packageRoot(), 'bench', 'results');
mkdirSync(results, { recursive: true });
const file = join(results, `${new Date().toISOString().replaceAll(':', '-')}.ndjson`);

function report(figure: string, values: object): void {
  const line = JSON.stringify({ figure, ...values });
  console.log(line);
  appendFileSync(file, `${line}\n`);
}

for (const rate of [10_000, 50_000]) {
  console.error(`live load at ${rate} events/s`);
  report('live_load', await measureLive(rate, quick ? 15 : 60));
}
console.error('nginx at saturation');
report('saturation', await measureSaturation(quick ? 5 : 15));
console.error('ingest and lookups while users run the worst SQL');
report('sql_isolation', await measureSqlIsolation(quick ? 10 : 30));
console.error('what each optional hook costs');
for (const cost of await measureHookCost(quick ? 3 : 5, quick ? 3 : 5)) report('hook_cost', cost);
console.error('lookups by trace id in 1 and in many files');
for (const cost of await measureLookups(300, quick ? 100 : 300, quick ? 60 : 300)) report('trace_lookup', cost);
console.error(`written to ${file}`);
