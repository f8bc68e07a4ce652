// From a segment that was written to, to a sealed file that never changes again.
import { existsSync, statSync } from 'node:fs';
import { link, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { TracehouseError } from '../schema/errors.ts';
import { checkpointUnmerged } from './checkpoint.ts';
import { isInvalidated } from './duckdb-errors.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import { removeDatabase } from './segment-catalog.ts';
import { sealedName } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { countRows, lastApplyNumbers, timeRange, totalRows } from './segment-tables.ts';
import type { SegmentTables } from './segment-tables.ts';

/** Rows that come whether anything happens or not: alone they are no reason to make a file every few seconds. */
const BOOKKEEPING = new Set(['batches', 'clocks', 'progress']);

export function eventRows(rows: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const [table, count] of rows) if (!BOOKKEEPING.has(table)) sum += count;
  return sum;
}

async function checkpoint(connection: DuckDBConnection, catalog: SegmentCatalog, segment: Segment): Promise<void> {
  await checkpointUnmerged(catalog, connection, segment.alias, async (error) => {
    if (isInvalidated(error)) await catalog.attachAgain(segment);
  });
  const log = `${segment.path}.wal`;
  if (existsSync(log) && statSync(log).size > 0) {
    throw new TracehouseError('segment-busy', `${segment.path} still has a write-ahead log after its checkpoint`);
  }
}

/** The exact range of a derived segment is its cut; a raw one's follows from its rows. */
async function rangeOf(connection: DuckDBConnection, tables: SegmentTables, segment: Segment, rows: ReadonlyMap<string, number>): Promise<{ from_ns: bigint; to_ns: bigint }> {
  const found = await timeRange(connection, segment.alias, tables.of(segment.kind), rows);
  if (segment.kind === 'raw') return found ?? { from_ns: segment.from_ns, to_ns: segment.from_ns };
  const to_ns = found !== null && found.to_ns > segment.to_ns ? found.to_ns : segment.to_ns;
  return { from_ns: segment.from_ns, to_ns: to_ns < segment.from_ns ? segment.from_ns : to_ns };
}

export const sealedAlias = (kind: SegmentKind, uid: string): string => `${kind}_${uid}`;
export const openAlias = (kind: SegmentKind, uid: string): string => `${kind}_${uid}_open`;

export async function describeSealed(kind: SegmentKind, name: { uid: string; level: number; from_ns: bigint; to_ns: bigint }, path: string, rows: ReadonlyMap<string, number>, last_apply_no: bigint | null): Promise<Segment> {
  const { size, mtimeMs } = await stat(path);
  return { kind, ...name, state: 'sealed', alias: sealedAlias(kind, name.uid), path, rows, last_apply_no, bytes: size, born_ms: mtimeMs };
}

/** While readers go on: a second name for the same file, attached read-only under its own alias, before the first goes. `also` become visible with it. */
export async function sealWhileRead(connection: DuckDBConnection, catalog: SegmentCatalog, tables: SegmentTables, segment: Segment, also: readonly Segment[] = []): Promise<Segment> {
  await checkpoint(connection, catalog, segment);
  const rows = await countRows(connection, segment.alias);
  const range = await rangeOf(connection, tables, segment, rows);
  const applied = segment.kind === 'raw' ? await lastApplyNumbers(connection, [segment.alias]) : null;
  const path = join(segment.path, '..', sealedName({ level: 0, ...range, uid: segment.uid }));
  if (!existsSync(path)) await link(segment.path, path);
  const sealed = await describeSealed(segment.kind, { uid: segment.uid, level: 0, ...range }, path, rows, applied?.get(segment.alias) ?? null);
  await catalog.attachReadOnly(path, sealed.alias);
  try {
    await catalog.publish(segment.kind, (segments) => [...segments.filter((other) => other !== segment), sealed, ...also]);
  } catch (error) {
    await catalog.detach(sealed.alias).catch(() => undefined);
    throw error;
  }
  void catalog.retire([segment]);
  return sealed;
}

/** At the start and the end, when nobody reads: detached and renamed, or deleted when it holds nothing. Returns the sealed path. */
export async function sealUnread(connection: DuckDBConnection, catalog: SegmentCatalog, tables: SegmentTables, segment: Segment): Promise<{ path: string; to_ns: bigint } | null> {
  const rows = await countRows(connection, segment.alias);
  if (totalRows(rows) === 0) {
    await catalog.detach(segment.alias);
    await removeDatabase(segment.path);
    return null;
  }
  await checkpoint(connection, catalog, segment);
  const range = await rangeOf(connection, tables, segment, rows);
  const path = join(segment.path, '..', sealedName({ level: 0, ...range, uid: segment.uid }));
  await catalog.detach(segment.alias);
  await rename(segment.path, path);
  return { path, to_ns: range.to_ns };
}
