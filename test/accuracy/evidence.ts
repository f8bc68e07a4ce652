// npm run accuracy:evidence [-- --shapes a,b --requests 500 --concurrency 32 --out FILE.md]
// Each shape is recorded once; the same events are then correlated with all evidence, and with each kind left out. Prints two
// tables in Markdown: what each kind contributes, and how often links of a stated confidence are right.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Warehouse } from '../../ingest/warehouse.ts';
import { Correlator } from '../../queries/correlator.ts';
import { judge, type FoundSpan, type TrueRequest } from './judge.ts';
import { sendLoad } from './load.ts';
import { lacks } from './shape-services.ts';
import { SHAPES, type Shape } from './shapes.ts';
import { setStage } from './stage.ts';
import { Tracer } from './tracer.ts';
import { expectedSpans, spanKey } from './tree.ts';

const KINDS = ['thread', 'task', 'responder', 'birth', 'hand_back', 'turn', 'slot', 'timing', 'open'] as const;
const TENTHS = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99] as const;

const { values } = parseArgs({
  options: { shapes: { type: 'string', default: Object.keys(SHAPES).join(',') }, requests: { type: 'string', default: '500' }, concurrency: { type: 'string', default: '32' }, out: { type: 'string' } },
});
const [requests, in_flight] = [Number(values.requests), Number(values.concurrency)];

interface Recording {
  readonly folder: string;
  readonly truth: readonly TrueRequest[];
}

async function record(shape: Shape, folder: string): Promise<Recording> {
  const stage = await setStage((place) => shape.services(place));
  try {
    const tracer = await Tracer.start({ data: folder, scopes: [`netns:${stage.netns.name}`] });
    try {
      const sent = await sendLoad(shape, stage.netns, stage.folder, requests, Math.min(in_flight, shape.most_in_flight), 'hashed');
      return { folder, truth: sent.map(({ id }) => ({ id, spans: expectedSpans(shape.tree, id) })) };
    } finally {
      await tracer.stop();
    }
  } finally {
    await stage.stop();
  }
}

interface Outcome {
  /** Traces, in %. */
  readonly exact: number;
  /** Links, in %. */
  readonly wrong: number;
  /** Chosen links of calls: how sure, and whether right. */
  readonly chosen: readonly { readonly confidence: number; readonly right: boolean }[];
}

async function correlate(recording: Recording, evidence_off: readonly string[]): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-evidence-'));
  try {
    cpSync(recording.folder, folder, { recursive: true });
    rmSync(join(folder, 'derived'), { recursive: true, force: true });
    const warehouse = await Warehouse.open({ folder });
    try {
      await new Correlator(warehouse, { evidence_off }).finish();
      const { rows } = await warehouse.query('SELECT trace_id, span_id, parent_span_id, kind, url_path, network_protocol_name, parent_confidence FROM spans');
      const spans = rows.map(([trace_id, span_id, parent_span_id, kind, url_path, network_protocol_name, confidence]) => ({ trace_id, span_id, parent_span_id, kind, url_path, network_protocol_name, confidence }) as FoundSpan & { confidence: number | null });
      const verdict = judge(recording.truth, spans);
      const parent_of = new Map(recording.truth.flatMap((one) => one.spans.map((span) => [span.key, span.parent_key])));
      const by_id = new Map(spans.map((span) => [span.span_id, span]));
      const chosen = spans.flatMap((span) => {
        const parent = span.parent_span_id === null ? undefined : by_id.get(span.parent_span_id);
        if (span.kind !== 'client' || span.url_path === null || parent?.url_path == null) return [];
        const wanted = parent_of.get(spanKey(span.url_path, 'client'));
        return wanted === undefined ? [] : [{ confidence: span.confidence ?? 0, right: wanted === spanKey(parent.url_path, 'server') }];
      });
      return { exact: (100 * verdict.exact) / verdict.requests, wrong: (100 * verdict.links.wrong) / verdict.links.expected, chosen };
    } finally {
      await warehouse.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const cell = ({ exact, wrong }: Outcome): string => `${exact.toFixed(1)}${wrong > 0 ? ` (${wrong.toFixed(2)})` : ''}`;
const lines = ['| shape | all | ' + KINDS.map((kind) => `no \`${kind}\``).join(' | ') + ' |', `|---|${'---|'.repeat(KINDS.length + 1)}`];
const chosen: Outcome['chosen'][number][] = [];
for (const name of values.shapes.split(',')) {
  const shape = SHAPES[name];
  const lacking = shape === undefined ? 'such a shape' : lacks(shape.needs);
  if (shape === undefined || lacking !== undefined) {
    console.error(`evidence: ${name} left out: ${lacking} is missing`);
    continue;
  }
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-recorded-'));
  try {
    const recording = await record(shape, folder);
    const all = await correlate(recording, []);
    chosen.push(...all.chosen);
    const cells = [cell(all)];
    for (const kind of KINDS) {
      const without = cell(await correlate(recording, [kind]));
      cells.push(without === cells[0] ? '·' : without);
    }
    lines.push(`| ${name} | ${cells.join(' | ')} |`);
    console.log(lines.at(-1));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
lines.push('', '| confidence from | links | said, mean % | right % |', '|---|---|---|---|');
for (const [at, from] of TENTHS.entries()) {
  const these = chosen.filter(({ confidence }) => confidence >= from && confidence < (TENTHS[at + 1] ?? 2));
  if (these.length === 0) continue;
  const mean = these.reduce((sum, { confidence }) => sum + confidence, 0) / these.length;
  lines.push(`| ${from} | ${these.length} | ${(100 * mean).toFixed(1)} | ${((100 * these.filter(({ right }) => right).length) / these.length).toFixed(2)} |`);
}
console.log(lines.join('\n'));
if (values.out !== undefined) writeFileSync(values.out, `${lines.join('\n')}\n`);
