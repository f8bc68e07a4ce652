import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { openRecordingWriter } from '../ingest/recording.ts';
import type { RecordingWriter } from '../ingest/recording.ts';
import { TracehouseError } from '../schema/errors.ts';
import { Collector, type CaptureOptions } from './collector.ts';
import { YIELDING } from './priority.ts';
import { sleep, stopSignal } from './signals.ts';

export interface RecordOptions extends CaptureOptions {
  readonly out: string;
  readonly seconds?: number;
}

/** Batches that may wait for the disk before no more are made. */
const MOST_QUEUED = 4;
const BURST_SHARE = 4;

/** Of the free disk: what waits, and what is made of it, must both find room. */
async function burstBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return Math.max(2 ** 20, Math.min(2 ** 40, Math.floor((bavail * bsize) / BURST_SHARE)));
}

/** Said before anything is traced; what is there stays until something replaces it. Error: recording. */
async function requireWritable(path: string): Promise<void> {
  try {
    const there = await stat(path).catch(() => undefined);
    if (there?.isDirectory() === true) throw new Error('it is a folder');
    await access(there === undefined ? dirname(resolve(path)) : path, constants.W_OK);
  } catch (cause) {
    throw new TracehouseError('recording', `cannot write ${path}: ${(cause as Error).message}`, { mend: 'name a writable file with --out', cause });
  }
}

/** `record`: raw events to an Arrow IPC file until the time is up or a signal comes. */
export async function record(options: RecordOptions): Promise<void> {
  await requireWritable(options.out);
  let opened: (writer: RecordingWriter) => void = () => undefined;
  const writer_opened = new Promise<RecordingWriter>((settle) => (opened = settle));
  let events = 0;
  let batches = 0;
  let queued = 0;
  let failed: unknown;
  let writing: Promise<void> = Promise.resolve();
  const folder = dirname(resolve(options.out));
  // A recording can wait: the traced programs come first, as long as there is room for what they do.
  const collector = await Collector.start({ ...options, nice: options.nice ?? YIELDING, burst: options.burst ?? (await burstBytes(folder)), burst_folder: folder, give_way: true }, {
    log: (line) => console.error(`loader: ${line}`),
    on_batch: (batch) => {
      events += batch.tables.socket_events.rows;
      batches += 1;
      queued += 1;
      if (queued >= MOST_QUEUED) collector.pause();
      writing = writing.then(async () => (await writer_opened).write(batch)).then(() => collector.assembler.giveBack(batch)).catch((error: unknown) => {
        failed ??= error;
      }).finally(() => {
        queued -= 1;
        if (queued < MOST_QUEUED) collector.resume();
      });
    },
  });
  await collector.ready;
  const writer = await openRecordingWriter(options.out).catch(async (error: unknown) => {
    await collector.stop();
    throw error;
  });
  opened(writer);
  // Whoever reads the line may send the signal at once.
  const stopped = stopSignal();
  console.error(`recording to ${options.out}${options.seconds === undefined ? '; Ctrl-C ends it' : ` for ${options.seconds} s`}`);
  const shown = process.stderr.isTTY ? setInterval(() => process.stderr.write(`\r${events} socket events, ${batches} batches `), 500) : undefined;
  const early = await Promise.race([
    stopped.then(() => undefined),
    collector.ended,
    ...(options.seconds === undefined ? [] : [sleep(options.seconds * 1000).then(() => undefined)]),
    (async () => {
      while (failed === undefined) await sleep(100);
      return undefined;
    })(),
  ]);
  const ended = performance.now();
  if (process.stderr.isTTY) process.stderr.write('\rwriting what waits (Ctrl-C again leaves it out) ');
  await collector.stop();
  clearInterval(shown);
  await writing;
  await writer.close();
  if (failed !== undefined) {
    throw new TracehouseError('recording', `cannot write ${options.out}: ${(failed as Error).message}; it holds what was written before`, { mend: 'free some space, or name another file with --out', cause: failed });
  }
  if (early !== undefined) throw early;
  const { waited_bytes: waited = 0 } = collector.assembler.counters;
  const after = waited === 0 ? '' : `; up to ${Math.ceil(waited / 2 ** 20)} MiB waited on disk, written in ${((performance.now() - ended) / 1000).toFixed(1)} s after the end`;
  console.error(`\r${options.out}: ${events} socket events in ${batches} batches${after}`);
}
