// The range of time that a request is about. It is always part of the answer: what was not searched must show.
import { Type } from 'typebox';
import type { AwayFiles } from '../ingest/away-files.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { TracehouseError } from '../schema/errors.ts';
import { Count, Time } from './json-types.ts';
import { parseTime, rfc3339 } from './time-text.ts';

export interface SearchRange {
  readonly start_ns: bigint;
  readonly end_ns: bigint;
}

export const RangeParameters = {
  start: Type.Optional(Type.String({ description: 'start of the range: RFC 3339, 15m for that long ago, or nanoseconds since 1970. Left out: the oldest that is stored', examples: ['3d'] })),
  end: Type.Optional(Type.String({ description: 'end of the range, exclusive. Left out: now', examples: ['2200-01-01T00:00:00Z'] })),
};

export const Searched = Type.Object(
  { start: Time('first instant that was searched'), end: Time('first instant that was no longer searched'), missing_files: Count('exported files of that time that are elsewhere and were not searched: POST /api/v1/cold brings them') },
  { description: 'the range of start times that this answer is about' },
);

export const searchedJson = (range: SearchRange, away: AwayFiles) => ({ start: rfc3339(range.start_ns), end: rfc3339(range.end_ns), missing_files: away.files.length });

/** Errors: invalid-time, invalid-range. */
export async function searchRange(warehouse: Warehouse, asked: { start?: string | undefined; end?: string | undefined }, now_ns: bigint): Promise<SearchRange> {
  const end_ns = asked.end === undefined ? now_ns : parseTime('end', asked.end, now_ns);
  if (asked.start !== undefined) {
    const start_ns = parseTime('start', asked.start, now_ns);
    if (start_ns > end_ns) throw new TracehouseError('invalid-range', 'start is later than end', { mend: 'swap them' });
    return { start_ns, end_ns };
  }
  const start_ns = (await warehouse.oldestSpan()) ?? end_ns;
  return { start_ns: start_ns < end_ns ? start_ns : end_ns, end_ns };
}
