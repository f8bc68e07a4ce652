// One new segment in place of several sealed ones. It is written under a temporary name, names its inputs inside itself,
// appears by a rename, and only then do the inputs go: at every moment one of the two counts.
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { checkpointUnmerged } from './checkpoint.ts';
import { removeDatabase } from './segment-catalog.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import { newUid, sealedName, tempName } from './segment-names.ts';
import type { SegmentKind } from './segment-names.ts';
import { OWN_TABLES, lineageOf, writeLineage, writeReplaced } from './segment-replaced.ts';
import { describeSealed } from './segment-seal.ts';
import { countRows } from './segment-tables.ts';
import type { StatementRunner } from './statement-runner.ts';

/** Where the new file is written. */
export interface FileMaker {
  /** Stands for the instance of DuckDB. */
  readonly instance: object;
  readonly connection: StatementRunner;
  /** With all tables of its kind, empty. */
  create(path: string, kind: SegmentKind, made: { uid: string; alias: string }): Promise<void>;
  detach(alias: string): Promise<void>;
}

export interface RewriteContext {
  readonly folder: string;
  readonly maker: FileMaker;
  readonly catalog: SegmentCatalog;
  /** The export ledger speaks of rows by this uid. */
  readonly known: (uid: string) => boolean;
}

export interface Rewrite {
  readonly kind: SegmentKind;
  readonly inputs: readonly Segment[];
  readonly level: number;
  /** The rows are not the inputs' own but computed again. */
  readonly recomputed?: boolean;
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  /** Writes all rows of the new segment; its tables are there, empty. */
  fill(alias: string): Promise<void>;
  /** Waits for the moment at which the views may change, where their rows do. */
  when?(swap: () => Promise<void>): Promise<void>;
}

/** Settles when the new segment is what the views show; `retired` when the inputs' files are gone. */
export async function rewriteSegments(context: RewriteContext, job: Rewrite): Promise<{ segment: Segment; retired: Promise<void> }> {
  const { folder, maker, catalog } = context;
  const { connection } = maker;
  const { kind, inputs, level, from_ns, to_ns } = job;
  const uid = newUid();
  const lineage = lineageOf(inputs, job.recomputed ?? false, context.known);
  const temp_path = join(folder, kind, tempName(uid));
  const temp_alias = `${kind}_${uid}_temp`;
  let rows: Map<string, number>;
  try {
    await maker.create(temp_path, kind, { uid, alias: temp_alias });
    await job.fill(temp_alias);
    // What the inputs replaced is not gone yet, perhaps: they go first, and nothing else would say that it does not count.
    const replaced = [...inputs, ...catalog.leaving(kind)].map((segment) => segment.uid);
    if (replaced.length > 0) await writeReplaced(connection, temp_alias, replaced);
    await writeLineage(connection, temp_alias, lineage);
    await checkpointUnmerged(maker.instance, connection, temp_alias);
    rows = await countRows(connection, temp_alias);
    if (job.recomputed !== true) requireAll(inputs, rows);
    await maker.detach(temp_alias);
  } catch (error) {
    await connection.run('ROLLBACK').catch(() => undefined);
    await maker.detach(temp_alias).catch(() => undefined);
    await removeDatabase(temp_path);
    throw error;
  }
  const path = join(folder, kind, sealedName({ level, from_ns, to_ns, uid }));
  await rename(temp_path, path);
  const segment: Segment = { ...(await describeSealed(kind, { uid, level, from_ns, to_ns }, path, rows, kind === 'raw' ? newest(inputs) : null)), lineage };
  catalog.noteWhole(uid);
  try {
    await catalog.attachReadOnly(path, segment.alias);
    const swap = (): Promise<void> => catalog.publish(kind, (segments) => [...segments.filter((other) => !inputs.includes(other)), segment]);
    await (job.when === undefined ? swap() : job.when(swap));
  } catch (error) {
    await catalog.detach(segment.alias).catch(() => undefined);
    await removeDatabase(path).catch(() => catalog.leaves(segment));
    throw error;
  }
  return { segment, retired: catalog.retire(inputs) };
}

/** Before the inputs go: none of their rows may be missing. */
function requireAll(inputs: readonly Segment[], rows: ReadonlyMap<string, number>): void {
  for (const [table, count] of rows) {
    if (OWN_TABLES.includes(table)) continue;
    const before = inputs.reduce((sum, input) => (input.rows === null ? NaN : sum + (input.rows.get(table) ?? 0)), 0);
    if (!Number.isNaN(before) && before !== count) throw new Error(`${count} of ${before} rows of ${table} were copied; the files stay as they are`);
  }
}

function newest(inputs: readonly Segment[]): bigint | null {
  return inputs.reduce<bigint | null>((last, { last_apply_no: own }) => (last === null || own === null ? null : own > last ? own : last), 0n);
}
