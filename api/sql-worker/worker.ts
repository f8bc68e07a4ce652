// A process that runs strangers' SQL: one statement at a time, over files that it may only read. Told on standard input what
// to run, a line of JSON each; answers in frames on standard output. It is killed when it takes too long or too much memory:
// neither harms the process that stores events.
import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { DuckDBInstance } from '@duckdb/node-api';
import type { TableFiles } from '../../ingest/cold-files.ts';
import { SealedReader } from '../../ingest/sealed-reader.ts';
import type { ReaderOptions } from '../../ingest/sealed-reader.ts';
import type { VisibleFiles } from '../../ingest/visible-files.ts';
import { checkUserSql } from '../../queries/sql-gate.ts';
import type { UserSql } from '../../queries/sql-gate.ts';
import type { SqlLimits } from '../../queries/sql-limits.ts';
import type { SqlFormatName, SqlPart } from '../formats/sql-formats.ts';
import { describeError } from '../describe-error.ts';
import { openAnswer } from '../sql-answer.ts';
import { FRAME, frameHead } from './frames.ts';

export interface WorkerJob {
  /** Without `cold` where that is the same as before. */
  readonly files: Omit<VisibleFiles, 'cold'> & { readonly cold?: readonly TableFiles[] };
  /** Only say what parameters it takes. */
  readonly check?: string;
  /** Without it and `check`: only look at the files, and let go of others. */
  readonly statement?: Omit<UserSql, 'signal'>;
  readonly format?: SqlFormatName;
}

export interface WorkerSettings extends ReaderOptions {
  readonly limits: SqlLimits;
}

export interface WorkerStart extends WorkerSettings {
  /** What DuckDB writes there, this process reads. */
  readonly text_pipe: string;
}

/** Beyond what it held when it last gave memory back: worth the tens of milliseconds that takes. */
const GROWN_BYTES = 48e6;

const { limits, text_pipe, ...options } = JSON.parse(process.argv[2] ?? '') as WorkerStart;

function write(kind: number, body: SqlPart): Promise<void> {
  const pieces = typeof body === 'string' ? [Buffer.from(body)] : body instanceof Uint8Array ? [body] : body;
  return new Promise((resolve, reject) => {
    // Head and body in one call, without a copy of the body.
    process.stdout.cork();
    process.stdout.write(frameHead(kind, pieces.reduce((sum, { byteLength }) => sum + byteLength, 0)), (error) => error && reject(error));
    pieces.forEach((piece, at) => process.stdout.write(piece, (error) => (error ? reject(error) : at === pieces.length - 1 && resolve())));
    process.stdout.uncork();
    if (pieces.length === 0) resolve();
  });
}

/** The next part is made while one is written. */
async function writeAll(parts: AsyncGenerator<SqlPart, void>): Promise<void> {
  let writing: Promise<void> = Promise.resolve();
  for await (const part of parts) {
    await writing;
    writing = write(FRAME.data, part);
    // DuckDB's chunks that a batch was copied from are freed, and used again, before there are many: JavaScript sees of each only a few bytes.
    if (typeof part !== 'string' && !(part instanceof Uint8Array)) void globalThis.gc?.({ type: 'minor' });
    writing.catch(() => undefined); // it is told when the next one is there
  }
  await writing;
}

/** Ingest and lookups come first; and if memory runs out, this is what has to go. */
function stepBack(): void {
  try {
    setPriority(15);
    writeFileSync('/proc/self/oom_score_adj', '1000');
  } catch {
    // Not permitted everywhere; nothing depends on it.
  }
}

/**
 * JavaScript does not see how large the chunks are that it has not collected yet. DuckDB's allocator keeps what was freed until it is asked
 * for more; closing any instance makes it give everything back, in all of the process.
 */
async function freeMemory(): Promise<void> {
  globalThis.gc?.();
  await setImmediate(); // what was collected is freed in another turn
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  instance.closeSync();
}

let rested_bytes = Infinity;

/** The last frame of a job. Who asked need not wait for what follows, and is told that something does. */
async function finish(kind: number, body: string): Promise<void> {
  const is_grown = process.memoryUsage.rss() > rested_bytes + GROWN_BYTES;
  if (is_grown) await write(FRAME.resting, '');
  await write(kind, body);
  if (!is_grown) return;
  await freeMemory();
  rested_bytes = process.memoryUsage.rss();
  await write(FRAME.rested, '');
}

let cold: readonly TableFiles[] = [];

async function run(reader: SealedReader, { files, check, statement, format = 'json' }: WorkerJob): Promise<void> {
  cold = files.cold ?? cold;
  await reader.show({ ...files, cold });
  if (check !== undefined) return finish(FRAME.end, JSON.stringify(await checkUserSql(reader, check)));
  if (statement === undefined) return finish(FRAME.end, '{}');
  const answer = await openAnswer(reader, { limits, ...statement }, format, text_pipe);
  await write(FRAME.head, JSON.stringify({ query_id: answer.query_id }));
  await writeAll(answer.parts);
  await finish(FRAME.end, JSON.stringify(answer.progress()));
}

stepBack();
const reader = await SealedReader.open(options);
await write(FRAME.ready, '');
rested_bytes = process.memoryUsage.rss();
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  await write(FRAME.begun, '');
  try {
    await run(reader, JSON.parse(line) as WorkerJob);
  } catch (error) {
    const { code, detail, mend } = describeError(error);
    await finish(FRAME.error, JSON.stringify({ code, message: detail, mend, internal: code === 'internal' ? String((error as Error).stack) : undefined }));
  }
}
process.exit(0);
