import { BatchStream } from '../ingest/batch-stream.ts';
import type { Batch } from '../ingest/batch.ts';
import { SpoolSender } from '../ingest/spool-sender.ts';
import { Spool, type SpoolBatch, type SpooledLoss } from '../ingest/spool.ts';
import { clientToken, requirePlainUrl, type ClientTokenOptions } from './client-token.ts';
import { YIELDING } from './priority.ts';
import { dropToOwner, ensureDataFolder } from './privileges.ts';
import { BatchQueue } from './batch-queue.ts';
import { Collector, type CaptureOptions } from './collector.ts';
import { sleep, stopSignal } from './signals.ts';

export interface CollectOptions extends CaptureOptions, ClientTokenOptions {
  readonly to: string;
  readonly spool: string;
  readonly spoolLimit: number;
  readonly compress: 'none' | 'gzip';
}

interface Encoded {
  readonly named: SpoolBatch;
  readonly stream: BatchStream;
  readonly bytes: Uint8Array;
}

/** That wait for the disk before no more are made. */
const MOST_WAITING = 4;
const MOST_SPARE_STREAMS = 2;

/** Oldest and newest time of a batch's socket events, ns since 1970; the watermark when it has none. */
function timeRange(batch: Batch): { from_ns: bigint; to_ns: bigint } {
  const times = batch.tables.socket_events.columns['ts_ns'];
  if (times?.type !== 'int64' || times.values.length === 0) return { from_ns: batch.watermark_ns, to_ns: batch.watermark_ns };
  const { values } = times;
  const words = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const after = (a: number, b: number): boolean => {
    const [high_a, high_b] = [words[a * 2 + 1] as number, words[b * 2 + 1] as number];
    return high_a === high_b ? (words[a * 2] as number) >>> 0 > (words[b * 2] as number) >>> 0 : high_a > high_b;
  };
  let [from, to] = [0, 0];
  for (let row = 1; row < values.length; row += 1) {
    if (after(from, row)) from = row;
    if (after(row, to)) to = row;
  }
  return { from_ns: values[from] as bigint, to_ns: values[to] as bigint };
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
  const sender = new SpoolSender(spool, { url: options.to, compress: options.compress, ...(token === undefined ? {} : { token }), log, on_refused: (lost) => countLoss('undecodable', lost) });
  const spare: BatchStream[] = [];
  let ending = false;
  const queue = new BatchQueue<Encoded>({
    limit: MOST_WAITING,
    apply: async ({ named, bytes }) => {
      const lost = await spool.put(named, bytes);
      if (lost !== undefined) {
        countLoss('spool_full', lost);
        log(`the spool is over ${options.spoolLimit} bytes: dropped ${lost.events} of the oldest events`);
      }
      sender.notify();
    },
    on_applied: ({ stream }) => {
      if (spare.length < MOST_SPARE_STREAMS) spare.push(stream);
    },
    on_pressure: (full) => (full ? collector?.pause() : collector?.resume()),
    on_error: async (error) => {
      // A full disk may pass; the end does not wait for it: the next run's first batch says from when on nothing is known.
      if (ending) throw error;
      log((error as Error).message);
      await sleep(1000);
    },
  });
  const take = (batch: Batch): void => {
    const stream = spare.pop() ?? new BatchStream();
    queue.push({ named: { run_id: batch.run_id, sequence: batch.sequence, events: batch.tables.socket_events.rows, ...timeRange(batch) }, stream, bytes: stream.encode(batch) });
    collector?.assembler.giveBack(batch);
  };
  collector = await Collector.start({ ...options, nice: options.nice ?? YIELDING, burst_folder: options.spool }, { on_batch: take, log: (line) => log(`loader: ${line}`) });
  dropToOwner(options.spool);
  await collector.ready;
  sender.start();
  const stopped = stopSignal();
  console.log(`collecting, sending to ${options.to}`);
  const early = await Promise.race([stopped.then(() => undefined), collector.ended]);
  await collector.stop();
  ending = true;
  const [drained] = await Promise.allSettled([queue.drain()]);
  await sender.stop(5000);
  if (spool.length > 0) log(`${spool.length} batches are not acknowledged yet; they wait in ${options.spool} for the next start`);
  if (drained.status === 'rejected') throw drained.reason;
  if (early !== undefined) throw early;
}
