// CHECKPOINT of an attached database. A transaction that has committed may still be cleaned up after, or held as "active" by a
// reader that began before it: DuckDB refuses the checkpoint meanwhile, which says nothing about the file.
import { setTimeout as delay } from 'node:timers/promises';
import { isBusy } from './duckdb-errors.ts';
import { sqlName } from './duckdb-instance.ts';
import type { StatementRunner } from './statement-runner.ts';

const MOST_TRIES = 100;
const RETRY_MS = 50;

/** Tries for five seconds. `failed` is awaited after each failure, whatever its reason. */
export async function checkpointWhenFree(connection: StatementRunner, alias: string, failed?: (error: unknown) => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await connection.run(`CHECKPOINT ${sqlName(alias)}`);
      return;
    } catch (error) {
      await failed?.(error);
      if (!isBusy(error) || tries === MOST_TRIES) throw error;
      await delay(RETRY_MS);
    }
  }
}

/**
 * The same; row groups that are not full stay as they are. Put together they are written a second time, and where they were stays in the
 * file, empty. The setting is the whole instance's: at worst another checkpoint meanwhile does what this one leaves out, or the reverse.
 */
export async function checkpointUnmerged(connection: StatementRunner, alias: string, failed?: (error: unknown) => Promise<unknown>): Promise<void> {
  await connection.run('SET GLOBAL max_vacuum_tasks = 0');
  try {
    await checkpointWhenFree(connection, alias, failed);
  } finally {
    await connection.run('RESET GLOBAL max_vacuum_tasks');
  }
}
