// Stored tables over only the files that the index of traces does not rule out, as relations to put after FROM.
import type { ColdFiles } from './cold-files.ts';
import { windowsOfRows } from './row-windows.ts';
import type { SegmentCatalog } from './segment-catalog.ts';
import { INDEXED } from './trace-index.ts';
import type { IndexedTime, NsRange, TraceIndex } from './trace-index.ts';

export interface IndexedFiles {
  readonly catalog: SegmentCatalog;
  readonly cold: ColdFiles;
  readonly trace_index: TraceIndex;
}

function relationOver({ catalog, cold }: IndexedFiles, table: string, fits: (uid: string) => boolean): string {
  const files = cold.ofSegments('derived', table, fits);
  const stored = catalog.relationOver('derived', table, (segment) => segment.state !== 'sealed' || fits(segment.uid));
  return files === null ? stored : `(FROM ${stored} UNION ALL BY NAME ${files})`;
}

export function keptWhere(files: IndexedFiles, indexed: IndexedTime, asked: readonly NsRange[]): string {
  return relationOver(files, INDEXED[indexed].table, (uid) => files.trace_index.mayHold(indexed, uid, asked));
}

/** The range in pieces in which about so many rows lie, in order of time. What is not sealed yet, or not indexed, is little, and counts for nothing. */
export function windowsWhere({ catalog, cold, trace_index }: IndexedFiles, indexed: IndexedTime, range: NsRange, most_rows: number): NsRange[] {
  const { table } = INDEXED[indexed];
  const files = [
    ...catalog.sealed('derived').map(({ uid, rows }) => ({ uid, rows: rows?.get(table) ?? 0 })),
    ...cold.standIns('derived', table).map(({ segment_uid, rows }) => ({ uid: segment_uid, rows: Number(rows) })),
  ];
  return windowsOfRows(files.map(({ uid, rows }) => ({ rows, ranges: trace_index.rangesOf(indexed, uid) ?? [] })), range, most_rows);
}

/** Earliest start of a span that the index knows of, and a relation over the spans that it does not know of. */
export function oldestKnown(files: IndexedFiles): { oldest_ns: bigint | null; unknown: string } {
  const { catalog, cold, trace_index } = files;
  const uids = [...catalog.sealed('derived').map(({ uid }) => uid), ...cold.segmentsOf('derived', 'spans')];
  const starts = uids.flatMap((uid) => trace_index.rangesOf('span_start', uid)?.slice(0, 1) ?? []).map(({ from_ns }) => from_ns);
  return {
    oldest_ns: starts.reduce<bigint | null>((least, start_ns) => (least === null || start_ns < least ? start_ns : least), null),
    unknown: relationOver(files, INDEXED.span_start.table, (uid) => trace_index.rangesOf('span_start', uid) === undefined),
  };
}
