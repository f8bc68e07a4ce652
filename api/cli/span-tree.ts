// The order in which a trace is read: each span under its parent, siblings by start.
import type { Span } from '../trace-json.ts';

export interface TreeLine {
  readonly span: Span;
  /** Drawn in front of it. */
  readonly indent: string;
  /** Its parent is not among the spans that are there. */
  readonly parent_missing: boolean;
}

const startOf = (span: Span): bigint => BigInt(span.start_time_unix_nano);

function byStart(a: Span, b: Span): number {
  const [left, right] = [startOf(a), startOf(b)];
  if (left !== right) return left < right ? -1 : 1;
  return a.span_id < b.span_id ? -1 : 1;
}

/** Deeper than this is not indented further: nobody could see it, and the lines would grow with the square of the depth. */
const DEEPEST = 40;

/** Every span comes exactly once, even if parents point in a circle. */
export function treeLines(spans: readonly Span[]): TreeLine[] {
  const known = new Set(spans.map((span) => span.span_id));
  const children = new Map<string, Span[]>();
  const roots: Span[] = [];
  for (const span of spans.toSorted(byStart)) {
    if (span.parent_span_id === null || !known.has(span.parent_span_id)) {
      roots.push(span);
      continue;
    }
    const siblings = children.get(span.parent_span_id);
    if (siblings === undefined) children.set(span.parent_span_id, [span]);
    else siblings.push(span);
  }
  const lines: TreeLine[] = [];
  const placed = new Set<string>();
  // A stack of our own: a trace may be deeper than calls may nest.
  const open = roots.toReversed().map((span) => ({ span, indent: '', below: '' }));
  const place = (): void => {
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { span, indent, below } = next;
      if (placed.has(span.span_id)) continue;
      placed.add(span.span_id);
      lines.push({ span, indent, parent_missing: span.parent_span_id !== null && !known.has(span.parent_span_id) });
      const own = children.get(span.span_id) ?? [];
      own.toReversed().forEach((child, from_last) => {
        const last = from_last === 0;
        const deep = below.length >= DEEPEST * 2;
        open.push({ span: child, indent: deep ? `${below}⋯ ` : `${below}${last ? '└ ' : '├ '}`, below: deep ? below : `${below}${last ? '  ' : '│ '}` });
      });
    }
  };
  place();
  for (const span of spans) {
    if (placed.has(span.span_id)) continue;
    open.push({ span, indent: '', below: '' });
    place();
  }
  return lines;
}
