// One worker process, seen from ours: one job at a time; killed when its time is up or its caller has gone.
import { once } from 'node:events';
import { TracehouseError } from '../../schema/errors.ts';
import { FRAME, FrameReader } from './frames.ts';
import type { Frame } from './frames.ts';
import { startWorker } from './spawn.ts';
import type { WorkerProcess } from './spawn.ts';
import type { WorkerJob, WorkerSettings } from './worker.ts';

const STDERR_CHARS = 4000;

/** What a dead worker most likely died of. */
function deathError(stderr: string): TracehouseError {
  const memory = /out of memory|bad_alloc|cannot allocate|allocation failed/i.test(stderr);
  return memory
    ? new TracehouseError('sql-memory', 'the statement needs more memory than it may have', { mend: 'narrow its time range or aggregate earlier' })
    : new TracehouseError('sql-died', 'the process that ran the statement ended: most likely it needed more memory than it may have', { mend: 'narrow its time range or aggregate earlier' });
}

export class WorkerClient {
  readonly #process: WorkerProcess;
  readonly #frames: AsyncGenerator<Frame, void>;
  #stderr = '';
  #ended = false;
  #killed: TracehouseError | undefined;

  private constructor(child: WorkerProcess) {
    this.#process = child;
    this.#frames = readFrames(child);
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS)));
    child.once('exit', () => (this.#ended = true));
    child.once('error', () => (this.#ended = true));
    child.stdin.on('error', () => undefined); // its end is seen where its answers are read
  }

  static async start(settings: WorkerSettings): Promise<WorkerClient> {
    const client = new WorkerClient(startWorker(settings));
    const first = await client.#next();
    if (first.kind !== FRAME.ready) throw new TracehouseError('sql-died', `the process for statements did not start: ${client.#stderr}`);
    return client;
  }

  get ended(): boolean {
    return this.#ended;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  async #next(): Promise<Frame> {
    const { value, done } = await this.#frames.next();
    if (this.#killed !== undefined) throw this.#killed;
    if (done !== true) return value;
    await Promise.race([once(this.#process, 'close').catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 200))]);
    throw deathError(this.#stderr);
  }

  /** Frames up to the last one, which ends the job; errors of the statement are thrown. To be read to its end, or killed. */
  async *run(job: WorkerJob): AsyncGenerator<Frame, void> {
    this.#process.stdin.write(`${JSON.stringify(job)}\n`);
    for (;;) {
      const frame = await this.#next();
      if (frame.kind === FRAME.error) {
        const { code, message, mend } = JSON.parse(frame.body.toString()) as { code: string; message: string; mend?: string };
        throw new TracehouseError(code, message, mend === undefined ? {} : { mend });
      }
      yield frame;
      if (frame.kind === FRAME.end) return;
    }
  }

  /** At once, whatever it does; who waits for it gets `why`. */
  kill(why: TracehouseError): void {
    this.#killed ??= why;
    this.#process.kill('SIGKILL');
  }

  /** Settles when the process is gone. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const gone = once(this.#process, 'exit').catch(() => undefined);
    this.#process.kill('SIGKILL');
    await gone;
  }
}

async function* readFrames({ stdout }: WorkerProcess): AsyncGenerator<Frame, void> {
  const reader = new FrameReader();
  for await (const bytes of stdout) yield* reader.read(bytes as Buffer);
}
