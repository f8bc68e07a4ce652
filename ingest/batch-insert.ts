import type { DuckDBConnection } from '@duckdb/node-api';
import { RELATION_NAMES } from '../schema/relations.ts';
import type { Batch } from './batch.ts';
import type { BatchRows } from './duckdb-batch-rows.ts';
import { sqlName, sqlText } from './duckdb-instance.ts';
import type { Enumerations } from './few-values.ts';
import type { Missed } from './run-states.ts';

export interface Insertion {
  readonly connection: DuckDBConnection;
  readonly source: BatchRows;
  readonly alias: string;
  /** Of that file. */
  readonly enumerations: Enumerations | undefined;
  readonly apply_no: bigint;
  readonly missed: readonly Missed[];
  /** Settles when it is this batch's turn; an error undoes it. */
  beforeCommit(): Promise<void>;
}

/** All rows of a checked batch and the row that says it was applied, in one transaction. */
export async function insertBatch(batch: Batch, { connection, source, alias, enumerations, apply_no, missed, beforeCommit }: Insertion): Promise<void> {
  const target = `${sqlName(alias)}.main`;
  const origin = `${sqlText(batch.node)} AS node, ${sqlText(batch.boot_id)} AS boot_id, ${batch.run_id}::BIGINT AS run_id`;
  let rows = 0;
  // Said at once: on busy processors each answer takes milliseconds to come.
  const statements = ['BEGIN'];
  try {
    for (const relation of RELATION_NAMES) {
      const table = batch.tables[relation];
      if (table === undefined || table.rows === 0) continue;
      source.set(relation, table, enumerations?.get(relation));
      const numbered = relation === 'messages' ? `, ${apply_no}::BIGINT AS apply_no` : '';
      statements.push(`INSERT INTO ${target}.${sqlName(relation)} BY NAME SELECT ${origin}${numbered}, * FROM ${source.functionName(relation)}()`);
      rows += table.rows;
    }
    for (const { from_ns, to_ns, cause } of missed) {
      statements.push(`INSERT INTO ${target}.losses BY NAME SELECT ${origin}, NULL::INTEGER AS cpu, ${from_ns}::BIGINT AS from_ns, ${to_ns}::BIGINT AS to_ns, NULL::BIGINT AS events_lost, '${cause}' AS cause`);
    }
    statements.push(
      `INSERT INTO ${target}.batches BY NAME SELECT ${origin}, ${batch.sequence}::BIGINT AS sequence, ${apply_no}::BIGINT AS apply_no, ${batch.schema_version} AS schema_version,
        ${batch.watermark_ns}::BIGINT AS watermark_ns, ${batch.mono_ns}::BIGINT AS mono_ns, ${batch.utc_ns}::BIGINT AS utc_ns, ${batch.error_ns}::BIGINT AS error_ns, ${batch.final} AS final, ${rows} AS rows`,
    );
    await connection.run(statements.join(';\n'));
    await beforeCommit();
    await connection.run('COMMIT');
  } catch (error) {
    await connection.run('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    source.clear();
  }
}

/** Whether the batch is there after all. Unknown: the file cannot be read now. */
export async function hasLanded(connection: DuckDBConnection, alias: string, batch: Batch, apply_no: bigint): Promise<boolean | 'unknown'> {
  const found = await connection
    .run(`SELECT 1 FROM ${sqlName(alias)}.main.batches WHERE apply_no = ${apply_no} AND run_id = ${batch.run_id} AND sequence = ${batch.sequence}`)
    .catch(() => null);
  return found === null ? 'unknown' : (await found.getRows()).length > 0;
}
