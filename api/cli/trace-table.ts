// Traces as a list for people: one line each, newest first as they come.
import type { TraceSummary } from '../trace-json.ts';
import { cellsOf, colorsWanted, fit, painter, printable, shortDuration } from './terminal-text.ts';

const TRACE_ID_CELLS = 32;
const NAME_LEAST = 14;
/** From here on the services of each trace have a column. */
const WIDE = 118;

const rootOf = (trace: TraceSummary): string => printable(`${trace.root_service ?? '?'} ${trace.root_name ?? '?'}`);

export function renderTraceTable(traces: readonly TraceSummary[], width: number, colors: boolean = colorsWanted()): string {
  if (traces.length === 0) return 'no traces in the searched range';
  const paint = painter(colors);
  const days = new Set(traces.map((trace) => trace.start_time.slice(0, 10)));
  const [only_day] = days.size === 1 ? [...days] : [];
  const precise = width >= 100;
  // One day: it stands in the head, and each line has the time.
  const startOf = (trace: TraceSummary): string => {
    const time = trace.start_time.slice(11, precise ? 23 : 19);
    return only_day === undefined ? `${trace.start_time.slice(5, 10)} ${time}` : time;
  };
  const start_head = only_day === undefined ? 'START (UTC)' : precise ? `${only_day} Z` : 'UTC';
  const starts = traces.map(startOf);
  const durations = traces.map((trace) => shortDuration(BigInt(trace.duration_ns)));
  const spans = traces.map((trace) => `${trace.span_count}${trace.complete ? ' ' : '~'}`);
  const errors = traces.map((trace) => (trace.error_count === 0 ? '' : String(trace.error_count)));
  const widest = (head: string, cells: readonly string[]): number => cells.reduce((most, cell) => Math.max(most, cellsOf(cell)), cellsOf(head));
  const start_cells = widest(start_head, starts);
  const duration_cells = widest('DURATION', durations);
  const span_cells = widest('SPANS ', spans);
  const error_cells = widest('ERR', errors);
  const rest = Math.max(NAME_LEAST, width - (start_cells + TRACE_ID_CELLS + duration_cells + span_cells + error_cells + 5));
  const with_services = width >= WIDE;
  const name_cells = with_services ? Math.min(Math.max(NAME_LEAST, Math.ceil(rest * 0.55)), widest('ROOT', traces.map(rootOf))) : rest;
  const service_cells = Math.max(0, rest - name_cells - 1);

  const line = (start: string, id: string, duration: string, span: string, error: string, name: string, services: string): string =>
    `${fit(start, start_cells)} ${fit(id, TRACE_ID_CELLS)} ${fit(duration, duration_cells, 'right')} ${fit(span, span_cells, 'right')} ${fit(error, error_cells, 'right')} ${fit(name, name_cells)}${with_services ? ` ${fit(services, service_cells)}` : ''}`.trimEnd();
  const lines = traces.map((trace, at) => {
    const text = line(starts[at] ?? '', trace.trace_id, durations[at] ?? '', spans[at] ?? '', errors[at] ?? '', rootOf(trace), printable(trace.services.join(' ')));
    return trace.error_count > 0 ? paint('red', text) : text;
  });
  const legend = traces.some((trace) => !trace.complete) ? ['~ incomplete: events that belong to it were lost or lie outside of what was captured'] : [];
  return [paint('bold', line(start_head, 'TRACE', 'DURATION', 'SPANS ', 'ERR', 'ROOT', 'SERVICES')), ...lines, ...legend].join('\n');
}
