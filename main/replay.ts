// `replay`: recorded batches through the same path as live ones: into a running tracehouse over HTTP, else into the folder.
import { encodeBatches } from '../ingest/arrow-format.ts';
import type { Batch } from '../ingest/batch.ts';
import { readRecording } from '../ingest/recording.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { TracehouseError } from '../schema/errors.ts';
import { requestText } from '../api/cli/http-client.ts';
import { runningSource } from './client.ts';
import { dropToOwner, ensureDataFolder } from './privileges.ts';

export interface ReplayOptions {
  readonly data: string;
  readonly url?: string;
  readonly json?: boolean;
  readonly memoryLimit: string;
}

interface Counts {
  files: number;
  batches: number;
  duplicates: number;
  events: number;
}

/** Where batches go. */
interface Sink {
  apply(batch: Batch): Promise<'applied' | 'duplicate'>;
  close(): Promise<void>;
}

async function folderSink(options: ReplayOptions): Promise<Sink> {
  ensureDataFolder(options.data);
  dropToOwner(options.data);
  const warehouse = await Warehouse.open({ folder: options.data, memory_limit: options.memoryLimit });
  const correlator = new Correlator(warehouse);
  let since_cycle = 0;
  return {
    apply: async (batch) => {
      const { status } = await warehouse.apply(batch);
      since_cycle += 1;
      if (since_cycle >= 20) {
        since_cycle = 0;
        await correlator.cycle();
      }
      return status;
    },
    close: async () => {
      await correlator.finish();
      await warehouse.close();
    },
  };
}

/** Applies every batch of the files, in order. What was read before a damaged place is applied; then the error comes. */
export async function replayInto(sink: Sink, files: readonly string[], on_progress: (counts: Counts) => void): Promise<Counts> {
  const counts: Counts = { files: 0, batches: 0, duplicates: 0, events: 0 };
  for (const file of files) {
    for await (const batch of readRecording(file)) {
      if ((await sink.apply(batch)) === 'duplicate') counts.duplicates += 1;
      else {
        counts.batches += 1;
        counts.events += batch.tables.socket_events.rows;
      }
      on_progress(counts);
    }
    counts.files += 1;
  }
  return counts;
}

export async function replay(files: readonly string[], options: ReplayOptions): Promise<void> {
  const running = await runningSource(options);
  const sink: Sink =
    running === undefined
      ? await folderSink(options)
      : {
          apply: async (batch) => {
            const answer = await requestText(running.address, { method: 'POST', path: '/api/v1/ingest', headers: { 'content-type': 'application/vnd.apache.arrow.stream' }, body: encodeBatches([batch]) });
            if (answer.status >= 300) throw new TracehouseError('ingest', `the running tracehouse answered ${answer.status}: ${answer.body.slice(0, 500)}`);
            return (JSON.parse(answer.body) as { duplicates: number }).duplicates > 0 ? 'duplicate' : 'applied';
          },
          close: () => running.close(),
        };
  const tty = process.stderr.isTTY;
  let last: Counts | undefined;
  let failed: unknown;
  try {
    last = await replayInto(sink, files, (counts) => {
      last = counts;
      if (tty && counts.batches % 10 === 0) process.stderr.write(`\r${counts.events} socket events `);
    });
  } catch (error) {
    failed = error;
  }
  await sink.close();
  if (tty) process.stderr.write('\r');
  if (options.json === true) console.log(JSON.stringify(last ?? {}));
  else if (last !== undefined) console.log(`${last.events} socket events in ${last.batches} batches from ${files.length} file${files.length === 1 ? '' : 's'}${last.duplicates > 0 ? `; ${last.duplicates} batches were there already` : ''}`);
  if (failed !== undefined) throw failed;
}
