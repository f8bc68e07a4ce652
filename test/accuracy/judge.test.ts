import { describe, expect, test } from 'vitest';
import { judge, type FoundSpan } from './judge.ts';
import { PROXIED_TREE, TREE, childId, expectedBody, expectedSpans, type Kind } from './tree.ts';

const truth = ['s1', 's2'].map((id) => ({ id, spans: expectedSpans(TREE, id) }));

/** The spans of a request as a perfect tracer would give them. */
function perfect(id: string): FoundSpan[] {
  return expectedSpans(TREE, id).map((span) => {
    const [kind, url_path = ''] = span.key.split(' ');
    return { trace_id: `trace-${id}`, span_id: span.key, parent_span_id: span.parent_key, kind: kind as Kind, url_path, network_protocol_name: 'http' };
  });
}

const change = (spans: readonly FoundSpan[], span_id: string, changes: Partial<FoundSpan>): FoundSpan[] => spans.map((span) => (span.span_id === span_id ? { ...span, ...changes } : span));
const figures = (found: readonly FoundSpan[]): number[] => {
  const { exact, orphaned, wrong } = judge(truth, found);
  return [exact, orphaned, wrong];
};
const both = [...perfect('s1'), ...perfect('s2')];

describe('judge', () => {
  test('all there: exact, and every link but the roots is counted', () => {
    const verdict = judge(truth, both);
    expect(verdict).toMatchObject({ requests: 2, exact: 2, orphaned: 0, wrong: 0, strays: 0, faults: [] });
    expect(verdict.links).toEqual({ expected: 14, right: 14, wrong: 0, null: 0 });
  });

  test('nothing found: all orphaned', () => {
    expect(figures([])).toEqual([0, 2, 0]);
    expect(judge(truth, []).links).toEqual({ expected: 14, right: 0, wrong: 0, null: 0 });
  });

  test('a span is missing, a parent is null, a parent is no span, the trace is in two parts: orphaned', () => {
    expect(figures(both.filter((span) => span.span_id !== 'server /d/s1'))).toEqual([1, 1, 0]);
    expect(figures(change(both, 'client /d/s1', { parent_span_id: null }))).toEqual([1, 1, 0]);
    expect(figures(change(both, 'client /d/s1', { parent_span_id: 'gone' }))).toEqual([1, 1, 0]);
    expect(figures(change(both, 'client /d/s1', { trace_id: 'other' }))).toEqual([1, 1, 0]);
  });

  test('a link to another request makes both traces wrong when its span moves into the other trace', () => {
    const moved = change(both, 'client /c/s1', { parent_span_id: 'server /a/s2', trace_id: 'trace-s2' });
    expect(figures(moved)).toEqual([0, 0, 2]);
    expect(judge(truth, moved).links).toMatchObject({ right: 13, wrong: 1 });
  });

  test('a link inside the request but to the wrong span is wrong', () => {
    expect(figures(change(both, 'client /c/s1', { parent_span_id: 'server /b/s1' }))).toEqual([1, 0, 1]);
  });

  test('a root with a parent is wrong', () => {
    expect(figures(change(both, 'client /a/s1', { parent_span_id: 'server /b/s1' }))).toEqual([1, 0, 1]);
  });

  test('a span twice is wrong', () => {
    expect(figures([...both, { ...(both[0] as FoundSpan), span_id: 'again' }])).toEqual([1, 0, 1]);
  });

  test('a stray span is counted, and wrong only inside a trace', () => {
    const stray: FoundSpan = { trace_id: 'else', span_id: 'x', parent_span_id: null, kind: 'server', url_path: '/health', network_protocol_name: 'http' };
    expect(judge(truth, [...both, stray])).toMatchObject({ exact: 2, strays: 1 });
    expect(figures([...both, { ...stray, trace_id: 'trace-s1' }])).toEqual([1, 0, 1]);
  });
});

describe('what lies between a web server and its application is no HTTP', () => {
  const between = (id: string, kind: Kind, parent: string | null): FoundSpan => ({ trace_id: 'trace-s1', span_id: id, parent_span_id: parent, kind, url_path: null, network_protocol_name: null });
  const through = (top: string | null): FoundSpan[] => [...change(both, 'client /c/s1', { parent_span_id: 'y' }), between('x', 'client', top), between('y', 'server', 'x')];

  test('links are judged through it', () => {
    expect(judge(truth, through('server /a/s1'))).toMatchObject({ exact: 2, wrong: 0, strays: 0 });
    expect(judge(truth, through('server /a/s1').map((span) => (span.span_id === 'y' ? { ...span, url_path: '/a/s1', network_protocol_name: 'fastcgi' } : span)))).toMatchObject({ exact: 2 });
  });

  test('a span that lost its name is missing, what hangs on it is not wrong', () => {
    const verdict = judge(truth, change(both, 'client /b/s1', { url_path: null, network_protocol_name: null }));
    expect(verdict).toMatchObject({ exact: 1, orphaned: 1, wrong: 0, strays: 0 });
    expect(verdict.links).toEqual({ expected: 14, right: 12, wrong: 0, null: 1 });
  });

  test('when it hangs on nothing, so does what hangs on it', () => {
    expect(judge(truth, through(null).map((span) => (span.span_id === 'x' || span.span_id === 'y' || span.span_id.includes('/c/s1') ? { ...span, trace_id: 'other' } : span)))).toMatchObject({ exact: 1, orphaned: 1, strays: 2 });
  });

  test('when it hangs on the wrong request, so does what hangs on it', () => {
    expect(figures(through('server /a/s2'))).toEqual([1, 0, 1]);
  });
});

describe('truth', () => {
  test('a hop has a client and a server span, each the child of the other end', () => {
    expect(expectedSpans(TREE, 's1').map((span) => `${span.parent_key} > ${span.key}`)).toEqual([
      'null > client /a/s1', 'client /a/s1 > server /a/s1',
      'server /a/s1 > client /b/s1', 'client /b/s1 > server /b/s1',
      'server /b/s1 > client /d/s1', 'client /d/s1 > server /d/s1',
      'server /a/s1 > client /c/s1', 'client /c/s1 > server /c/s1',
    ]);
    expect(expectedBody(TREE)).toBe('a(b(d()),c())');
  });

  test('ids that start with h differ at each hop, those that start with s do not; a proxy passes its own on', () => {
    expect(childId('s1', 'b')).toBe('s1');
    expect(childId('h1', 'b')).toMatch(/^h[0-9a-f]{15}$/);
    expect(childId('h1', 'b')).not.toBe(childId('h1', 'c'));
    expect(new Set(expectedSpans(TREE, 'h1').map((span) => span.key.split('/')[2])).size).toBe(4);
    expect(expectedSpans(PROXIED_TREE, 'h1')[2]).toEqual({ key: 'client /a/h1', parent_key: 'server /n/h1' });
    expect(expectedBody(PROXIED_TREE)).toBe('a(b(d()),c())');
  });
});
