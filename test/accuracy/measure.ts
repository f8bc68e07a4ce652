import { judge, type FoundSpan, type Verdict } from './judge.ts';
import { sendLoad, type Mode } from './load.ts';
import type { Shape } from './shapes.ts';
import type { Stage } from './stage.ts';
import type { Row, Tracer } from './tracer.ts';
import { expectedSpans } from './tree.ts';

export interface Measurement {
  readonly verdict: Verdict;
  readonly load_ms: number;
  /** From the last response until all spans could be read, or until no more came. */
  readonly settle_ms: number;
  /** Spans that a loss touches. */
  readonly incomplete: number;
}

const SETTLE_MS = 20_000;
/** Nothing new for so long: no more will come. */
const QUIET_MS = 5000;

/** Sends the requests, waits for their spans, judges them. */
export async function measure(tracer: Tracer, stage: Stage, shape: Shape, requests: number, in_flight: number, mode: Mode): Promise<Measurement> {
  const started = Date.now();
  const sent = await sendLoad(shape, stage.netns, stage.folder, requests, in_flight, mode);
  const ended = Date.now();
  const truth = sent.map((one) => ({ id: one.id, spans: expectedSpans(shape.tree, one.id) }));
  const wanted = truth.reduce((sum, request) => sum + request.spans.length, 0);

  const since = `start_time >= make_timestamp(${started - 50}000)`;
  let [before, changed] = [-1, Date.now()];
  await tracer.poll(
    `select count(*) as n from spans where url_path is not null and coalesce(network_protocol_name, 'http') = 'http' and ${since}`,
    ([row], asked_ms) => {
      const now = Number(row?.['n']);
      if (now !== before) [before, changed] = [now, Date.now()];
      return now >= wanted || asked_ms - changed > QUIET_MS;
    },
    SETTLE_MS,
  );
  const settle_ms = Date.now() - ended;
  const rows = await readSpans(tracer, since);
  const verdict = judge(truth, rows.map((row) => row.span));
  return { verdict, load_ms: ended - started, settle_ms, incomplete: rows.filter((row) => !row.complete).length };
}

export async function readSpans(tracer: Tracer, where: string): Promise<{ span: FoundSpan; complete: boolean }[]> {
  const rows = await tracer.sql(`select trace_id, span_id, parent_span_id, kind, url_path, network_protocol_name, complete from spans where ${where}`);
  return rows.map((row) => ({ span: toSpan(row), complete: row['complete'] === true }));
}

function toSpan(row: Row): FoundSpan {
  const text = (name: string): string | null => (row[name] === null || row[name] === undefined ? null : String(row[name]));
  return {
    trace_id: text('trace_id') ?? '',
    span_id: text('span_id') ?? '',
    parent_span_id: text('parent_span_id'),
    kind: row['kind'] === 'server' ? 'server' : 'client',
    url_path: text('url_path'),
    network_protocol_name: text('network_protocol_name'),
  };
}
