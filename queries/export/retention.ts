// What leaves the warehouse: whole segment files, oldest first, by age and by bytes; if asked, only what has been exported.
import type { ExportLedger, ExportPlan } from '../../ingest/export-ledger.ts';
import type { Segment } from '../../ingest/segment-catalog.ts';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { EXPORT_RELATIONS } from './relations.ts';

export interface Retention {
  readonly max_age_ns?: bigint | null;
  readonly max_bytes?: bigint | null;
  /** Which segments may go at all. */
  readonly may_go?: (segment: Segment) => boolean;
  /** Nothing that reaches beyond it goes by bytes: correlation still needs it. */
  readonly settled_ns: bigint;
  readonly now_ns: bigint;
}

export interface Dropped {
  readonly files: number;
  readonly bytes: number;
  /** Due by age or bytes, but they may not go. */
  readonly held: number;
}

/** What goes and why: 'age' or 'bytes'. Bytes are counted over all segments, also those that may not go. */
export function chooseDue(sealed: readonly Segment[], stored_bytes: number, retention: Retention): { due: Map<Segment, string>; held: number } {
  const { max_age_ns, max_bytes, may_go = () => true, settled_ns, now_ns } = retention;
  const due = new Map<Segment, string>();
  let held = 0;
  let left = stored_bytes;
  for (const segment of sealed.toSorted((a, b) => (a.to_ns < b.to_ns ? -1 : a.to_ns > b.to_ns ? 1 : 0))) {
    const old = max_age_ns !== null && max_age_ns !== undefined && segment.to_ns < now_ns - max_age_ns;
    const over = max_bytes !== null && max_bytes !== undefined && left > Number(max_bytes) && segment.to_ns < settled_ns;
    if (!old && !over) continue;
    if (!may_go(segment)) {
      held += 1;
      continue;
    }
    due.set(segment, old ? 'age' : 'bytes');
    left -= segment.bytes;
  }
  return { due, held };
}

export async function applyRetention(warehouse: Warehouse, retention: Retention): Promise<Dropped> {
  let chosen: ReturnType<typeof chooseDue> = { due: new Map(), held: 0 };
  const dropped = await warehouse.drop(
    (sealed) => {
      chosen = chooseDue(sealed, warehouse.stats().bytes, retention);
      return [...chosen.due.keys()];
    },
    (segment) => chosen.due.get(segment) ?? 'asked',
  );
  return { ...dropped, held: chosen.held };
}

const covers = (plan: ExportPlan, segment: Segment): boolean => plan.relations.some((name) => EXPORT_RELATIONS[name] === segment.kind);

/** By one export: nothing of a kind that it does not export at all. */
export const exportedBy = (exports: ExportLedger, plan: ExportPlan) => (segment: Segment): boolean => covers(plan, segment) && exports.hasArrived(plan.export_id, segment);

/** By every schedule that covers it, and by something. */
export const exportedByAll = (exports: ExportLedger) => (segment: Segment): boolean =>
  exports.exportedBy(segment).some((id) => exports.hasArrived(id, segment)) && exports.plans.every((plan) => plan.cron === null || !covers(plan, segment) || exports.hasArrived(plan.export_id, segment));
