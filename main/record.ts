import { dirname, resolve } from 'node:path';
import { openRecordingWriter } from '../ingest/recording.ts';
import { TracehouseError } from '../schema/errors.ts';
import { Collector, type CaptureOptions } from './collector.ts';
import { sleep, stopSignal } from './signals.ts';

export interface RecordOptions extends CaptureOptions {
  readonly out: string;
  readonly seconds?: number;
}

/** `record`: raw events to an Arrow IPC file until the time is up or a signal comes. */
export async function record(options: RecordOptions): Promise<void> {
  const writer = await openRecordingWriter(options.out);
  let events = 0;
  let batches = 0;
  let failed: unknown;
  let writing: Promise<void> = Promise.resolve();
  // A recording can wait: the traced programs come first, as long as there is room for what they do.
  const collector = Collector.start({ ...options, burst_folder: dirname(resolve(options.out)), give_way: true }, {
    log: (line) => console.error(`loader: ${line}`),
    on_batch: (batch) => {
      events += batch.tables.socket_events.rows;
      batches += 1;
      writing = writing.then(() => writer.write(batch)).catch((error: unknown) => {
        failed ??= error;
      });
    },
  });
  await collector.ready;
  console.error(`recording to ${options.out}${options.seconds === undefined ? '; Ctrl-C ends it' : ` for ${options.seconds} s`}`);
  const shown = process.stderr.isTTY ? setInterval(() => process.stderr.write(`\r${events} socket events, ${batches} batches `), 500) : undefined;
  const early = await Promise.race([
    stopSignal().then(() => undefined),
    collector.ended,
    ...(options.seconds === undefined ? [] : [sleep(options.seconds * 1000).then(() => undefined)]),
    (async () => {
      while (failed === undefined) await sleep(100);
      return undefined;
    })(),
  ]);
  if (process.stderr.isTTY) process.stderr.write('\rwriting what waits ');
  await collector.stop();
  clearInterval(shown);
  await writing;
  await writer.close();
  if (failed !== undefined) {
    throw new TracehouseError('recording', `cannot write ${options.out}: ${(failed as Error).message}; it holds what was written before`, { mend: 'free some space, or name another file with --out', cause: failed });
  }
  if (early !== undefined) throw early;
  console.error(`\r${options.out}: ${events} socket events in ${batches} batches`);
}
