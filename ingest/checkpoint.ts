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

/** Of each instance, whose setting it is: checkpoints that leave row groups as they are. */
const unmerged = new WeakMap<object, number>();

/**
 * The same; row groups that are not full stay as they are. Put together they are written a second time, and where they were stays in the file, empty.
 * The setting is the whole instance's (any object that stands for it): another checkpoint meanwhile leaves them, too.
 */
export async function checkpointUnmerged(instance: object, connection: StatementRunner, alias: string, failed?: (error: unknown) => Promise<unknown>): Promise<void> {
  const hold = async (more: 1 | -1): Promise<void> => {
    const before = unmerged.get(instance) ?? 0;
    unmerged.set(instance, before + more);
    if (before === 0 || before + more === 0) await connection.run(more === 1 ? 'SET GLOBAL max_vacuum_tasks = 0' : 'RESET GLOBAL max_vacuum_tasks');
  };
  try {
    await hold(1);
    await checkpointWhenFree(connection, alias, failed);
  } catch (error) {
    await hold(-1).catch(() => undefined); // where DuckDB has given up on everything it fails, too, and says less
    throw error;
  }
  await hold(-1);
}
