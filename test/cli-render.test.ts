import stringWidth from 'string-width';
import { describe, expect, test } from 'vitest';
import { renderRows } from '../api/cli/row-table.ts';
import { colorsWanted, fit, printable, shortDuration } from '../api/cli/terminal-text.ts';
import { renderTraceTable } from '../api/cli/trace-table.ts';
import { renderWaterfall } from '../api/cli/waterfall.ts';
import type { Candidate, Span, Trace, TraceSummary } from '../api/trace-json.ts';

const summary = (more: Partial<TraceSummary> = {}): TraceSummary => ({
  trace_id: '18d75b82f9ed0e0039179b41401392ef', root_service: 'shop', root_name: 'GET /orders/{id}', start_time: '2026-09-21T14:13:15.123456789Z', start_time_unix_nano: '1000000000',
  duration_ns: '10000000', span_count: 4, error_count: 0, services: ['shop', 'stock'], complete: true, ...more,
});

const span = (span_id: string, parent_span_id: string | null, from_ms: number, took_ms: number, more: Partial<Span> = {}): Span => ({
  trace_id: summary().trace_id, span_id, parent_span_id, kind: 'server', service_name: 'shop', span_name: 'GET /orders/{id}', start_time: '', start_time_unix_nano: String(1_000_000_000 + from_ms * 1e6), end_time: '',
  duration_ns: String(took_ms * 1e6), status: 'unset', node: 'n', pid: 1, tid: 1, process_id: '1', thread_id: '1', comm: 'c', socket_id: '1', client_address: null, client_port: null, server_address: null, server_port: null,
  network_protocol_name: 'http', http_request_method: 'GET', url_path: '/', url_template: '/', http_response_status_code: 200, bytes_in: '1', bytes_out: '1', attributes: {}, parent_evidence: null, parent_confidence: null,
  rule_version: 1, complete: true, candidates: [], ...more,
});
const candidate = (span_id: string | null, score: number): Candidate => ({ span_id, evidence: 'thread', score, chosen: false, rule_version: 1, model_version: null });
const trace = (spans: Span[], more: Partial<Trace> = {}): Trace => ({ ...summary(), requested_trace_id: summary().trace_id, partial: false, spans, span_count: spans.length, ...more });

const call: Partial<Span> = { kind: 'client', span_name: 'GET /stock/{id}' };
const widths = (text: string): number[] => text.split('\n').map((line) => stringWidth(line));

describe('trace table', () => {
  test.each([80, 100, 118, 200])('%i columns hold it', (width) => {
    const text = renderTraceTable([summary(), summary({ root_name: 'GET /a/very/long/path/that/never/ends/{id}/and/goes/on', complete: false, error_count: 12, services: Array.from({ length: 20 }, (_, n) => `service-${n}`) })], width, false);
    expect(Math.max(...widths(text).slice(0, 3))).toBeLessThanOrEqual(width);
    expect(text).toContain(summary().trace_id);
  });

  test('as it prints', () => {
    expect(renderTraceTable([summary(), summary({ error_count: 2, complete: false, root_service: null, root_name: null })], 100, false)).toBe(
      [
        '2026-09-21 Z TRACE                            DURATION SPANS  ERR ROOT',
        '14:13:15.123 18d75b82f9ed0e0039179b41401392ef  10.0 ms     4      shop GET /orders/{id}',
        '14:13:15.123 18d75b82f9ed0e0039179b41401392ef  10.0 ms     4~   2 ? ?',
        '~ incomplete: events that belong to it were lost or lie outside of what was captured',
      ].join('\n'),
    );
    expect(renderTraceTable([summary(), summary({ start_time: '2026-09-20T23:59:59.999999999Z' })], 80, false).split('\n')[2]).toMatch(/^09-20 23:59:59 /);
    expect(renderTraceTable([], 80, false)).toBe('no traces in the searched range');
  });
});

describe('waterfall', () => {
  const spans = [
    span('a', null, 0, 10),
    span('b', 'a', 1, 4, call),
    span('c', 'b', 2, 2, { service_name: 'stock', span_name: 'GET /stock/{id}' }),
    span('d', 'a', 6, 3, { ...call, status: 'error', http_response_status_code: 503, complete: false }),
  ];

  test('as it prints', () => {
    expect(renderWaterfall(trace(spans, { error_count: 1 }), 80, false)).toBe(
      [
        'shop GET /orders/{id}  10.0 ms  4 spans, 1 error, 2 services',
        '18d75b82f9ed0e0039179b41401392ef  2026-09-21 14:13:15.123 UTC',
        '                                         0                               10.0 ms',
        'shop GET /orders/{id}       10.0 ms  200 ███████████████████████████████████████',
        '├ shop → GET /stock/{id}    4.00 ms  200    ━━━━━━━━━━━━━━━━',
        '│ └ stock GET /stock/{id}   2.00 ms  200        ████████',
        '└ shop → GET /stock/{id} ~  3.00 ms 503!                        ━━━━━━━━━━━━',
        '~ incomplete: events that belong to it were lost or lie outside of what was captured',
      ].join('\n'),
    );
  });

  test('a parent that is not certain: a question mark, how certain, and who else', () => {
    const text = renderWaterfall(trace([...spans, span('e', null, 5, 1, { ...call, candidates: [candidate('a', 0.6), candidate('zz', 0.4), ...['p', 'q', 'r'].map((id) => candidate(id, 0))] })]), 100, false);
    expect(text).toContain('? 60 % shop → GET /stock/{id}');
    expect(text).toContain('? shop → GET /stock/{id} (e) has no certain parent. Candidates:\n    60 % a shop GET /orders/{id}, by thread\n    40 % zz (in another trace), by thread');
    expect(text).toContain('    and 1 more');
  });

  test('what is missing is said', () => {
    const text = renderWaterfall(trace([span('b', 'gone', 1, 4, call)], { partial: true, span_count: 9, requested_trace_id: '0'.repeat(32) }), 80, false);
    expect(text).toContain('… shop → GET /stock/{id}');
    expect(text).toContain('its parent is not among these spans');
    expect(text).toContain('these are 1 of 9 spans, the highest and first: --max-spans takes more');
    const cut = renderWaterfall(trace([{ ...span('a', null, 0, 10), children_count: 9, children_omitted: 7 }, span('b', 'a', 1, 4, call)], { partial: true, span_count: 20, roots_omitted: 2 }), 100, false);
    expect(cut).toMatch(/^shop GET \/orders\/\{id\} \+7 /m);
    expect(cut).toContain('these are 2 of 20 spans, the highest and first: + marks 1 span with calls left out; 2 spans without a parent left out; --max-spans takes more');
    expect(text).toContain(`${'0'.repeat(32)} is an older id of this trace`);
  });

  test('circles, depth and width do no harm', () => {
    const circle = renderWaterfall(trace([span('a', 'b', 0, 1), span('b', 'a', 0, 1)]), 80, false);
    expect(circle.split('\n').filter((line) => line.includes('█'))).toHaveLength(2);
    const deep = trace(Array.from({ length: 5000 }, (_, n) => span(`s${n}`, n === 0 ? null : `s${n - 1}`, n / 1e6, 1)));
    expect(renderWaterfall(deep, 80, false).split('\n')).toHaveLength(5003);
    for (const width of [80, 120]) {
      const lines = widths(renderWaterfall(trace([span('a', null, 0, 10, { service_name: '注文サービス'.repeat(9), span_name: 'GET /注文/{id}' }), ...spans.slice(1)]), width, false));
      expect(Math.max(...lines.slice(2, -1))).toBeLessThanOrEqual(width);
    }
    expect(renderWaterfall(trace([span('a', null, 0, 0)], { duration_ns: '0' }), 80, false)).toContain('█');
  });

  test('spans beyond the edges of their trace stay on the page', () => {
    const lines = widths(renderWaterfall(trace([span('a', null, 0, 10), span('b', 'a', -5, 30), span('c', 'a', 50, 1)]), 80, false));
    expect(Math.max(...lines)).toBeLessThanOrEqual(80);
  });

  test('colours only when asked for', () => {
    expect(renderWaterfall(trace(spans), 80, false)).not.toContain('\u001b');
    expect(renderWaterfall(trace(spans), 80, true)).toContain('\u001b[31m');
    expect(colorsWanted({ isTTY: true }, {})).toBe(true);
    expect(colorsWanted({ isTTY: false }, {})).toBe(false);
    expect(colorsWanted({ isTTY: true }, { NO_COLOR: '1' })).toBe(false);
    expect(colorsWanted({ isTTY: true }, { NO_COLOR: '' })).toBe(true);
    expect(colorsWanted({ isTTY: true }, { TERM: 'dumb' })).toBe(false);
  });
});

describe('rows', () => {
  const columns = [{ name: 'name', type: 'VARCHAR' }, { name: 'n', type: 'BIGINT' }, { name: 'xs', type: 'INTEGER[]' }];

  test('a box, numbers to the right', () => {
    expect(renderRows({ columns, rows: [['a', '1', [1, 2]], ['字', '12345', null]], row_count: 2, truncated: true })).toBe(
      ['┌──────┬───────┬───────┐', '│ name │ n     │ xs    │', '├──────┼───────┼───────┤', '│ a    │     1 │ [1,2] │', '│ 字   │ 12345 │ NULL  │', '└──────┴───────┴───────┘', '2 rows, and there are more'].join('\n'),
    );
    expect(renderRows({ columns, rows: [], row_count: 0, truncated: false }).split('\n').at(-1)).toBe('0 rows');
    expect(renderRows({ columns: [{ name: '', type: 'INTEGER' }], rows: [[1]], row_count: 1, truncated: false }).split('\n').at(-1)).toBe('1 row');
  });

  test('wide columns give way first when a terminal is narrow', () => {
    const rows = [['x'.repeat(200), '7', [1]], ['y', '8', Array.from({ length: 100 }, (_, n) => n)]];
    const text = renderRows({ columns, rows, row_count: 2, truncated: false }, 80);
    expect(new Set(widths(text).slice(0, -1))).toEqual(new Set([80]));
    expect(text).toContain('…');
    expect(renderRows({ columns, rows, row_count: 2, truncated: false })).toContain('x'.repeat(200));
  });
});

describe('text', () => {
  test('what comes from the network does not steer the terminal', () => {
    expect(printable('a\u001b[31mb\nc\td\u0000\u009b\u202e')).toBe('a\\u001b[31mb\\nc\\td\\u0000\\u009b\\u202e');
    const nasty = '\u001b]0;title\u0007';
    for (const text of [
      renderTraceTable([summary({ root_name: nasty, services: [nasty] })], 130, false), renderWaterfall(trace([span('a', null, 0, 1, { span_name: nasty, service_name: nasty })], { root_name: nasty }), 80, false),
      renderRows({ columns: [{ name: nasty, type: 'VARCHAR' }], rows: [[nasty]], row_count: 1, truncated: false }),
    ]) expect(text).not.toContain('\u001b');
  });

  test('cells are counted, not characters', () => {
    expect(fit('日本語', 4)).toBe('日… ');
    expect(fit('abc', 5, 'right')).toBe('  abc');
    expect(fit('👩‍👩‍👧‍👦x', 3)).toBe('👩‍👩‍👧‍👦x');
    expect(fit('abc', 0)).toBe('');
  });

  test.each([[0n, '0 ns'], [999n, '999 ns'], [1500n, '1.50 µs'], [999_499n, '999 µs'], [999_500n, '1.00 ms'], [12_345_678n, '12.3 ms'], [1_000_000_000n, '1.00 s'], [90_000_000_000n, '90.0 s'], [600_000_000_000n, '10.0 min'], [9_000_000_000_000n, '2.5 h']])('%i ns is %s', (ns, text) => {
    expect(shortDuration(ns)).toBe(text);
  });
});
