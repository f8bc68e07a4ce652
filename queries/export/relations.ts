// What can be exported: every raw table, so that correlation can be done again elsewhere, and what it found here.
import type { SegmentKind } from '../../ingest/segment-names.ts';
import { RELATION_NAMES } from '../../schema/relations.ts';

const DERIVED = ['exchanges', 'spans', 'span_links', 'trace_aliases', 'models'] as const;

export const EXPORT_RELATIONS: Readonly<Record<string, SegmentKind>> = Object.fromEntries([
  ...[...RELATION_NAMES, 'batches'].map((name) => [name, 'raw'] as const),
  ...DERIVED.map((name) => [name, 'derived'] as const),
]);

export const relationsOf = (kind: SegmentKind, relations: readonly string[]): string[] => relations.filter((name) => EXPORT_RELATIONS[name] === kind);
