// Where a page ended, so that the next one goes on exactly there: last key in a total order, with everything that the
// order and the set depend on. Opaque to clients.
import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import { TracehouseError } from '../schema/errors.ts';
import type { SearchRange } from './search-range.ts';

export interface PageCursor extends SearchRange {
  /** What the list is ordered by, of the last row given. */
  readonly key: readonly string[];
}

/** As a parameter. */
export const Cursor = Type.Optional(Type.String({ description: 'next_cursor of the page before; everything else as in that request', examples: ['WzIsInV2aVJ0dGpTS3BMTyIsIjAiLCIwIiwic2hvcCJd'] }));

const LAST_NS = 2n ** 63n - 1n;
const NUMBER = /^\d{1,19}$/;
/** Parts of keys. */
export const NUMBER_PART = (text: string): boolean => NUMBER.test(text) && BigInt(text) <= LAST_NS;
export const TRACE_ID_PART = (text: string): boolean => /^[0-9a-f]{32}$/.test(text);
export const SPAN_ID_PART = (text: string): boolean => /^[0-7][0-9a-f]{15}$/.test(text);
export const TEXT_PART = (): boolean => true;

function fingerprint(query: unknown): string {
  return createHash('sha256').update(JSON.stringify(query)).digest('base64url').slice(0, 12);
}

export function encodeCursor({ start_ns, end_ns, key }: PageCursor, query: unknown): string {
  return Buffer.from(JSON.stringify([2, fingerprint(query), String(start_ns), String(end_ns), ...key])).toString('base64url');
}

/** Error: invalid-cursor, also when the cursor belongs to another query. `key`: what its parts have to be. */
export function decodeCursor(text: string, query: unknown, key: readonly ((text: string) => boolean)[]): PageCursor {
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    parts = undefined;
  }
  const checks = [NUMBER_PART, NUMBER_PART, ...key];
  const [version, of_query, ...rest] = Array.isArray(parts) ? (parts as unknown[]) : [];
  if (version !== 2 || rest.length !== checks.length || !rest.every((part, at) => typeof part === 'string' && checks[at]?.(part) === true)) {
    throw new TracehouseError('invalid-cursor', 'the cursor is not one that this server gave', { mend: 'begin again without cursor' });
  }
  if (of_query !== fingerprint(query)) throw new TracehouseError('invalid-cursor', 'the cursor belongs to a query with other filters', { mend: 'repeat the query as it was, or begin again without cursor' });
  const [start, end, ...last] = rest as [string, string, ...string[]];
  return { start_ns: BigInt(start), end_ns: BigInt(end), key: last };
}
