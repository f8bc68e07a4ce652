// A rewritten segment names the ones whose rows it took over, inside itself: after a crash between its appearance and
// their deletion, this decides which of them count.
import { sqlName, sqlText } from './duckdb-instance.ts';
import type { Segment } from './segment-catalog.ts';
import type { StatementRunner } from './statement-runner.ts';

/** Segments that are gone, by uid, which the export ledger still speaks of. */
export interface Lineage {
  /** Their rows are in this one, unchanged. */
  readonly carries: ReadonlySet<string>;
  /** Their rows were computed again: this one holds what counts now. */
  readonly supersedes: ReadonlySet<string>;
}

/** What a file says of itself, beside the tables of its kind. */
export const OWN_TABLES: readonly string[] = ['replaced_segments', 'lineage'];

export const NO_LINEAGE: Lineage = { carries: new Set(), supersedes: new Set() };

/** Of a segment made of the inputs. Only uids that `known` still needs are kept, so that it stays short. */
export function lineageOf(inputs: readonly Segment[], recomputed: boolean, known: (uid: string) => boolean): Lineage {
  const carried = inputs.flatMap((input) => [input.uid, ...(input.lineage?.carries ?? [])]).filter(known);
  const before = inputs.flatMap((input) => [...(input.lineage?.supersedes ?? [])]).filter(known);
  return recomputed ? { carries: new Set(), supersedes: new Set([...before, ...carried]) } : { carries: new Set(carried), supersedes: new Set(before) };
}

/** Inside the file itself: no moment exists at which the rows are there and what they were called is not. */
export async function writeLineage(connection: StatementRunner, alias: string, { carries, supersedes }: Lineage): Promise<void> {
  const rows = [...[...carries].map((uid) => `(${sqlText(uid)}, false)`), ...[...supersedes].map((uid) => `(${sqlText(uid)}, true)`)];
  if (rows.length === 0) return;
  await connection.run(`CREATE TABLE ${sqlName(alias)}.main.lineage AS SELECT * FROM (VALUES ${rows.join(', ')}) AS t (uid, superseded)`);
}

export async function readLineages(connection: StatementRunner, segments: readonly Segment[]): Promise<Map<string, Lineage>> {
  const aliases = new Set(segments.map((segment) => segment.alias));
  const tables = await connection.run("SELECT database_name FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = 'lineage'");
  const found = new Map<string, { carries: Set<string>; supersedes: Set<string> }>();
  for (const [alias] of (await tables.getRowsJS()) as [string][]) {
    if (!aliases.has(alias)) continue;
    const rows = (await (await connection.run(`SELECT uid, superseded FROM ${sqlName(alias)}.main.lineage`)).getRowsJS()) as [string, boolean][];
    const uids = (superseded: boolean): Set<string> => new Set(rows.filter((row) => row[1] === superseded).map(([uid]) => uid));
    found.set(alias, { carries: uids(false), supersedes: uids(true) });
  }
  return found;
}

export async function writeReplaced(connection: StatementRunner, alias: string, uids: readonly string[]): Promise<void> {
  await connection.run(`CREATE TABLE ${sqlName(alias)}.main.replaced_segments (uid VARCHAR)`);
  await connection.run(`INSERT INTO ${sqlName(alias)}.main.replaced_segments VALUES ${uids.map((uid) => `(${sqlText(uid)})`).join(', ')}`);
}

export async function replacedSegments(connection: StatementRunner, segments: readonly Segment[]): Promise<Set<string>> {
  const aliases = new Set(segments.map((segment) => segment.alias));
  const tables = await connection.run("SELECT database_name FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = 'replaced_segments'");
  const found = (await tables.getRowsJS()).map(([name]) => name as string).filter((name) => aliases.has(name));
  if (found.length === 0) return new Set();
  const rows = await connection.run(found.map((alias) => `SELECT uid FROM ${sqlName(alias)}.main.replaced_segments`).join(' UNION ALL '));
  return new Set((await rows.getRowsJS()).map(([uid]) => uid as string));
}
