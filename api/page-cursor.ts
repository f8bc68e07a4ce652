// Where a page ended, so that the next one goes on exactly there: last key in a total order, with everything that the
// order and the set depend on. Opaque to clients.
import { createHash } from 'node:crypto';
import { TracehouseError } from '../schema/errors.ts';
import type { SearchRange } from './search-range.ts';

export interface PageCursor extends SearchRange {
  /** Of the last row given. */
  readonly duration_ns: bigint;
  readonly trace_id: string;
}

function fingerprint(query: unknown): string {
  return createHash('sha256').update(JSON.stringify(query)).digest('base64url').slice(0, 12);
}

export function encodeCursor(cursor: PageCursor, query: unknown): string {
  return Buffer.from(JSON.stringify([1, fingerprint(query), String(cursor.start_ns), String(cursor.end_ns), String(cursor.duration_ns), cursor.trace_id])).toString('base64url');
}

/** Error: invalid-cursor, also when the cursor belongs to another query. */
export function decodeCursor(text: string, query: unknown): PageCursor {
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    parts = undefined;
  }
  const numbers = Array.isArray(parts) ? parts.slice(2, 5) : [];
  const trace_id: unknown = Array.isArray(parts) ? parts[5] : undefined;
  if (!Array.isArray(parts) || parts[0] !== 1 || !numbers.every((part) => typeof part === 'string' && /^\d{1,19}$/.test(part)) || numbers.length !== 3 || typeof trace_id !== 'string' || !/^[0-9a-f]{32}$/.test(trace_id)) {
    throw new TracehouseError('invalid-cursor', 'the cursor is not one that this server gave', { mend: 'begin again without cursor' });
  }
  if (parts[1] !== fingerprint(query)) throw new TracehouseError('invalid-cursor', 'the cursor belongs to a query with other filters', { mend: 'repeat the query as it was, or begin again without cursor' });
  const [start_ns, end_ns, duration_ns] = (numbers as string[]).map(BigInt) as [bigint, bigint, bigint];
  return { start_ns, end_ns, duration_ns, trace_id };
}
