// A process that runs strangers' SQL: one statement at a time, over files that it may only read. Told on standard input what to run, a line
// of JSON each; answers in frames on standard output. It is killed when it takes too long, and dies when it takes too much memory:
// neither harms the process that stores events.
import { createInterface } from 'node:readline';
import { SealedReader } from '../../ingest/sealed-reader.ts';
import type { VisibleSegment } from '../../ingest/sealed-reader.ts';
import { streamUserSql } from '../../queries/sql-gate.ts';
import type { UserSql } from '../../queries/sql-gate.ts';
import { SQL_FORMATS } from '../formats/sql-formats.ts';
import type { SqlFormatName } from '../formats/sql-formats.ts';
import { describeError } from '../problem.ts';
import { FRAME, encodeFrame } from './frames.ts';

export interface WorkerJob {
  readonly segments: readonly VisibleSegment[];
  /** None: only look at the segments, and let go of others. */
  readonly statement?: Omit<UserSql, 'signal'>;
  readonly format?: SqlFormatName;
}

export interface WorkerSettings {
  readonly data_folder: string;
  readonly folder: string;
  readonly memory_limit: string;
  readonly temp_limit: string;
  readonly threads: number;
}

const settings = JSON.parse(process.argv[2] ?? '') as WorkerSettings;

function write(kind: number, body: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => process.stdout.write(encodeFrame(kind, body), (error) => (error ? reject(error) : resolve())));
}

async function run(reader: SealedReader, { segments, statement, format = 'json' }: WorkerJob): Promise<void> {
  await reader.show(segments);
  if (statement === undefined) return write(FRAME.end, '{}');
  const stream = await streamUserSql(reader, statement);
  try {
    let begun = false;
    for await (const part of SQL_FORMATS[format].encode(stream, reader, new AbortController().signal)) {
      // Whatever fails before the first rows fails with a status of its own.
      if (!begun) await write(FRAME.head, JSON.stringify({ query_id: stream.query_id }));
      begun = true;
      await write(FRAME.data, part);
    }
    await write(FRAME.end, JSON.stringify(stream.progress()));
  } finally {
    stream.close();
  }
}

const reader = await SealedReader.open(settings);
await write(FRAME.ready, '');
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  try {
    await run(reader, JSON.parse(line) as WorkerJob);
  } catch (error) {
    const { code, detail, mend } = describeError(error);
    await write(FRAME.error, JSON.stringify({ code, message: detail, mend, internal: code === 'internal' ? String((error as Error).stack) : undefined }));
  }
}
process.exit(0);
