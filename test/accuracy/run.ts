// npm run accuracy [-- --shapes a,b --requests 2000 --concurrency 1,8,32 --modes same,hashed --out FILE --services-only]
// Real services in a network namespace, traced live, judged by the ids in their URL paths. Exits 1 when a goal is missed.
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sendLoad, type Mode } from './load.ts';
import { measure, type Measurement } from './measure.ts';
import { lacks } from './shape-services.ts';
import { SHAPES, missedGoals, type Shape } from './shapes.ts';
import { setStage } from './stage.ts';
import { Tracer } from './tracer.ts';

const { values } = parseArgs({
  options: {
    shapes: { type: 'string', default: Object.keys(SHAPES).join(',') },
    requests: { type: 'string', default: '2000' },
    concurrency: { type: 'string', default: '1,8,32' },
    modes: { type: 'string', default: 'same,hashed' },
    out: { type: 'string' },
    faults: { type: 'string', default: '3' },
    'services-only': { type: 'boolean', default: false },
  },
});

function list<T extends string>(text: string, known: readonly T[], what: string): T[] {
  return text.split(',').map((name) => {
    const found = known.find((one) => one === name);
    if (found === undefined) {
      console.error(`accuracy: no ${what} '${name}': ${known.join(', ')}`);
      process.exit(2);
    }
    return found;
  });
}

const requests = Number(values.requests);
const in_flights = values.concurrency.split(',').map(Number);
if (![requests, ...in_flights].every((value) => Number.isInteger(value) && value > 0)) {
  console.error('accuracy: --requests and --concurrency take whole numbers');
  process.exit(2);
}
const names = list(values.shapes, Object.keys(SHAPES), 'shape');
const modes = list<Mode>(values.modes, ['same', 'hashed'], 'mode');

const percent = (part: number, whole: number): string => ((100 * part) / Math.max(1, whole)).toFixed(2).padStart(6);

function row(name: string, in_flight: number, mode: Mode, { verdict, load_ms, settle_ms, incomplete }: Measurement): string {
  const { links } = verdict;
  return [
    name.padEnd(22),
    String(in_flight).padStart(2),
    mode.padEnd(6),
    ...[verdict.exact, verdict.orphaned, verdict.wrong].map((count) => percent(count, verdict.requests)),
    ...[links.right, links.wrong, links.null].map((count) => percent(count, links.expected)),
    String(verdict.strays).padStart(6),
    String(incomplete).padStart(6),
    String(Math.round((1000 * verdict.requests) / load_ms)).padStart(6),
    String(settle_ms).padStart(7),
  ].join(' ');
}

let stopping = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (stopping = true));

/** One shape at every concurrency and in every mode; the number of goals missed. */
async function runShape(name: string, shape: Shape): Promise<number> {
  const data = mkdtempSync(join(tmpdir(), 'tracehouse-accuracy-'));
  const stage = await setStage((folder) => shape.services(folder));
  let missed = 0;
  let tracer: Tracer | undefined;
  try {
    if (!values['services-only']) tracer = await Tracer.start({ data, scopes: [`netns:${stage.netns.name}`] });
    for (const in_flight of new Set(in_flights.map((wanted) => Math.min(wanted, shape.most_in_flight)))) {
      for (const mode of modes) {
        if (stopping) return missed;
        if (tracer === undefined) {
          const started = Date.now();
          await sendLoad(shape, stage.netns, stage.folder, requests, in_flight, mode);
          console.log(`${name.padEnd(22)} ${String(in_flight).padStart(2)} ${mode.padEnd(6)} ${Math.round((1000 * requests) / (Date.now() - started))} requests/s, all answered`);
          continue;
        }
        const measured = await measure(tracer, stage, shape, requests, in_flight, mode);
        const { verdict } = measured;
        console.log(row(name, in_flight, mode, measured));
        for (const fault of verdict.faults.slice(0, Number(values.faults))) console.log(`    ${fault.request_id}: ${fault.what}`);
        if (values.out !== undefined) {
          const { faults, ...figures } = verdict;
          appendFileSync(values.out, `${JSON.stringify({ shape: name, in_flight, mode, ...figures, load_ms: measured.load_ms, settle_ms: measured.settle_ms, incomplete: measured.incomplete, faults: faults.slice(0, 20) })}\n`);
        }
        const goals = missedGoals(shape, in_flight, verdict);
        if (goals.length > 0) {
          missed++;
          console.log(`    missed: ${goals.join('; ')}`);
          for (const line of tracer.said.slice(-3)) console.log(`    tracer: ${line}`);
          const lost = await tracer.sql('select cause, sum(events_lost) as events from losses group by cause');
          for (const { cause, events } of lost) console.log(`    losses so far: ${String(cause)} ${String(events)}`);
        }
      }
    }
  } finally {
    await tracer?.stop();
    await stage.stop();
    rmSync(data, { recursive: true, force: true });
  }
  return missed;
}

if (!values['services-only']) {
  console.log('shape            in flight mode   % exact orphan  wrong |right  wrong   null of links | strays incomplete req/s settle_ms');
}
let missed = 0;
let skipped = 0;
for (const name of names) {
  const shape = SHAPES[name];
  if (shape === undefined || stopping) continue;
  const lacking = lacks(shape.needs);
  if (lacking !== undefined) {
    skipped++;
    console.log(`${name.padEnd(22)} skipped: ${lacking} is not installed (node scripts/setup.mjs --accuracy)`);
    continue;
  }
  try {
    missed += await runShape(name, shape);
  } catch (error) {
    missed++;
    console.log(`${name.padEnd(22)} failed: ${(error as Error).message}`);
  }
}
if (skipped > 0) console.error(`accuracy: ${skipped} shapes skipped`);
if (missed > 0) console.error(`accuracy: ${missed} rows missed their goal`);
process.exit(missed > 0 || stopping ? 1 : 0);
