import { Cron } from 'croner';
import { TracehouseError } from '../../schema/errors.ts';

/** Error: export-cron. */
export function checkCron(cron: string): void {
  try {
    const job = new Cron(cron, { paused: true, timezone: 'UTC' });
    if (job.nextRun() === null) throw new Error('it is never due');
  } catch (error) {
    throw new TracehouseError('export-cron', `'${cron}' is no schedule: ${(error as Error).message}`, { mend: "write minute, hour, day, month and weekday, in UTC: '5 * * * *'" });
  }
}

export const nextRun = (cron: string): Date | null => new Cron(cron, { paused: true, timezone: 'UTC' }).nextRun();

/** Calls work when it is due, and not while an earlier call lasts. */
export function schedule(cron: string, work: () => Promise<void>): { stop(): void } {
  return new Cron(cron, { timezone: 'UTC', protect: true, unref: true, catch: true }, work);
}
