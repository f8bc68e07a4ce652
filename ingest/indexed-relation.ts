// Stored tables over only the files that the index of traces does not rule out, as relations to put after FROM.
import type { ColdFiles } from './cold-files.ts';
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
