// One segment's rows of one relation as Parquet: a file for each date, hour and node, in order of time (events near each other by
// their socket, spans by their trace).
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { ExportFile } from '../../ingest/export-ledger.ts';
import { sqlName, sqlText } from '../../ingest/duckdb-instance.ts';
import { runQuery } from '../../ingest/duckdb-query.ts';
import type { Segment } from '../../ingest/segment-catalog.ts';
import { templateSchema } from '../../ingest/segment-tables.ts';
import { exportOrder, shapeOf, sortColumn, writtenColumns } from '../../ingest/parquet-columns.ts';
import type { StoredColumn } from '../../ingest/parquet-columns.ts';
import { syncPath } from '../../ingest/sync-path.ts';

const HOUR_NS = 3_600_000_000_000n;
/** Readers skip row groups by their times. */
const ROW_GROUP = 65_536;
/** Beyond so many values zstd alone packs a column smaller and sooner than numbers into a dictionary (docs/benchmarks.md, Bytes). */
const DICTIONARY = 1024;
/** Rows that belong to no node. */
const NO_NODE = 'all';

export interface StagedFile extends Pick<ExportFile, 'relation' | 'path' | 'rows' | 'bytes' | 'min_ns' | 'max_ns' | 'checksum' | 'shape'> {}

/** A file system's names have 255 bytes; a longer name of a node is cut, and told from its like by a hash. */
const MOST_NAME = 200;

/** date=2026-01-31/hour=05/node=web-1, UTC; a node's name is escaped as Hive does it. */
export function partitionPath(hour: bigint, node: string): string {
  const [date, time] = new Date(Number(hour) * 3_600_000).toISOString().split('T') as [string, string];
  const name = encodeURIComponent(node).replaceAll(/[!'()*.]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  const part = name.length <= MOST_NAME ? name : `${name.slice(0, MOST_NAME - 17).replace(/%.?$/, '')}-${createHash('sha256').update(node).digest('hex').slice(0, 16)}`;
  return `date=${date}/hour=${time.slice(0, 2)}/node=${part}`;
}

export async function columnsOf(connection: DuckDBConnection, kind: Segment['kind'], table: string): Promise<StoredColumn[]> {
  const { rows } = await runQuery(connection, `SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = 'memory' AND schema_name = $1 AND table_name = $2 ORDER BY column_index`, [templateSchema(kind), table]);
  return rows.map(([name, type]) => ({ name: name as string, type: type as string }));
}

/** What belongs to one hour and node. */
type Part = readonly [hour: bigint, node: string | null, rows: bigint, min_ns: bigint | null, max_ns: bigint | null];

/** Runs a COPY, whose result is nothing. */
export type Copy = (sql: string) => Promise<void>;

/** The segment's rows of the table; those of an older version may lack columns that the tables have now. */
function rowsOf({ alias }: Segment, table: string, columns: readonly StoredColumn[]): string {
  const none = columns.map(({ name, type }) => `CAST(NULL AS ${type}) AS ${sqlName(name)}`).join(', ');
  return `(SELECT ${none} WHERE false UNION ALL BY NAME SELECT * FROM ${sqlName(alias)}.main.${sqlName(table)})`;
}

/**
 * Below folder, under the paths that they will have; on disk when this settles. The same segment gives the same paths. A file is
 * mostly a single row group, which only one thread writes: so as many at a time as there are copies, which reach the segment under its alias.
 */
export async function writeSegment(connection: DuckDBConnection, copies: readonly Copy[], folder: string, segment: Segment, table: string): Promise<StagedFile[]> {
  const columns = await columnsOf(connection, segment.kind, table);
  const time = sortColumn(columns);
  const order = exportOrder(table, columns);
  const source = rowsOf(segment, table, columns);
  const node = columns.some(({ name }) => name === 'node') ? 'node' : 'NULL';
  const hour = time === null ? `CAST(${segment.from_ns / HOUR_NS} AS BIGINT)` : `coalesce(${time}, ${segment.from_ns}) // ${HOUR_NS}`;
  const { rows: parts } = await runQuery(connection, `SELECT ${hour}, ${node}, count(*), ${time === null ? 'NULL, NULL' : `min(${time}), max(${time})`} FROM ${source} GROUP BY 1, 2 ORDER BY 1, 2`);
  const shape = shapeOf(table, columns);
  const files: Promise<StagedFile>[] = [];
  async function writePart(copy: Copy, at: number): Promise<void> {
    const [part_hour, part_node, rows, min_ns, max_ns] = parts[at] as unknown as Part;
    const path = `${table}/${partitionPath(part_hour, part_node ?? NO_NODE)}/${segment.from_ns}-${segment.uid}.parquet`;
    const own = `${hour} = ${part_hour}${node === 'NULL' ? '' : ` AND node IS NOT DISTINCT FROM ${part_node === null ? 'NULL' : sqlText(part_node)}`}`;
    const select = `SELECT ${writtenColumns(table, columns)} FROM ${source} WHERE ${own}${order === null ? '' : ` ORDER BY ${order}`}`;
    const written = join(folder, path);
    await mkdir(dirname(written), { recursive: true });
    await copy(`COPY (${select}) TO ${sqlText(written)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${ROW_GROUP}, DICTIONARY_SIZE_LIMIT ${DICTIONARY})`);
    // Synced and summed up while the next one is written.
    files[at] = finishFile(written).then((finished) => ({ relation: table, path, rows, min_ns, max_ns, shape, ...finished }));
    files[at].catch(() => undefined);
  }
  let next = 0;
  const done = await Promise.allSettled(copies.map(async (copy) => {
    while (next < parts.length) await writePart(copy, next++);
  }));
  const finished = await Promise.allSettled(files);
  const failed = [...done, ...finished].find((one) => one.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return Promise.all(files);
}

/** Synced and summed up. */
export async function finishFile(path: string): Promise<{ bytes: bigint; checksum: string }> {
  await syncPath(path);
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return { bytes: BigInt((await stat(path)).size), checksum: hash.digest('hex') };
}
