// What no statement may exceed, whatever it does inside its process: its deadline, its memory, and the patience of its caller.
import { TracehouseError } from '../../schema/errors.ts';
import { memoryError } from './worker-client.ts';
import type { WorkerClient } from './worker-client.ts';

export interface WatchedJob {
  /** The process that it runs in at this moment. */
  worker(): WorkerClient;
  readonly timeout_ms: number;
  /** Of the process, beyond what it had when it was new. */
  readonly most_bytes: number;
  readonly signal: AbortSignal | undefined;
  /** Called once at most, when it is time to kill it. */
  end(why: TracehouseError): void;
}

/** Past its time a worker is given so long to say so itself. */
const GRACE_MS = 1000;
const WATCH_MS = 100;
/** On a machine that is never idle a statement would never end: after so long with less than this share of a core it gets some. */
const STARVED_MS = 2000;
const STARVED_SHARE = 0.1;

/** Until the returned function is called. */
export function watchJob({ worker, timeout_ms, most_bytes, signal, end }: WatchedJob): () => void {
  const stop = (): void => {
    clearTimeout(late);
    clearInterval(watch);
    signal?.removeEventListener('abort', cancel);
  };
  const endWith = (why: TracehouseError): void => {
    stop();
    end(why);
  };
  const cancel = (): void => endWith(new TracehouseError('sql-cancelled', 'the caller went away'));
  const late = setTimeout(() => endWith(new TracehouseError('sql-timeout', `no answer within ${timeout_ms} ms`, { mend: 'narrow the time range, or ask with a longer timeout_ms' })), timeout_ms + GRACE_MS);
  let looked = { at_ms: performance.now(), cpu_ms: worker().cpu_ms };
  const watch = setInterval(() => {
    const watched = worker();
    if (watched.grown_bytes > most_bytes) return endWith(memoryError());
    const now = { at_ms: performance.now(), cpu_ms: watched.cpu_ms };
    if (watched.let_forward || now.at_ms - looked.at_ms < STARVED_MS) return;
    if (now.cpu_ms - looked.cpu_ms < STARVED_MS * STARVED_SHARE) watched.letForward();
    looked = now;
  }, WATCH_MS);
  signal?.addEventListener('abort', cancel, { once: true });
  if (signal?.aborted === true) cancel();
  return stop;
}
