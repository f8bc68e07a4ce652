// Compares the spans that were found with the truth. Pure: no database, no clock.
import type { ExpectedSpan, Kind } from './tree.ts';
import { spanKey } from './tree.ts';

/** The columns of `spans` that are judged. */
export interface FoundSpan {
  readonly trace_id: string;
  readonly span_id: string;
  readonly parent_span_id: string | null;
  readonly kind: Kind;
  readonly url_path: string | null;
  readonly network_protocol_name: string | null;
}

export interface TrueRequest {
  readonly id: string;
  readonly spans: readonly ExpectedSpan[];
}

export interface Fault {
  readonly request_id: string;
  readonly what: string;
}

export interface Verdict {
  readonly requests: number;
  /** These three add up to requests. */
  readonly exact: number;
  readonly orphaned: number;
  readonly wrong: number;
  /** Of all links that the truth has (root spans have none); their sum is less by those of spans that were not found. */
  readonly links: { readonly expected: number; readonly right: number; readonly wrong: number; readonly null: number };
  /** Spans that belong to no request of the truth. */
  readonly strays: number;
  readonly faults: readonly Fault[];
}

interface Placed {
  readonly span: FoundSpan;
  readonly request: TrueRequest;
  readonly expected: ExpectedSpan;
}

function keyOf(span: FoundSpan): string {
  return spanKey(span.url_path ?? '', span.kind, span.network_protocol_name === 'fastcgi');
}

function group<T>(items: readonly T[], by: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = by(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** A trace is wrong if any link in it is wrong or any span in it foreign, else orphaned if anything is missing, else exact. */
export function judge(truth: readonly TrueRequest[], found: readonly FoundSpan[]): Verdict {
  const places = new Map<string, { request: TrueRequest; expected: ExpectedSpan }>();
  for (const request of truth) for (const expected of request.spans) places.set(expected.key, { request, expected });

  const placed: Placed[] = [];
  for (const span of found) {
    const place = places.get(keyOf(span));
    if (place !== undefined) placed.push({ span, ...place });
  }
  const owner_of_span = new Map(placed.map((item) => [item.span.span_id, item]));
  const known = new Set(found.map((span) => span.span_id));
  const by_request = group(placed, (item) => item.request.id);
  const by_trace = group(found, (span) => span.trace_id);

  const links = { expected: 0, right: 0, wrong: 0, null: 0 };
  const count = { exact: 0, orphaned: 0, wrong: 0 };
  const faults: Fault[] = [];

  for (const request of truth) {
    const own = by_request.get(request.id) ?? [];
    const wrong: string[] = [];
    const missing: string[] = [];

    for (const [key, same] of group(own, (item) => item.expected.key)) {
      if (same.length > 1) wrong.push(`${key}: ${same.length} spans`);
    }
    for (const { span, expected } of own) {
      if (expected.parent_key !== null) links.expected++;
      if (span.parent_span_id === null) {
        if (expected.parent_key === null) continue;
        links.null++;
        missing.push(`${expected.key}: no parent`);
        continue;
      }
      const parent = owner_of_span.get(span.parent_span_id);
      if (parent !== undefined && parent.expected.key === expected.parent_key) {
        links.right++;
      } else if (parent === undefined && !known.has(span.parent_span_id) && expected.parent_key !== null) {
        links.null++;
        missing.push(`${expected.key}: its parent ${span.parent_span_id} is no span`);
      } else {
        links.wrong++;
        wrong.push(`${expected.key}: parent is ${parent === undefined ? 'a stray span' : parent.expected.key}, not ${expected.parent_key ?? 'none'}`);
      }
    }
    const seen = new Set(own.map((item) => item.expected.key));
    for (const expected of request.spans) {
      if (seen.has(expected.key)) continue;
      if (expected.parent_key !== null) links.expected++;
      missing.push(`${expected.key}: no span`);
    }
    const traces = [...new Set(own.map((item) => item.span.trace_id))];
    if (traces.length > 1 && missing.length === 0) missing.push(`${traces.length} trace ids`);
    for (const trace_id of traces) {
      for (const span of by_trace.get(trace_id) ?? []) {
        const holder = owner_of_span.get(span.span_id);
        if (holder?.request !== request) wrong.push(`${trace_id} also holds ${keyOf(span)}`);
      }
    }

    if (wrong.length > 0) count.wrong++;
    else if (missing.length > 0) count.orphaned++;
    else count.exact++;
    faults.push(...[...wrong, ...missing].map((what) => ({ request_id: request.id, what })));
  }
  return { requests: truth.length, ...count, links, strays: found.length - placed.length, faults };
}
