// Everything that another process has to read to see what the warehouse holds, as JSON can carry it.
import type { TableFiles } from './cold-files.ts';
import type { SegmentKind } from './segment-names.ts';

export interface VisibleSegment {
  readonly kind: SegmentKind;
  /** Of the file, not only of what it holds: a newer copy has another. */
  readonly id: string;
  readonly path: string;
  /** Tables that have rows. */
  readonly tables: readonly string[];
  readonly from_ns: string;
}

/** A copy of the ledger's tables. */
export interface VisibleLedger {
  readonly id: string;
  readonly path: string;
}

export interface VisibleFiles {
  readonly segments: readonly VisibleSegment[];
  /** Exported files in place of dropped segments; the same list while nothing of it has changed. */
  readonly cold: readonly TableFiles[];
  readonly ledger: VisibleLedger;
  /** What was stored since then may not be in these files, ms since 1970; null: they are as new as was asked for. */
  readonly missing_since_ms: number | null;
}
