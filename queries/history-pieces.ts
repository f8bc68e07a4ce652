// Stored history in parts that fit into memory: chunks of neighbouring segments that give way to one, and pieces of a chunk that are worked on at a time.
import type { DuckDBConnection } from '@duckdb/node-api';
import type { DerivedSegment, Warehouse } from '../ingest/warehouse.ts';

export interface Chunk {
  readonly ids: readonly string[];
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

/** Of a chunk: what ended in (from_ns, to_ns]. */
export interface Piece {
  readonly chunk: Chunk;
  readonly first: boolean;
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  /** Which of the chunk's stored rows are its: what landed late is stored with later rows, and is the first piece's. */
  readonly own: string;
}

/** A large segment is divided into so many slices at most, of so much at least, and these are put together. */
const MOST_SLICES = 100_000n;
const LEAST_SLICE_NS = 10_000_000n;

const sizesOf = (warehouse: Warehouse): ReadonlyMap<string, number> => new Map(warehouse.segments.map((segment) => [segment.uid, segment.rows?.get('spans') ?? 0]));

/** Spans; of an open segment it is not known. */
export function spansIn(warehouse: Warehouse, ids: readonly string[]): number {
  const sizes = sizesOf(warehouse);
  return ids.reduce((sum, id) => sum + (sizes.get(id) ?? 0), 0);
}

/** Neighbours are done together. `segments`: in order of time. */
export function firstChunk(warehouse: Warehouse, segments: readonly DerivedSegment[], most: { readonly spans: number; readonly segments: number }): Chunk | undefined {
  const [first] = segments;
  if (first === undefined) return undefined;
  const sizes = sizesOf(warehouse);
  const ids: string[] = [];
  let [to_ns, size] = [first.to_ns, 0];
  for (const segment of segments) {
    size += sizes.get(segment.id) ?? 0;
    if (ids.length > 0 && (size > most.spans || ids.length === most.segments || segment.from_ns > to_ns)) break;
    ids.push(segment.id);
    if (segment.to_ns > to_ns) to_ns = segment.to_ns;
  }
  return { ids, from_ns: first.from_ns, to_ns };
}

/** Of about so many spans each, in order of time. The chunk's segments are sealed by now. */
export async function piecesOf(warehouse: Warehouse, connection: DuckDBConnection, chunk: Chunk, most_spans: number): Promise<Piece[]> {
  const { from_ns, to_ns, ids } = chunk;
  const cuts = spansIn(warehouse, ids) <= most_spans ? [] : await cutsOf(connection, rowsNow(warehouse, ids, 'spans'), chunk, most_spans);
  return [...cuts, to_ns].map((end_ns, at) => {
    const begins_ns = cuts[at - 1] ?? from_ns;
    const own = [...(at > 0 ? [`end_ns > ${begins_ns}`] : []), ...(at < cuts.length ? [`end_ns <= ${end_ns}`] : [])].join(' AND ') || 'true';
    return { chunk, first: at === 0, from_ns: begins_ns, to_ns: end_ns, own };
  });
}

async function cutsOf(connection: DuckDBConnection, spans: string, { from_ns, to_ns }: Chunk, most_spans: number): Promise<bigint[]> {
  const found = await connection.runAndReadAll(`SELECT coalesce(min(end_ns), 0), coalesce(max(end_ns), 0) FROM ${spans} WHERE end_ns > ${from_ns}`);
  const [first_ns, last_ns] = found.getRows()[0] as [bigint, bigint]; // the oldest segment begins in 1970
  const slice_ns = (last_ns - first_ns) / MOST_SLICES > LEAST_SLICE_NS ? (last_ns - first_ns) / MOST_SLICES : LEAST_SLICE_NS;
  const counted = await connection.runAndReadAll(`SELECT (greatest(end_ns, ${first_ns}) - ${first_ns}) // ${slice_ns} AS slice, count(*) FROM ${spans} GROUP BY slice ORDER BY slice`);
  const cuts: bigint[] = [];
  let sum = 0;
  for (const [slice, count] of counted.getRows() as [bigint, bigint][]) {
    const begins_ns = first_ns + slice * slice_ns - 1n; // what ends then is of the slice before
    if (sum > 0 && sum + Number(count) > most_spans && begins_ns > from_ns && begins_ns < to_ns) {
      cuts.push(begins_ns);
      sum = 0;
    }
    sum += Number(count);
  }
  return cuts;
}

/** Of the segments that are done again, as they are stored. */
export function rowsNow(warehouse: Warehouse, ids: readonly string[], table: string): string {
  const segments = warehouse.segments.filter((segment) => segment.kind === 'derived' && ids.includes(segment.uid) && segment.state === 'sealed');
  return `(${[`(SELECT * FROM memory.stored.${table} LIMIT 0)`, ...segments.map((segment) => `(SELECT * FROM "${segment.alias}".main.${table})`)].join(' UNION ALL BY NAME ')})`;
}

export const rowsOfPiece = (warehouse: Warehouse, { chunk, own }: Piece, table: string): string => `(FROM ${rowsNow(warehouse, chunk.ids, table)} WHERE ${own})`;
