// One worker process, seen from ours: one job at a time; killed when its time is up or its caller has gone.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { TableFiles } from '../../ingest/cold-files.ts';
import type { VisibleFiles } from '../../ingest/visible-files.ts';
import type { UserSql } from '../../queries/sql-gate.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { SqlFormatName } from '../formats/sql-formats.ts';
import { FRAME, FrameReader } from './frames.ts';
import type { Frame } from './frames.ts';
import { startWorker } from './spawn.ts';
import type { WorkerProcess } from './spawn.ts';
import type { WorkerJob, WorkerSettings } from './worker.ts';

const STDERR_CHARS = 4000;
const PAGE_BYTES = 4096;
const TICK_MS = 10;
const MEND = { mend: 'narrow its time range or aggregate earlier' };

export const memoryError = (): TracehouseError => new TracehouseError('sql-memory', 'the statement needs more memory or disk than it may have', MEND);

/** What a dead worker most likely died of. */
function deathError(stderr: string): TracehouseError {
  return /out of memory|bad_alloc|cannot allocate|allocation failed/i.test(stderr)
    ? memoryError()
    : new TracehouseError('sql-died', 'the process that ran the statement ended: most likely it needed more memory or disk than it may have', MEND);
}

const STARTS_WITHIN_MS = 2000;

export interface ClientJob {
  readonly files: VisibleFiles;
  readonly check?: string;
  readonly statement?: Omit<UserSql, 'signal'>;
  readonly format?: SqlFormatName;
}

export class WorkerClient {
  readonly #process: WorkerProcess;
  readonly #frames: AsyncGenerator<Frame, void>;
  #ended = false;
  let_forward = false;
  /** Once it has told the end of its job it gives memory back. */
  #is_resting = false;
  #killed: TracehouseError | undefined;
  #cold: readonly TableFiles[] | undefined;
  /** Resident when it had done nothing yet. */
  #first_bytes = 0;

  readonly #folder: string;

  private constructor(settings: WorkerSettings) {
    this.#process = startWorker(settings);
    this.#folder = settings.folder;
    const { child, input, output } = this.#process;
    this.#frames = readFrames(this.#process);
    const end = (): void => {
      this.#ended = true;
      input.destroy();
    };
    child.once('exit', end);
    child.once('error', () => {
      end();
      output.destroy();
    });
    input.on('error', () => undefined); // its end is seen where its answers are read
  }

  static async start(settings: WorkerSettings): Promise<WorkerClient> {
    const client = new WorkerClient(settings);
    // Where the processors are never idle it would not come so far.
    const starved = setTimeout(() => client.letForward(), STARTS_WITHIN_MS);
    const first = await client.#next().catch(() => undefined);
    clearTimeout(starved);
    if (first?.kind !== FRAME.ready) {
      const why = client.#complaints().trim();
      await client.close();
      throw new Error(`the process for SQL statements did not start: ${why}`);
    }
    if (client.let_forward) client.standBack();
    client.#first_bytes = client.#residentBytes();
    return client;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get pid(): number | undefined {
    return this.#process.child.pid;
  }

  #complaints(): string {
    try {
      return readFileSync(this.#process.complaints, 'utf8').slice(-STDERR_CHARS);
    } catch {
      return '';
    }
  }

  #residentBytes(): number {
    try {
      return Number(readFileSync(`/proc/${this.pid}/statm`, 'utf8').split(' ')[1]) * PAGE_BYTES;
    } catch {
      return 0;
    }
  }

  /** Memory that it has come to hold since its start. */
  get grown_bytes(): number {
    return this.#residentBytes() - this.#first_bytes;
  }

  async #next(): Promise<Frame> {
    const { value, done } = await this.#frames.next();
    if (this.#killed !== undefined) throw this.#killed;
    if (done !== true) return value;
    if (!this.#ended) await once(this.#process.child, 'exit').catch(() => undefined);
    throw deathError(this.#complaints());
  }

  /** Settles when it has given back what memory its last job left it with, or is gone. */
  async rest(): Promise<void> {
    while (this.#is_resting) {
      const frame = await this.#next().catch(() => undefined);
      this.#is_resting = frame !== undefined && frame.kind !== FRAME.rested;
    }
  }

  /** Frames up to the last one, which ends the job; each lasts until the next is asked for. Errors of the statement are thrown. To be read to its end, or killed. Error: sql-gone, when it ended before the job. */
  async *run({ files, ...job }: ClientJob): AsyncGenerator<Frame, void> {
    const { cold, ...others } = files;
    const sent: WorkerJob = { ...job, files: cold === this.#cold ? others : files };
    this.#cold = cold;
    this.#process.input.write(`${JSON.stringify(sent)}\n`);
    await this.rest();
    for (let begun = false; ; begun = true) {
      const frame = await this.#next().catch((error: unknown) => {
        throw begun || this.#killed !== undefined ? error : new TracehouseError('sql-gone', 'the process for SQL has ended');
      });
      if (!begun) continue; // it says so itself
      if (frame.kind === FRAME.resting) {
        this.#is_resting = true;
        continue;
      }
      if (frame.kind === FRAME.error) throw toldError(frame);
      yield frame;
      if (frame.kind === FRAME.end) return;
    }
  }

  /** Of /proc/PID/stat, from its third field, the state, on; empty when the process is gone. */
  #stat(): string[] {
    try {
      return readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    } catch {
      return [];
    }
  }

  /** Processor time that it has used. */
  get cpu_ms(): number {
    const fields = this.#stat();
    return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_MS;
  }

  #schedule(policy: '--other' | '--idle'): void {
    this.let_forward = policy === '--other';
    spawn('chrt', ['--all-tasks', policy, '--pid', '0', String(this.pid)], { stdio: 'ignore' }).once('error', () => undefined);
  }

  /** It has stood behind everything else; from now on it gets a small share. */
  letForward(): void {
    this.#schedule('--other');
  }

  /** After its start alone: a statement that was let forward stays there, and its process is not used again. */
  standBack(): void {
    this.#schedule('--idle');
  }

  /** At once, whatever it does; who waits for it gets `why`. */
  kill(why: TracehouseError): void {
    this.#killed ??= why;
    this.#process.child.kill('SIGKILL');
  }

  /** Settles when the process is gone, and what it had on disk. */
  async close(): Promise<void> {
    if (!this.#ended) {
      const gone = once(this.#process.child, 'exit').catch(() => undefined);
      this.#process.child.kill('SIGKILL');
      await gone;
    }
    this.#process.output.destroy();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function toldError({ body }: Frame): Error {
  const { code, message, mend, internal } = JSON.parse(body.toString()) as { code: string; message: string; mend?: string; internal?: string };
  return internal === undefined ? new TracehouseError(code, message, mend === undefined ? {} : { mend }) : new Error(`in the process for SQL: ${internal}`);
}

async function* readFrames({ output }: WorkerProcess): AsyncGenerator<Frame, void> {
  const reader = new FrameReader();
  for (let bytes = await output.next(); bytes !== undefined; bytes = await output.next()) yield* reader.read(bytes);
}
