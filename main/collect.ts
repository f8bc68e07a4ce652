import { encodeBatches } from '../ingest/arrow-format.ts';
import type { Batch } from '../ingest/batch.ts';
import { SpoolSender } from '../ingest/spool-sender.ts';
import { Spool, type SpooledLoss } from '../ingest/spool.ts';
import { clientToken, requirePlainUrl, type ClientTokenOptions } from './client-token.ts';
import { dropToOwner, ensureDataFolder } from './privileges.ts';
import { BatchQueue } from './batch-queue.ts';
import { Collector, type CaptureOptions } from './collector.ts';
import { sleep, stopSignal } from './signals.ts';

export interface CollectOptions extends CaptureOptions, ClientTokenOptions {
  readonly to: string;
  readonly spool: string;
  readonly spoolLimit: number;
}

/** Oldest and newest time of a batch's socket events, ns since 1970; the watermark when it has none. */
function timeRange(batch: Batch): { from_ns: bigint; to_ns: bigint } {
  const times = batch.tables.socket_events.columns['ts_ns'];
  if (times?.type !== 'int64' || times.values.length === 0) return { from_ns: batch.watermark_ns, to_ns: batch.watermark_ns };
  let from_ns = times.values[0] ?? 0n;
  let to_ns = from_ns;
  for (const value of times.values.subarray(0, batch.tables.socket_events.rows)) {
    if (value < from_ns) from_ns = value;
    if (value > to_ns) to_ns = value;
  }
  return { from_ns, to_ns };
}

/** `collect`: events go to a warehouse elsewhere, and wait on disk until it has them. */
export async function collect(options: CollectOptions): Promise<void> {
  const log = (line: string): void => console.error(`tracehouse: ${line}`);
  // Its file may be root's alone.
  const token = clientToken(requirePlainUrl('--to', options.to), options, log);
  ensureDataFolder(options.spool);
  const spool = Spool.open(options.spool, options.spoolLimit);
  let collector: Collector | undefined;
  const countLoss = (cause: 'spool_full' | 'undecodable', lost: SpooledLoss): void => collector?.assembler.addLoss({ cause, from_ns: lost.from_ns, to_ns: lost.to_ns, events_lost: BigInt(lost.events) });
  const sender = new SpoolSender(spool, { url: options.to, ...(token === undefined ? {} : { token }), log, on_refused: (lost) => countLoss('undecodable', lost) });
  const queue = new BatchQueue({
    apply: async (batch) => {
      const lost = await spool.put({ run_id: batch.run_id, sequence: batch.sequence, events: batch.tables.socket_events.rows, ...timeRange(batch) }, encodeBatches([batch]));
      if (lost !== undefined) {
        countLoss('spool_full', lost);
        log(`the spool is over ${options.spoolLimit} bytes: dropped ${lost.events} of the oldest events`);
      }
      sender.notify();
    },
    on_pressure: (full) => (full ? collector?.pause() : collector?.resume()),
    on_error: async (error) => {
      log((error as Error).message);
      await sleep(1000);
    },
  });
  collector = Collector.start({ ...options, burst_folder: options.spool }, { on_batch: (batch) => queue.push(batch), log: (line) => log(`loader: ${line}`) });
  dropToOwner(options.spool);
  await collector.ready;
  sender.start();
  console.log(`collecting, sending to ${options.to}`);
  const early = await Promise.race([stopSignal().then(() => undefined), collector.ended]);
  await collector.stop();
  await queue.drain();
  await sender.stop(5000);
  if (spool.length > 0) log(`${spool.length} batches are not acknowledged yet; they wait in ${options.spool} for the next start`);
  if (early !== undefined) throw early;
}
