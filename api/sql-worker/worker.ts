// A process that runs strangers' SQL: one statement at a time, over files that it may only read. Told on standard input what
// to run, a line of JSON each; answers in frames on standard output. It is killed when it takes too long or too much memory:
// neither harms the process that stores events.
import { writeFileSync, writev, writevSync } from 'node:fs';
import { setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { TableFiles } from '../../ingest/cold-files.ts';
import { SealedReader } from '../../ingest/sealed-reader.ts';
import type { ReaderOptions } from '../../ingest/sealed-reader.ts';
import type { VisibleFiles } from '../../ingest/visible-files.ts';
import { checkUserSql } from '../../queries/sql-gate.ts';
import type { UserSql } from '../../queries/sql-gate.ts';
import type { SqlLimits } from '../../queries/sql-limits.ts';
import type { SqlFormatName } from '../formats/sql-formats.ts';
import { describeError } from '../problem.ts';
import { answerSql } from '../sql-answer.ts';
import type { SqlAnswer } from '../sql-answer.ts';
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

const { limits, text_pipe, ...options } = JSON.parse(process.argv[2] ?? '') as WorkerStart;

/** A named pipe that waits; process.stdout would make it one that does not, for all who write to it. */
const STDOUT = 1;
const writeParts = promisify(writev);

const partsOf = (kind: number, body: string | Uint8Array): Uint8Array[] => [frameHead(kind, body), typeof body === 'string' ? Buffer.from(body) : body];

/** What is left of them when so many bytes are gone. */
function without(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  return parts.flatMap((part) => {
    const taken = Math.min(part.byteLength, left);
    left -= taken;
    return taken === part.byteLength ? [] : [part.subarray(taken)];
  });
}

/** In this thread: for pieces so small that another one costs more than it saves. */
function write(kind: number, body: string | Uint8Array): void {
  for (let parts = partsOf(kind, body); parts.length > 0; ) parts = without(parts, writevSync(STDOUT, parts));
}

/** By a thread of Node's pool, so that this one can go on. */
async function writeAside(kind: number, body: string | Uint8Array): Promise<void> {
  for (let parts = partsOf(kind, body); parts.length > 0; ) parts = without(parts, (await writeParts(STDOUT, parts)).bytesWritten);
}

async function writeAll({ parts, lasting }: SqlAnswer): Promise<void> {
  if (!lasting) {
    for await (const part of parts) write(FRAME.data, part);
    return;
  }
  let writing: Promise<void> = Promise.resolve();
  for await (const part of parts) {
    await writing;
    writing = writeAside(FRAME.data, part);
    writing.catch(() => undefined); // it is told where it is waited for
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

let cold: readonly TableFiles[] = [];

async function run(reader: SealedReader, { files, check, statement, format = 'json' }: WorkerJob): Promise<void> {
  cold = files.cold ?? cold;
  await reader.show({ ...files, cold });
  if (check !== undefined) return write(FRAME.end, JSON.stringify(await checkUserSql(reader, check)));
  if (statement === undefined) return write(FRAME.end, '{}');
  const answer = await answerSql(reader, { limits, ...statement }, format, text_pipe);
  write(FRAME.head, JSON.stringify({ query_id: answer.query_id }));
  await writeAll(answer);
  write(FRAME.end, JSON.stringify(answer.progress()));
}

stepBack();
const reader = await SealedReader.open(options);
write(FRAME.ready, '');
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  write(FRAME.begun, '');
  try {
    await run(reader, JSON.parse(line) as WorkerJob);
  } catch (error) {
    const { code, detail, mend } = describeError(error);
    write(FRAME.error, JSON.stringify({ code, message: detail, mend, internal: code === 'internal' ? String((error as Error).stack) : undefined }));
  }
}
process.exit(0);
