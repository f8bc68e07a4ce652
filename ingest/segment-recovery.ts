// What a start finds in a folder of segments, after an orderly end or after kill -9 at any moment.
import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { isDiskFull } from './duckdb-errors.ts';
import { tableOfPacked } from './packed-tables.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import { removeDatabase } from './segment-catalog.ts';
import type { SealedName, SegmentKind } from './segment-names.ts';
import { isTempName, parseOpenName, parseSealedName } from './segment-names.ts';
import { NO_LINEAGE, readLineages, replacedSegments } from './segment-replaced.ts';
import { describeSealed, openAlias, sealUnread, sealedAlias } from './segment-seal.ts';
import { lastApplyNumbers } from './segment-tables.ts';
import type { SegmentTables } from './segment-tables.ts';

/** Three headers and nothing else. */
const EMPTY_DATABASE_BYTES = 3 * 4096;
const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split('\n')[0] as string;

export interface FoundSegments {
  readonly sealed: (SealedName & { path: string })[];
  /** Written to when the process ended, oldest first. */
  readonly open: { uid: string; path: string }[];
}

/** Deletes leftovers that are certainly worthless, unless read_only. */
export function findSegments(folder: string, kind: SegmentKind, read_only: boolean): FoundSegments {
  const path = join(folder, kind);
  const files = readdirSync(path);
  const sealed: FoundSegments['sealed'] = [];
  for (const file of files) {
    const name = parseSealedName(file);
    if (name !== null) sealed.push({ ...name, path: join(path, file) });
  }
  const known = new Set(sealed.map((segment) => segment.uid));
  const open: { uid: string; path: string; born: number }[] = [];
  for (const file of files) {
    const full = join(path, file);
    const uid = parseOpenName(file);
    if (uid !== null && known.has(uid)) {
      // The same file under its sealed name: the second name was given after its checkpoint.
      if (!read_only) for (const leftover of [full, `${full}.wal`]) rmSync(leftover, { force: true });
    } else if (uid !== null) {
      open.push({ uid, path: full, born: statSync(full).birthtimeMs });
    } else if (isTempName(file) && !read_only) {
      rmSync(full, { force: true });
    }
  }
  return { sealed, open: open.toSorted((a, b) => a.born - b.born).map(({ uid, path: at }) => ({ uid, path: at })) };
}

interface AttachContext {
  readonly folder: string;
  readonly kind: SegmentKind;
  readonly read_only: boolean;
  readonly connection: DuckDBConnection;
  readonly catalog: SegmentCatalog;
  readonly tables: SegmentTables;
  readonly log: (line: string) => void;
}

/** Attaches every sealed segment of a kind; seals what was still open first. */
export async function attachFound(context: AttachContext): Promise<Segment[]> {
  const { folder, kind, read_only, connection, catalog } = context;
  const found = findSegments(folder, kind, read_only);
  const segments: Segment[] = [];
  for (const file of found.sealed) {
    const segment = await attachSealed(context, file);
    if (segment !== null) segments.push(segment);
  }
  const replaced = await replacedSegments(connection, segments);
  const live = segments.filter((segment) => !replaced.has(segment.uid));
  for (const segment of segments) {
    if (live.includes(segment)) continue;
    await catalog.detach(segment.alias);
    if (!read_only) await removeDatabase(segment.path);
  }
  let from_ns = live.reduce((latest, segment) => (segment.to_ns > latest ? segment.to_ns : latest), 0n);
  for (const { uid, path } of found.open) {
    if (replaced.has(uid)) {
      if (!read_only) await removeDatabase(path);
      continue;
    }
    const segment = read_only ? await attachUnsealed(context, uid, path) : await sealLeftover(context, uid, path, kind === 'derived' ? from_ns : 0n);
    if (segment === null) continue;
    if (segment.to_ns > from_ns) from_ns = segment.to_ns;
    live.push(segment);
  }
  return withContents(connection, live);
}

async function attachSealed({ kind, catalog, log }: AttachContext, file: FoundSegments['sealed'][number]): Promise<Segment | null> {
  const alias = sealedAlias(kind, file.uid);
  try {
    await catalog.attachReadOnly(file.path, alias);
  } catch (error) {
    log(`${file.path} cannot be read and is left out: ${firstLine(error)}`);
    return null;
  }
  return describeSealed(kind, file, file.path, new Map(), null);
}

/** A reader may not write: it takes the file as it is, with its write-ahead log where DuckDB can read that. */
async function attachUnsealed({ kind, catalog, log }: AttachContext, uid: string, path: string): Promise<Segment | null> {
  const alias = openAlias(kind, uid);
  try {
    await catalog.attachReadOnly(path, alias);
  } catch (error) {
    log(`${path} was not closed and cannot be read before the next \`serve\` or \`up\`: ${firstLine(error)}`);
    return null;
  }
  return { ...(await describeSealed(kind, { uid, level: 0, from_ns: 0n, to_ns: 0n }, path, new Map(), null)), alias };
}

async function sealLeftover(context: AttachContext, uid: string, path: string, from_ns: bigint): Promise<Segment | null> {
  const { kind, catalog, connection, tables, log } = context;
  const alias = openAlias(kind, uid);
  const segment: Segment = { kind, uid, level: 0, state: 'sealing', alias, path, from_ns, to_ns: from_ns, rows: null, bytes: 0, last_apply_no: null, born_ms: 0 };
  try {
    await catalog.attachWritable(path, alias);
  } catch (error) {
    // A file cut off while it was being created holds no row; anything else is kept for a person to look at.
    if (statSync(path).size <= EMPTY_DATABASE_BYTES && !existsSync(`${path}.wal`)) {
      await removeDatabase(path);
      return null;
    }
    if (isDiskFull(error)) throw error;
    for (const suffix of ['', '.wal']) if (existsSync(path + suffix)) renameSync(path + suffix, join(dirname(path), `damaged-${uid}.duckdb${suffix}`));
    log(`${path} is damaged and was set aside as damaged-${uid}.duckdb: ${firstLine(error)}`);
    return null;
  }
  const sealed = await sealUnread(connection, catalog, tables, segment);
  if (sealed === null) return null;
  const name = parseSealedName(basename(sealed.path)) as SealedName;
  return attachSealed(context, { ...name, path: sealed.path });
}

async function withContents(connection: DuckDBConnection, segments: readonly Segment[]): Promise<Segment[]> {
  const result = await connection.run(`SELECT database_name, table_name, estimated_size FROM duckdb_tables() WHERE schema_name = 'main'`);
  const rows = new Map<string, Map<string, number>>();
  for (const [alias, table, count] of (await result.getRowsJS()) as [string, string, bigint][]) {
    const counts = rows.get(alias) ?? new Map<string, number>();
    rows.set(alias, counts.set(tableOfPacked(table), Number(count)));
  }
  const numbered = await lastApplyNumbers(connection, segments.filter((segment) => rows.get(segment.alias)?.has('batches')).map((segment) => segment.alias));
  const lineages = await readLineages(connection, segments);
  return segments.map((segment) => ({ ...segment, lineage: lineages.get(segment.alias) ?? NO_LINEAGE, rows: rows.get(segment.alias) ?? new Map(), last_apply_no: numbered.get(segment.alias) ?? null }));
}
