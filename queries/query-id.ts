import { createHash } from 'node:crypto';
import type { QueryParams } from '../ingest/duckdb-query.ts';

/** Of what is asked: the same text with the same values is the same query, whoever saves it, and nothing else ever is. */
export function queryId(sql: string, params: QueryParams | null): string {
  const ordered = params === null || Array.isArray(params) ? params : Object.entries(params).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify([sql, ordered])).digest('hex').slice(0, 16);
}

export const isQueryId = (text: string): boolean => /^[0-9a-f]{16}$/.test(text);
