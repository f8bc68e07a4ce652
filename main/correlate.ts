import { availableParallelism } from 'node:os';
import { requestText } from '../api/cli/http-client.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import type { ChangeReport } from '../queries/history-changes.ts';
import { recorrelate } from '../queries/recorrelate.ts';
import { TracehouseError } from '../schema/errors.ts';
import { requireDataFolder, runningSource, type SourceOptions } from './client.ts';
import { dropToOwner } from './privileges.ts';

export interface CorrelateOptions extends SourceOptions {
  readonly from?: bigint;
  readonly to?: bigint;
  readonly json?: boolean;
  readonly memoryLimit: string;
}

/** `correlate`: history again under today's rules; says what changed. */
export async function correlate(options: CorrelateOptions): Promise<void> {
  const from_ns = options.from ?? 0n;
  const to_ns = options.to ?? BigInt(Date.now()) * 1_000_000n;
  if (from_ns > to_ns) throw new TracehouseError('range', '--from is later than --to', { mend: 'swap them', exit_code: 2 });
  const running = await runningSource(options);
  let report: ChangeReport;
  if (running !== undefined) {
    const answer = await requestText(running.address, {
      method: 'POST',
      path: '/api/v1/correlate',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ from_ns: String(from_ns), to_ns: String(to_ns) }),
    });
    await running.close();
    if (answer.status >= 300) throw new TracehouseError('correlate', `the running tracehouse answered ${answer.status}: ${answer.body.slice(0, 500)}`);
    report = JSON.parse(answer.body) as ChangeReport;
  } else {
    requireDataFolder(options.data);
    dropToOwner(options.data);
    // Alone with the folder, it is a quarter faster with all cores, at a third more processor time.
    const warehouse = await Warehouse.open({ folder: options.data, memory_limit: options.memoryLimit, threads: availableParallelism() });
    try {
      const tty = process.stderr.isTTY;
      report = await recorrelate(warehouse, { from_ns, to_ns, ...(tty ? { progress: (done: number, of: number) => process.stderr.write(`\r${done} of ${of} spans `) } : {}) });
      if (tty) process.stderr.write('\r');
    } finally {
      await warehouse.close();
    }
  }
  if (options.json === true) console.log(JSON.stringify(report));
  else console.log(`${report.spans} spans: ${report.unchanged} links unchanged, ${report.links_gained} gained, ${report.links_lost} lost, ${report.links_moved} moved${report.kept > 0 ? `; ${report.kept} stay as they were, as the raw rows that they came of are gone` : ''}`);
}
