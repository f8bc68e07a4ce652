// What may be asked of an export, and the plan that it becomes.
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { ExportPlan } from '../../ingest/export-ledger.ts';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { queryBook } from '../query-book.ts';
import { checkCron } from './cron.ts';
import { isFolder, openDestination } from './destination.ts';
import { EXPORT_RELATIONS } from './relations.ts';
import type { QueryRunner } from './query-runner.ts';
import { checkQuery } from './write-query.ts';

export interface ExportRequest {
  readonly cron?: string | null;
  /** All of them unless there is a query. */
  readonly relations?: readonly string[];
  /** A statement, or name or id of a query that has one: what it says now, whatever becomes of the name. */
  readonly query?: string | null;
  readonly destination: string;
  readonly max_age_ns?: bigint | null;
  readonly max_bytes?: bigint | null;
}

const namedQuery = (warehouse: Warehouse, text: string): string => (/^[a-z0-9-]+$/.test(text.trim()) ? queryBook(warehouse).find(text.trim()).sql : text);

/** Errors: export-relations, export-query, export-cron, export-destination, query-not-found. */
export async function planExport(warehouse: Warehouse, runner: QueryRunner, request: ExportRequest, now_ns: bigint): Promise<ExportPlan> {
  const { cron = null, max_age_ns = null, max_bytes = null } = request;
  const query = request.query === undefined || request.query === null ? null : namedQuery(warehouse, request.query);
  const relations = [...new Set(request.relations ?? (query === null ? Object.keys(EXPORT_RELATIONS) : []))].toSorted();
  const unknown = relations.find((name) => EXPORT_RELATIONS[name] === undefined);
  if (unknown !== undefined) throw new TracehouseError('export-relations', `there is no relation ${unknown} to export`, { mend: `there are ${Object.keys(EXPORT_RELATIONS).join(', ')}` });
  if ((relations.length === 0) === (query === null)) throw new TracehouseError('export-relations', 'an export has relations or a query', { mend: 'name one of them, or neither for all relations' });
  if (query !== null && (max_age_ns !== null || max_bytes !== null)) throw new TracehouseError('export-query', 'what a query answers stands for no rows that may go', { mend: 'give retention to an export of relations' });
  if (query !== null) await checkQuery(runner, query);
  if (cron !== null) checkCron(cron);
  if (request.destination.trim() === '') throw new TracehouseError('export-destination', 'the destination is empty', { mend: 'name a folder, or s3://bucket/prefix' });
  const destination = isFolder(request.destination) ? resolve(request.destination) : request.destination.replace(/([^/:])\/+$/, '$1');
  (await openDestination(destination)).close(); // says now what would otherwise be said at night
  return { export_id: randomBytes(6).toString('hex'), cron, relations, query, destination, max_age_ns, max_bytes, created_ns: now_ns };
}

/** Asked for again, an export without a schedule goes on where it ended: each row once in that destination. */
export function samePlan(plans: readonly ExportPlan[], plan: ExportPlan): ExportPlan | undefined {
  return plans.find((other) => other.cron === null && plan.cron === null && other.destination === plan.destination && other.query === plan.query && other.max_age_ns === plan.max_age_ns && other.max_bytes === plan.max_bytes && other.relations.join() === plan.relations.join());
}
