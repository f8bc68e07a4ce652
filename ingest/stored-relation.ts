// Stored tables over only the files that may hold rows of a part of them, as relations to put after FROM. Other rows have to be left out by the reader.
import type { ColdFiles } from './cold-files.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import type { SegmentKind } from './segment-names.ts';

/** Which raw segments have no batch up to `to`: as they are written one after the other, those that were begun after one was sealed that goes so far. Put together, they may hold older ones, too. */
function writtenAfter(sealed: readonly Segment[], to: bigint): (segment: Segment) => boolean {
  const reaching = sealed.flatMap(({ last_apply_no }) => (last_apply_no !== null && last_apply_no >= to ? [last_apply_no] : []));
  if (reaching.length === 0) return () => false;
  const first = reaching.reduce((least, apply_no) => (apply_no < least ? apply_no : least));
  return ({ level, state, last_apply_no }) => level === 0 && (state !== 'sealed' || (last_apply_no !== null && last_apply_no > first));
}

/** A raw table's batches after apply_no, and by `to`. */
export function storedSince(catalog: SegmentCatalog, table: string, apply_no: bigint, to?: bigint): string {
  const beyond = to === undefined ? (): boolean => false : writtenAfter(catalog.sealed('raw'), to);
  return catalog.relationOver('raw', table, (segment) => (segment.last_apply_no === null || segment.last_apply_no > apply_no) && !beyond(segment));
}

/** Rows of [from_ns, to_ns]; open segments always. */
export const storedBetween = (catalog: SegmentCatalog, kind: SegmentKind, table: string, from_ns: bigint, to_ns: bigint): string =>
  catalog.relationOver(kind, table, (segment) => segment.state !== 'sealed' || (segment.from_ns <= to_ns && segment.to_ns >= from_ns));

/** The same, and what was exported and dropped. */
export function keptBetween({ catalog, cold }: { readonly catalog: SegmentCatalog; readonly cold: ColdFiles }, kind: SegmentKind, table: string, from_ns: bigint, to_ns: bigint): string {
  const files = cold.between(kind, table, from_ns, to_ns);
  const stored = storedBetween(catalog, kind, table, from_ns, to_ns);
  return files === null ? stored : `(FROM ${stored} UNION ALL BY NAME ${files})`;
}
