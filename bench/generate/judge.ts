// node dist/bench/generate/judge.js --data DIR --truth FILE.arrow: of each kind of application, the requests whose traces are exact,
// orphaned, wrong. In memory: for some three million events at most.
import { parseArgs } from 'node:util';
import { Warehouse } from '../../ingest/warehouse.ts';
import { foundSpans, score } from './score.ts';
import { readTruth } from './truth-file.ts';
import { trueTraces } from './truth.ts';

const { values } = parseArgs({ options: { data: { type: 'string' }, truth: { type: 'string' }, faults: { type: 'string', default: '0' } } });
if (values.data === undefined || values.truth === undefined) {
  console.error('judge --data DIR --truth FILE.arrow [--faults N]');
  process.exit(2);
}
const warehouse = await Warehouse.open({ folder: values.data, read_only: true });
const verdicts = score(await trueTraces(readTruth(values.truth)), await foundSpans(warehouse));
await warehouse.close();
const percent = (part: number, whole: number): string => ((100 * part) / Math.max(1, whole)).toFixed(2).padStart(7);
console.log('shape              requests   exact  orphan   wrong | of the links: right   wrong    null');
for (const [shape, { requests, exact, orphaned, wrong, links, faults }] of [...verdicts].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
  console.log(`${shape.padEnd(18)} ${String(requests).padStart(8)} ${percent(exact, requests)} ${percent(orphaned, requests)} ${percent(wrong, requests)} |               ${percent(links.right, links.expected)} ${percent(links.wrong, links.expected)} ${percent(links.null, links.expected)}`);
  for (const { request_id, what } of faults.slice(0, Number(values.faults))) console.log(`    ${request_id}: ${what}`);
}
