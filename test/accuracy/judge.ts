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
  /** Spans that hang on no request of the truth. */
  readonly strays: number;
  readonly faults: readonly Fault[];
}

interface Place {
  readonly request: TrueRequest;
  readonly expected: ExpectedSpan;
}

interface Placed extends Place {
  readonly span: FoundSpan;
}

const isHttp = (span: FoundSpan): boolean => span.url_path !== null && (span.network_protocol_name ?? 'http') === 'http';
const keyOf = (span: FoundSpan): string => spanKey(span.url_path ?? '', span.kind);

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
  const places = new Map<string, Place>();
  for (const request of truth) for (const expected of request.spans) places.set(expected.key, { request, expected });

  const placed = new Map<string, Placed>();
  const own_spans = new Map<TrueRequest, Placed[]>(truth.map((request) => [request, []]));
  for (const span of found) {
    const place = isHttp(span) ? places.get(keyOf(span)) : undefined;
    if (place === undefined) continue;
    const item = { span, ...place };
    placed.set(span.span_id, item);
    own_spans.get(place.request)?.push(item);
  }
  const by_id = new Map(found.map((span) => [span.span_id, span]));
  const by_trace = group(found, (span) => span.trace_id);

  /** The nearest judged span at or above this one: other protocols between two HTTP spans are looked through. */
  const nearest = (span_id: string | null): Placed | 'none' | 'gone' | 'stray' => {
    let id = span_id;
    for (let steps = 0; id !== null && steps < 10; steps++) {
      const item = placed.get(id);
      if (item !== undefined) return item;
      const span = by_id.get(id);
      if (span === undefined) return 'gone';
      if (isHttp(span)) return 'stray';
      id = span.parent_span_id;
    }
    return 'none';
  };
  const requestOf = (span: FoundSpan): TrueRequest | undefined => {
    const item = nearest(span.span_id);
    return typeof item === 'string' ? undefined : item.request;
  };

  const links = { expected: 0, right: 0, wrong: 0, null: 0 };
  const count = { exact: 0, orphaned: 0, wrong: 0 };
  const faults: Fault[] = [];

  for (const request of truth) {
    const own = own_spans.get(request) ?? [];
    const wrong: string[] = [];
    const missing: string[] = [];
    links.expected += request.spans.filter((span) => span.parent_key !== null).length;

    const seen = group(own, (item) => item.expected.key);
    for (const [key, same] of seen) {
      if (same.length > 1) wrong.push(`${key}: ${same.length} spans`);
    }
    for (const { key } of request.spans) {
      if (!seen.has(key)) missing.push(`${key}: no span`);
    }
    const parent_of = new Map(request.spans.map((span) => [span.key, span.parent_key]));
    /** Where a link goes that is right as far as can be told: spans in between lost their name. */
    const aboveUnseen = (key: string | null): string | null => {
      let above = key;
      while (above !== null && !seen.has(above)) above = parent_of.get(above) ?? null;
      return above;
    };
    for (const { span, expected } of own) {
      const { key, parent_key } = expected;
      const parent = nearest(span.parent_span_id);
      if (typeof parent !== 'string' && parent.expected.key === parent_key) {
        links.right++;
      } else if (parent === 'none' && parent_key === null) {
        continue;
      } else if (typeof parent !== 'string' && span.parent_span_id !== parent.span.span_id && parent.expected.key === aboveUnseen(parent_key)) {
        links.null++; // and its parent is missing, which was said above
      } else if (parent === 'none' || (parent === 'gone' && parent_key !== null)) {
        links.null++;
        missing.push(`${key}: ${parent === 'none' ? 'no parent' : `its parent ${span.parent_span_id} is no span`}`);
      } else {
        links.wrong++;
        wrong.push(`${key}: parent is ${typeof parent === 'string' ? `a ${parent} span` : parent.expected.key}, not ${parent_key ?? 'none'}`);
      }
    }
    const traces = [...new Set(own.map((item) => item.span.trace_id))];
    if (traces.length > 1 && missing.length === 0) missing.push(`${traces.length} trace ids`);
    for (const trace_id of traces) {
      for (const span of by_trace.get(trace_id) ?? []) {
        const holder = requestOf(span);
        if (holder !== request && (holder !== undefined || isHttp(span))) wrong.push(`${trace_id} also holds ${keyOf(span)}`);
      }
    }

    if (wrong.length > 0) count.wrong++;
    else if (missing.length > 0) count.orphaned++;
    else count.exact++;
    faults.push(...[...wrong, ...missing].map((what) => ({ request_id: request.id, what })));
  }
  return { requests: truth.length, ...count, links, strays: found.filter((span) => requestOf(span) === undefined).length, faults };
}
