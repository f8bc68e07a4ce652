// One trace for people: who was called by whom, when, how long.
import type { Span, Trace } from '../trace-json.ts';
import { treeLines } from './span-tree.ts';
import type { TreeLine } from './span-tree.ts';
import { cellsOf, colorsWanted, fit, painter, printable, shortDuration } from './terminal-text.ts';
import type { Paint } from './terminal-text.ts';

const DURATION_CELLS = 8;
const STATUS_CELLS = 4;
const BAR_LEAST = 20;
const SERVICE_STYLES = ['cyan', 'green', 'yellow', 'magenta', 'blue'] as const;
/** Candidates of one span that are written out. */
const CANDIDATES_SHOWN = 4;

const nameOf = (span: Span): string => printable(`${span.service_name ?? '?'} ${span.kind === 'client' ? '→ ' : ''}${span.span_name ?? '?'}`);
const percent = (score: number): string => `${Math.round(score * 100)} %`;
const undecided = (span: Span): boolean => span.parent_span_id === null && span.candidates.length > 0;

function label({ span, indent, parent_missing }: TreeLine): string {
  const best = span.candidates.reduce((most, candidate) => Math.max(most, candidate.score), 0);
  const mark = undecided(span) ? `? ${percent(best)} ` : parent_missing ? '… ' : '';
  return `${indent}${mark}${nameOf(span)}${span.complete ? '' : ' ~'}${span.children_omitted > 0 ? ` +${span.children_omitted}` : ''}`;
}

/** Server spans are solid, calls thin. At least one cell, within the trace's own time. */
function bar(span: Span, start_ns: bigint, duration_ns: bigint, cells: number): string {
  const whole = duration_ns === 0n ? 1 : Number(duration_ns);
  const from = Math.min(cells - 1, Math.max(0, Math.floor((Number(BigInt(span.start_time_unix_nano) - start_ns) / whole) * cells)));
  const length = Math.max(1, Math.min(cells - from, Math.round((Number(span.duration_ns) / whole) * cells)));
  return ' '.repeat(from) + (span.kind === 'client' ? '━' : '█').repeat(length);
}

const statusOf = (span: Span): string => `${span.http_response_status_code ?? (span.status === 'error' ? 'err' : '')}${span.status === 'error' ? '!' : ''}`;

function candidateLines(spans: readonly Span[], width: number): string[] {
  const by_id = new Map(spans.map((span) => [span.span_id, span]));
  return spans.filter(undecided).flatMap((span) => [
    fit(`? ${nameOf(span)} (${span.span_id}) has no certain parent. Candidates:`, width).trimEnd(),
    ...span.candidates.slice(0, CANDIDATES_SHOWN).map((candidate) => {
      const of = candidate.span_id === null ? undefined : by_id.get(candidate.span_id);
      return fit(`    ${percent(candidate.score)} ${candidate.span_id ?? 'none'} ${of === undefined ? '(in another trace)' : nameOf(of)}, by ${printable(candidate.evidence)}`, width).trimEnd();
    }),
    ...(span.candidates.length > CANDIDATES_SHOWN ? [`    and ${span.candidates.length - CANDIDATES_SHOWN} more`] : []),
  ]);
}

function scale(duration_ns: bigint, cells: number): string {
  const end = shortDuration(duration_ns);
  return `0${' '.repeat(Math.max(1, cells - 1 - cellsOf(end)))}${end}`;
}

function servicePaint(spans: readonly Span[], paint: Paint): (span: Span, text: string) => string {
  const services = [...new Set(spans.map((span) => span.service_name))];
  return (span, text) => paint(span.status === 'error' ? 'red' : (SERVICE_STYLES[services.indexOf(span.service_name) % SERVICE_STYLES.length] ?? 'cyan'), text);
}

/** Where in the tree something is missing; what hangs below the missing ones is not counted here. */
function omittedBelow({ spans, roots_omitted }: Trace): string {
  const parents = spans.filter(({ children_omitted }) => children_omitted > 0);
  const facts = [
    ...(parents.length === 0 ? [] : [`+ marks ${counted(parents.length, 'span')} with calls left out`]),
    ...(roots_omitted > 0 ? [`${counted(roots_omitted, 'span')} without a parent left out`] : []),
  ];
  return facts.map((fact) => `${fact}; `).join('');
}

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

export function renderWaterfall(trace: Trace, width: number, colors: boolean = colorsWanted()): string {
  const paint = painter(colors);
  const lines = treeLines(trace.spans);
  const labels = lines.map(label);
  const longest = labels.reduce((most, text) => Math.max(most, cellsOf(text)), 20);
  const label_cells = Math.min(longest, width - DURATION_CELLS - STATUS_CELLS - BAR_LEAST - 3, Math.max(30, Math.floor(width * 0.55)));
  const bar_cells = width - label_cells - DURATION_CELLS - STATUS_CELLS - 3;
  const painted = servicePaint(trace.spans, paint);
  const start_ns = BigInt(trace.start_time_unix_nano);
  const duration_ns = BigInt(trace.duration_ns);
  const facts = [counted(trace.span_count, 'span'), trace.error_count === 0 ? '' : counted(trace.error_count, 'error'), counted(trace.services.length, 'service')].filter((fact) => fact !== '');
  const head = [
    paint('bold', `${printable(trace.root_service ?? '?')} ${printable(trace.root_name ?? '?')}`) + `  ${shortDuration(duration_ns)}  ${facts.join(', ')}`,
    paint('dim', `${trace.trace_id}  ${trace.start_time.slice(0, 23).replace('T', ' ')} UTC`),
    paint('dim', `${' '.repeat(label_cells + DURATION_CELLS + STATUS_CELLS + 3)}${scale(duration_ns, bar_cells)}`),
  ];
  const body = lines.map(({ span }, at) => {
    const cells = `${fit(labels[at] ?? '', label_cells)} ${fit(shortDuration(BigInt(span.duration_ns)), DURATION_CELLS, 'right')} ${fit(statusOf(span), STATUS_CELLS, 'right')} `;
    return `${span.status === 'error' ? paint('red', cells) : cells}${painted(span, bar(span, start_ns, duration_ns, bar_cells))}`;
  });
  const notes = [
    ...candidateLines(trace.spans, width),
    ...(trace.spans.some((span) => !span.complete) ? ['~ incomplete: events that belong to it were lost or lie outside of what was captured'] : []),
    ...(lines.some(({ parent_missing }) => parent_missing) ? ['… its parent is not among these spans'] : []),
    ...(trace.partial ? [`these are ${trace.spans.length} of ${trace.span_count} spans, the highest and first: ${omittedBelow(trace)}--max-spans takes more`] : []),
    ...(trace.requested_trace_id === trace.trace_id ? [] : [`${trace.requested_trace_id} is an older id of this trace`]),
  ];
  return [...head, ...body, ...notes.map((note) => paint('dim', note))].join('\n');
}
