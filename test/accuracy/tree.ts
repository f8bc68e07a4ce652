// What the services do for each request, and so which spans are the truth. Only the judge reads ids in paths.
import { createHash } from 'node:crypto';

/** One hop and the hops that it calls, in order. */
export interface Hop {
  readonly hop: string;
  readonly calls: readonly Hop[];
  /** A proxy passes its own id on: nothing there could hash. */
  readonly passes_id?: boolean;
}

const leaf = (hop: string): Hop => ({ hop, calls: [] });

/** A -> B -> D, A -> C. */
export const TREE: Hop = { hop: 'a', calls: [{ hop: 'b', calls: [leaf('d')] }, leaf('c')] };
/** The same behind a reverse proxy. */
export const PROXIED_TREE: Hop = { hop: 'n', calls: [TREE], passes_id: true };
/** What the services answer when every call was made. */
export function expectedBody(tree: Hop): string {
  if (tree.passes_id === true) return tree.calls.map(expectedBody).join('');
  return `${tree.hop}(${tree.calls.map(expectedBody).join(',')})`;
}

export type Kind = 'client' | 'server';

export interface ExpectedSpan {
  readonly key: string;
  /** null: the root. */
  readonly parent_key: string | null;
}

export const spanKey = (path: string, kind: Kind): string => `${kind} ${path}`;

/** The id of a hop's request, as the services make it: ids that start with h are hashed anew for each hop. */
export function childId(request_id: string, hop: string): string {
  if (!request_id.startsWith('h')) return request_id;
  return `h${createHash('sha256').update(`${request_id}/${hop}`).digest('hex').slice(0, 15)}`;
}

/** All spans of one request: a client and a server span for each hop; the load generator's own client span is the root. */
export function expectedSpans(tree: Hop, request_id: string): ExpectedSpan[] {
  const spans: ExpectedSpan[] = [];
  const visit = (hop: Hop, id: string, caller: string | null): void => {
    const path = `/${hop.hop}/${id}`;
    let last = caller;
    for (const kind of ['client', 'server'] as const) {
      const key = spanKey(path, kind);
      spans.push({ key, parent_key: last });
      last = key;
    }
    for (const call of hop.calls) visit(call, hop.passes_id === true ? id : childId(id, call.hop), last);
  };
  visit(tree, request_id, null);
  return spans;
}
