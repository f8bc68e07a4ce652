// Names alone, for menus: cheaper than their figures.
import { sql } from 'kysely';
import type { Kysely } from 'kysely';
import type { Database } from '../database.ts';
import { ofService } from './span-fields.ts';

const MOST_NAMES = 10_000;

export async function serviceNames(db: Kysely<Database>): Promise<string[]> {
  const rows = await db.selectFrom('spans').select(sql<string>`coalesce(service_name, 'unknown_service')`.as('name')).distinct().orderBy('name').limit(MOST_NAMES).execute();
  return rows.map(({ name }) => name);
}

export interface OperationName {
  readonly name: string;
  readonly kind: string;
}

/** Without a service: of all. */
export async function operationNames(db: Kysely<Database>, { service, kind }: { service?: string | undefined; kind?: string | undefined }): Promise<OperationName[]> {
  let query = db.selectFrom('spans').select([sql<string>`coalesce(span_name, 'unknown')`.as('name'), 'kind']).distinct();
  if (service !== undefined) query = query.where(ofService(service));
  if (kind !== undefined) query = query.where('kind', '=', kind);
  return query.orderBy('name').orderBy('kind').limit(MOST_NAMES).execute();
}
