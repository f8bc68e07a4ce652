// node dist/bench/generate/main.js --events 10000000 --seed 7 --out FILE.arrow [--truth TRUTH.arrow] [--shapes a,b] [--applications N] [--nodes N]
// A recording of a simulated fleet that `tracehouse replay` takes, and the truth beside it.
import { parseArgs } from 'node:util';
import { openRecordingWriter } from '../../ingest/recording.ts';
import { APPS } from './apps.ts';
import { generate } from './generate.ts';
import { TruthFile } from './truth-file.ts';

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' }, out: { type: 'string' }, truth: { type: 'string' }, shapes: { type: 'string' },
    applications: { type: 'string' }, nodes: { type: 'string' }, losses: { type: 'string' }, payload: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
  },
});
const number = (text: string, name: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) usage(`--${name} takes a number, not '${text}'`);
  return value;
};

function usage(problem: string): never {
  console.error(`${problem}
generate --out FILE.arrow [--events N] [--seed N] [--truth FILE.arrow] [--shapes ${APPS.map(({ label }) => label).join(',')}]
         [--applications N] [--nodes N] [--losses SHARE] [--payload]`);
  process.exit(2);
}

if (values.help || values.out === undefined) usage('a recording of a simulated fleet:');
const shapes = values.shapes?.split(',');
const unknown = shapes?.find((shape) => !APPS.some(({ label }) => label === shape));
if (unknown !== undefined) usage(`there is no shape '${unknown}'`);
const truth = values.truth === undefined ? undefined : new TruthFile(values.truth);
const batches = generate({
  events: number(values.events, 'events'), seed: number(values.seed, 'seed'), keep_payload: values.payload,
  ...(shapes === undefined ? {} : { shapes }), ...(truth === undefined ? {} : { truth }),
  ...(values.applications === undefined ? {} : { applications: number(values.applications, 'applications') }),
  ...(values.nodes === undefined ? {} : { nodes: number(values.nodes, 'nodes') }),
  ...(values.losses === undefined ? {} : { loss_share: number(values.losses, 'losses') }),
});
const writer = await openRecordingWriter(values.out);
const started = performance.now();
let next = batches.next();
let events = 0;
for (; next.done !== true; next = batches.next()) {
  await writer.write(next.value);
  events += next.value.tables.socket_events.rows;
  if (process.stderr.isTTY) process.stderr.write(`\r${events} socket events `);
}
await writer.close();
truth?.close();
if (process.stderr.isTTY) process.stderr.write('\r');
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ ...next.value, seconds: Number(seconds.toFixed(1)), events_per_second: Math.round(next.value.events / seconds) }));
